"""What is read before and after a stretch of work: processor time, statements, WAL, tables, and who else was there."""

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg

from . import machine
from .postgres import ROLE, Postgres


@dataclass(frozen=True)
class Reading:
    """Everything at one moment."""

    at: float
    engine_seconds: float
    postgres_seconds: float
    machine: machine.Busy
    own_seconds: float
    statements: int | None
    wal_bytes: int


@dataclass(frozen=True)
class Stretch:
    """What happened between two moments."""

    seconds: float
    engine_seconds: float
    postgres_seconds: float
    # Processors that others used meanwhile, and that the machine was not given.
    others: float
    stolen: float
    statements: int | None
    wal_bytes: int

    @staticmethod
    def between(first: Reading, last: Reading) -> "Stretch":
        seconds = max(last.at - first.at, 1e-9)
        engine = last.engine_seconds - first.engine_seconds
        postgres = last.postgres_seconds - first.postgres_seconds
        own = last.own_seconds - first.own_seconds
        statements = None
        if first.statements is not None and last.statements is not None:
            statements = last.statements - first.statements
        return Stretch(
            seconds=seconds,
            engine_seconds=engine,
            postgres_seconds=postgres,
            others=max(0.0, (last.machine.busy - first.machine.busy - engine - postgres - own) / seconds),
            stolen=(last.machine.stolen - first.machine.stolen) / seconds,
            statements=statements,
            wal_bytes=last.wal_bytes - first.wal_bytes,
        )


class Observer:
    """Looks at an engine's database over a connection of its own. What that costs the server is not counted."""

    def __init__(self, postgres: Postgres, database: str) -> None:
        self._postgres = postgres
        self._connection = postgres.connect(database)
        self._pid = self._connection.info.backend_pid
        self._counts_statements = postgres.counts_statements

    def close(self) -> None:
        self._connection.close()

    def number(self, query: str, **values: object) -> int:
        """The one number that a query answers."""
        row = self._execute(query, values).fetchone()
        return int(row[0]) if row and row[0] is not None else 0

    def column(self, query: str, **values: object) -> list[float]:
        """The numbers of a query's only column."""
        return [float(row[0]) for row in self._execute(query, values)]

    def _execute(self, query: str, values: dict[str, object]) -> psycopg.Cursor:
        return self._connection.execute(query.encode(), values or None)

    def analyze(self) -> None:
        """Lets the server know its tables, as autovacuum would in time."""
        self._connection.execute("vacuum (analyze)")

    def table_bytes(self) -> int:
        """Tables with their indexes, and what was moved out of their rows."""
        return self.number(
            "select sum(pg_total_relation_size(c.oid)) from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where c.relkind in ('r', 'm') and n.nspname not in ('pg_catalog', 'information_schema')"
        )

    def read(self, engine_seconds: Callable[[], float]) -> Reading:
        """Everything at this moment."""
        statements = None
        if self._counts_statements:
            statements = self.number(
                "select sum(s.calls) from pg_stat_statements s join pg_roles r on r.oid = s.userid where r.rolname = %(role)s",
                role=ROLE,
            )
        return Reading(
            statements=statements,
            wal_bytes=self.number("select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"),
            at=time.monotonic(),
            engine_seconds=engine_seconds(),
            postgres_seconds=self._postgres.seconds() - machine.process_seconds(self._pid),
            own_seconds=time.process_time() + _ended_children_seconds() + machine.process_seconds(self._pid),
            machine=machine.Busy.now(),
        )


def _ended_children_seconds() -> float:
    """Processor time of programs that the bench has started and that have ended, such as pgbench."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of them lies, by the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

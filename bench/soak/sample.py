"""What is looked at every few seconds."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compare import machine
from compare.measure import percentile
from compare.postgres import ROLE, Postgres
from compare.processes import Program

from .load import PACKAGE, THREE, Load

# Runs are looked at when they are so old: by then those that are well have ended, and those that have not are counted as that slow.
LATE_SECONDS = 10

# Each with its part that was moved out of rows, and each index. All of them are looked up by name, once in a while.
SIZES = """
    select c.relname, pg_table_size(c.oid) from pg_class c
    where c.relnamespace = 'dacapo'::regnamespace and c.relkind in ('r', 'm')
    union all
    select c.relname, pg_relation_size(c.oid) from pg_class c
    where c.relnamespace = 'dacapo'::regnamespace and c.relkind = 'i'
"""

TABLES = """
    select relname, n_dead_tup, n_tup_ins - n_tup_del, n_tup_upd, n_tup_del, vacuum_count + autovacuum_count
    from pg_stat_user_tables
    where schemaname = 'dacapo'
"""

# From when a run was ready until it was first claimed, and until it had ended; of those that have come no further, until now.
LATENCIES = """
    select
        extract(epoch from coalesce(run.started_at, leased.started_at, clock_timestamp()) - run.created_at)::float8,
        extract(epoch from coalesce(run.finished_at, clock_timestamp()) - run.created_at)::float8
    from dacapo.run
    left join dacapo.task_leased as leased on leased.run_id = run.id
    where run.namespace = 'default' and run.workflow = %(workflow)s
        and run.created_at >= clock_timestamp() - %(first)s * interval '1 second'
        and run.created_at < clock_timestamp() - %(last)s * interval '1 second'
"""

# What the statements of Dacapo and its clients cost so far.
STATEMENTS = r"""
    select s.queryid::text,
        left(regexp_replace(regexp_replace(s.query, '--[^\n]*\n', '', 'g'), '\s+', ' ', 'g'), %(characters)s),
        s.calls, s.total_exec_time / 1000,
        s.shared_blks_hit + s.shared_blks_read
    from pg_stat_statements s join pg_roles r on r.oid = s.userid
    where r.rolname = %(role)s
"""

# What is told of a statement.
STATEMENT_CHARACTERS = 200


@dataclass(frozen=True)
class Spread:
    """Of many times, in milliseconds."""

    p50: float
    p99: float
    most: float
    count: int

    @staticmethod
    def of(seconds: list[float]) -> "Spread | None":
        if not seconds:
            return None
        return Spread(
            percentile(seconds, 0.5) * 1000, percentile(seconds, 0.99) * 1000, max(seconds) * 1000, len(seconds)
        )


@dataclass(frozen=True)
class Sample:
    """Everything at one moment, and rates since the one before."""

    # Seconds since the beginning.
    at: float
    snapshot: bool
    # Bytes of each table and index, and rows that are dead but not yet taken away.
    sizes: Mapping[str, int]
    dead: Mapping[str, int]
    vacuums: Mapping[str, int]
    # Runs that are there, by where their task is: about, since the server's counters are late.
    ready: int
    leased: int
    suspended: int
    kept: int
    # Per second.
    started: float
    ended: float
    swept: float
    wal_bytes: float
    # From ready to claimed, from started to ended, and from the call that starts one until the client knows its output.
    claim: Spread | None
    whole: Spread | None
    probe: Spread | None
    # In MiB: all that the worker holds, what of it is its own, and what the server's processes have for themselves.
    worker_resident: float
    worker_own: float
    postgres_own: float
    # In processors.
    worker_cpu: float
    postgres_cpu: float
    others_cpu: float
    stolen: float


@dataclass(frozen=True)
class Cost:
    """What one statement has cost so far."""

    text: str
    calls: int
    seconds: float
    blocks: int


@dataclass(frozen=True)
class _Counters:
    at: float
    started: int
    ended: int
    swept: int
    wal_bytes: int
    worker: float
    postgres: float
    bench: float
    machine: machine.Busy


class Sampler:
    """Looks at a server and a worker."""

    def __init__(self, postgres: Postgres, database: str, worker: Program) -> None:
        self._postgres = postgres
        self._worker = worker
        self._connection = postgres.connect(database)
        self._pid = self._connection.info.backend_pid
        self._begin = time.monotonic()
        self._last: _Counters | None = None

    def close(self) -> None:
        self._connection.close()

    def _all(self, query: str, **values: object) -> list[tuple[Any, ...]]:
        return self._connection.execute(query.encode(), values or None).fetchall()

    def take(self, load: Load, snapshot: bool) -> Sample | None:
        """Looks at everything. None the first time, which rates are counted from."""
        tables = {name: row for name, *row in self._all(TABLES)}
        now = _Counters(
            at=time.monotonic(),
            started=load.started,
            # Runs are updated once, as they end.
            ended=tables["run"][2],
            swept=tables["run"][3],
            wal_bytes=int(self._all("select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')")[0][0]),
            worker=self._worker.seconds(),
            postgres=self._postgres.seconds() - machine.process_seconds(self._pid),
            bench=time.process_time() + machine.process_seconds(self._pid),
            machine=machine.Busy.now(),
        )
        last, self._last = self._last, now
        if last is None:
            return None
        seconds = max(now.at - last.at, 1e-9)
        times = self._all(
            LATENCIES,
            workflow=f"{PACKAGE}.{THREE.workflow}",
            first=LATE_SECONDS + seconds,
            last=LATE_SECONDS,
        )
        worker, postgres = ((getattr(now, of) - getattr(last, of)) / seconds for of in ("worker", "postgres"))
        busy = (now.machine.busy - last.machine.busy - now.bench + last.bench) / seconds
        return Sample(
            at=now.at - self._begin,
            snapshot=snapshot,
            sizes={name: int(size) for name, size in self._all(SIZES)},
            dead={name: row[0] for name, row in tables.items()},
            vacuums={name: row[4] for name, row in tables.items()},
            # Sessions tell of what they did up to a second late.
            ready=max(0, tables["task_ready"][1]),
            leased=max(0, tables["task_leased"][1]),
            suspended=max(0, tables["task_suspended"][1]),
            kept=tables["run"][1],
            started=(now.started - last.started) / seconds,
            ended=(now.ended - last.ended) / seconds,
            swept=(now.swept - last.swept) / seconds,
            wal_bytes=(now.wal_bytes - last.wal_bytes) / seconds,
            claim=Spread.of([claim for claim, _ in times]),
            whole=Spread.of([whole for _, whole in times]),
            probe=Spread.of(load.take_probes()),
            worker_resident=self._worker.resident_mib(),
            worker_own=sum(own_mib(pid) for pid in self._worker_pids()),
            postgres_own=sum(own_mib(pid) for pid in self._postgres_pids()),
            worker_cpu=worker,
            postgres_cpu=postgres,
            others_cpu=max(0.0, busy - worker - postgres),
            stolen=(now.machine.stolen - last.machine.stolen) / seconds,
        )

    def statements(self) -> dict[str, Cost]:
        """What each statement has cost so far; nothing where the server does not count them."""
        if not self._postgres.counts_statements:
            return {}
        return {
            name: Cost(text.strip(), calls, seconds, blocks)
            for name, text, calls, seconds, blocks in self._all(STATEMENTS, role=ROLE, characters=STATEMENT_CHARACTERS)
        }

    def turn_of_sweeper(self) -> None:
        """Lets a worker look for runs to delete the next time that it asks, which it does once a minute."""
        self._connection.execute("update dacapo.retention_turn set next_at = clock_timestamp()")

    def _worker_pids(self) -> list[int]:
        return [p.pid for p in machine.processes() if p.session == self._worker.pid]

    def _postgres_pids(self) -> list[int]:
        postmaster = self._postgres.pid
        return [p.pid for p in machine.processes() if postmaster in (p.pid, p.parent) and p.pid != self._pid]


def own_mib(pid: int) -> float:
    """Memory of a process that is no file and shared with nobody, in MiB."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("RssAnon:")), 0.0)

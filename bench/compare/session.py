"""One run of the bench: every engine's turn at every workload, one after the other."""

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack

import psycopg

from . import floor, machine, workloads
from .engines import Engine
from .install import InstallError
from .measure import Observer
from .postgres import ROLE, Postgres
from .processes import EngineError
from .results import Load, PartResult, Results
from .workloads import Part, Scale

# An engine that fails so often is not tried again.
FAILURES_MAX = 3

# The pass before the first.
CALIBRATING = -1


class Session:
    """Engines on a server."""

    def __init__(self, postgres: Postgres, engines: Sequence[Engine], scale: Scale, results: Results) -> None:
        self.postgres = postgres
        self.engines = list(engines)
        self.scale = scale
        self.results = results

    def set_up(self) -> None:
        """Installs all engines, and makes a database for each that is copied for each of its turns."""
        for engine in list(self.engines):
            self._say(f"setting up {engine.title}")
            template = _template(engine)
            try:
                engine.install()
                with self.postgres.connect("postgres") as admin:
                    admin.execute(f"create database {template} owner {ROLE}".encode())
                engine.set_up(self.postgres.url(template))
            except (EngineError, InstallError, OSError, psycopg.Error) as error:
                self._leave_out(engine, str(error).strip())

    def measure(self, names: Sequence[str]) -> None:
        """Goes through these workloads, so that passes of all engines take turns."""
        for name in names:
            if name == "drain":
                self._calibrate()
            for turn in range(self.scale.passes.get(name, 1)):
                # Whoever comes first meets another machine than whoever comes last.
                first = turn % max(1, len(self.engines))
                for engine in self.engines[first:] + self.engines[:first]:
                    if name in engine.workloads and engine in self.engines:
                        self._turn(engine, name, turn)

    def _calibrate(self) -> None:
        """Lets each engine drain a backlog that is not reported, so that those that are last as long as they are to."""
        try:
            for engine in list(self.engines):
                # The floor goes by the clock.
                if "drain" in engine.workloads and engine.looks.ended:
                    self._turn(engine, "drain", CALIBRATING)
        finally:
            self.results.parts = [part for part in self.results.parts if part.turn != CALIBRATING]

    def _turn(self, engine: Engine, workload: str, turn: int) -> None:
        calibrates = turn == CALIBRATING
        scale = workloads.QUICK if calibrates else self.scale
        self._say(f"{workload} {'to learn how much' if calibrates else turn + 1}: {engine.title}", end="")
        begin = time.monotonic()
        average, busy = machine.load_average(), machine.Busy.now()
        failure = None
        database = "turn"
        with self.postgres.connect("postgres") as admin:
            admin.execute(f"create database {database} template {_template(engine)} owner {ROLE}".encode())
            admin.execute("checkpoint")
            observer = Observer(self.postgres, database)
            with ExitStack() as programs:
                part = Part(engine, workload, scale, self.postgres.url(database), observer, programs)
                try:
                    self._measure(part)
                except EngineError as error:
                    failure = str(error)
                except Exception as error:
                    # Whatever is wrong with one, and be it with how it is looked at, is not to cost what was measured of others.
                    failure = f"{type(error).__name__}: {error}".strip()
            observer.close()
            admin.execute(f"drop database {database} with (force)".encode())
        seconds = time.monotonic() - begin
        stolen = (machine.Busy.now().stolen - busy.stolen) / seconds
        others = max((stretch.others for stretch in part.stretches), default=0.0)
        figures = {} if failure else part.figures
        self.results.parts.append(
            PartResult(
                workload, turn, engine.name, seconds, Load(average, others, stolen), figures, part.notes, failure
            )
        )
        print(f"  {seconds:.1f} s{'' if failure is None else f', FAILED: {failure}'}", file=sys.stderr, flush=True)
        failures = [part for part in self.results.parts if part.engine == engine.name and part.failure]
        if len(failures) >= FAILURES_MAX:
            self._leave_out(engine, f"it failed {len(failures)} times; last: {failure}")

    def _measure(self, part: Part) -> None:
        if isinstance(part.engine, floor.Floor):
            measure = floor.drain if part.workload == "drain" else floor.one_by_one
            measure(part, part.engine)
        else:
            workloads.BY_NAME[part.workload](part)

    def _leave_out(self, engine: Engine, why: str) -> None:
        self._say(f"{engine.title} is left out: {why}")
        self.results.missing[engine.title] = why
        self.engines.remove(engine)

    def _say(self, what: str, end: str = "\n") -> None:
        print(what, file=sys.stderr, end=end, flush=True)


def _template(engine: Engine) -> str:
    return f"of_{engine.name.replace('-', '_')}"

"""The workloads: each measures one engine once, on a database of its own, and answers figures."""

import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from .engines import Dacapo, Engine
from .measure import Observer, Reading, Stretch, percentile
from .processes import EngineError, Program

# Time between two looks at how far an engine is: the shorter, the nearer the end, but so much of the time at most is spent on looking.
LOOK_SECONDS_MIN = 0.01
LOOK_SECONDS_MAX = 0.1
LOOK_SHARE = 1 / 20

# Steps at both ends of a long run that are compared.
ENDS = 200

# Runs that are to wait are started in parts: so many to begin with, and more while a part takes less than this.
WAITING_FIRST = 100
WAITING_CHUNK_SECONDS = 1.0

# A million runs are played in less, and `dacapo bench` measures its row in less.
MILLION_SECONDS = 1_800
FLIGHT_SECONDS = 600

STARTS_IN_FLIGHT = 64
SENDS_IN_FLIGHT = 32

# An engine that does nothing for so long is stuck.
COMMAND_SECONDS = 180


@dataclass(frozen=True)
class Scale:
    """How much of everything is done."""

    # A backlog is to last for about so long.
    drain_seconds: float
    # What a part may take at most, from when its work begins; for what it has not done by then, a note says so.
    box_seconds: float
    once: int
    steps: tuple[tuple[int, int], ...]
    waiting: int
    events: int
    idle_seconds: float
    start_seconds: float
    # What Dacapo alone has to bear, and for how long it is looked at then.
    million: int
    million_seconds: float
    passes: dict[str, int]
    # Until so many wait, where that is another time than for all else.
    waiting_seconds: float | None = None


QUICK = Scale(
    drain_seconds=4,
    box_seconds=8,
    once=60,
    steps=((100, 5), (1_000, 1), (10_000, 1)),
    waiting=10_000,
    events=500,
    idle_seconds=2,
    start_seconds=1,
    million=10_000,
    million_seconds=5,
    passes={},
)

FULL = Scale(
    drain_seconds=8,
    box_seconds=20,
    once=300,
    steps=((100, 10), (1_000, 3), (10_000, 1)),
    waiting=100_000,
    events=1_000,
    idle_seconds=10,
    start_seconds=2,
    million=1_000_000,
    million_seconds=60,
    waiting_seconds=115,
    passes={"drain": 3, "once": 3, "event": 3, "flight": 3},
)


@dataclass
class Part:
    """One engine's turn at one workload."""

    engine: Engine
    workload: str
    scale: Scale
    url: str
    observer: Observer
    programs: ExitStack
    started_programs: list[Program] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    stretches: list[Stretch] = field(default_factory=list)

    def add(self, **figures: float) -> None:
        self.figures |= {f"{self.workload}.{name}": value for name, value in figures.items()}

    def client(self) -> Program:
        return self._keep(self.engine.client(self.url, self.workload))

    def workers(self) -> list[Program]:
        """Processes that will play runs; none where the client does that itself."""
        if self.engine.is_embedded(self.workload):
            return []
        return [
            self._keep(self.engine.worker(self.url, self.workload))
            for _ in range(self.engine.processes_of(self.workload))
        ]

    def work(self, client: Program, workers: list[Program]) -> None:
        """Lets runs be played, by the client if there are no workers."""
        if not workers:
            client.ask("work")
        for worker in workers:
            self.engine.work(worker)

    def _keep(self, program: Program) -> Program:
        self.programs.enter_context(program)
        self.started_programs.append(program)
        return program

    def engine_seconds(self) -> float:
        return sum(program.seconds() for program in self.started_programs)

    def read(self) -> Reading:
        return self.observer.read(self.engine_seconds)

    def since(self, first: Reading) -> Stretch:
        stretch = Stretch.between(first, self.read())
        self.stretches.append(stretch)
        return stretch

    def ended(self, started: int) -> int:
        return self.observer.number(self.engine.looks.ended, started=started)

    def waiting(self) -> int:
        return self.observer.number(self.engine.looks.waiting)

    def until(self, count: Callable[[], int], goal: int, seconds: float) -> int:
        """Looks until there are so many, or until the time is over, and answers how many there were."""
        begin = time.monotonic()
        while True:
            before = time.monotonic()
            have = count()
            now = time.monotonic()
            if have >= goal or now - begin > seconds:
                return have
            for program in self.started_programs:
                program.check()
            # Towards the end it is looked at more often.
            left = (now - begin) * (goal - have) / have if have else 0.0
            pause = min(max(LOOK_SECONDS_MIN, left / 10), LOOK_SECONDS_MAX)
            time.sleep(max(pause, (now - before) / LOOK_SHARE))


def drain(part: Part) -> None:
    """Three-step runs that were all started before anyone plays them."""
    n = int(min(max(part.engine.runs_per_second * part.scale.drain_seconds, 100), 100_000))
    client = part.client()
    bytes_before = part.observer.table_bytes()
    client.ask("start", COMMAND_SECONDS, workflow="three", n=n)
    part.observer.analyze()
    # From the first moment to the last: in a part of it engines that take many together would be counted work without its end, or an end
    # without its work.
    if part.engine.begins_at_once:
        first = part.read()
        workers = part.workers()
    else:
        workers = part.workers()
        first = part.read()
    part.work(client, workers)
    done = part.until(lambda: part.ended(n), n, part.scale.box_seconds)
    stretch = part.since(first)
    if not done:
        raise EngineError(f"{part.engine.title} ended none of {n} runs in {part.scale.box_seconds:.0f} s")
    part.engine.runs_per_second = done / stretch.seconds
    cpu = stretch.engine_seconds + stretch.postgres_seconds
    part.add(
        runs=done / stretch.seconds,
        cpu=cpu / done * 1000,
        engine_cpu=stretch.engine_seconds / done * 1000,
        postgres_cpu=stretch.postgres_seconds / done * 1000,
        wal=stretch.wal_bytes / done,
        memory=sum(program.resident_mib() for program in workers or [client]),
    )
    if stretch.statements is not None:
        part.add(statements=stretch.statements / done)
    if done < n:
        part.notes.append(f"stopped after {part.scale.box_seconds:.0f} s with {done} of {n} runs")
        return
    part.add(tables=(part.observer.table_bytes() - bytes_before) / n)
    if part.engine.looks.steps:
        steps = part.observer.number(part.engine.looks.steps)
        if steps != 3 * n:
            raise EngineError(f"{part.engine.title} recorded {steps} steps of {n} runs with three each")


def once(part: Part) -> None:
    """Three-step runs, one after the other."""
    _one_by_one(part, "once")


def event(part: Part) -> None:
    """Runs that wait for an event, one after the other, from the event on."""
    _one_by_one(part, "event")


def _one_by_one(part: Part, command: str) -> None:
    client = part.client()
    part.work(client, part.workers())
    client.ask(command, COMMAND_SECONDS, n=20, seconds=part.scale.box_seconds / 2)
    first = part.read()
    seconds = client.ask(command, COMMAND_SECONDS, n=part.scale.once, seconds=part.scale.box_seconds)["seconds"]
    part.since(first)
    part.add(p50=percentile(seconds, 0.5) * 1000, p95=percentile(seconds, 0.95) * 1000)
    if len(seconds) < part.scale.once:
        part.notes.append(f"{len(seconds)} runs instead of {part.scale.once}: {part.scale.box_seconds:.0f} s were over")


def steps(part: Part) -> None:
    """One run of 100, 1,000 and 10,000 steps, and what its last steps take against its first."""
    client = part.client()
    part.work(client, part.workers())
    _one_run(part, client, 100)
    first = part.read()
    deadline = time.monotonic() + 2 * part.scale.box_seconds
    for n, times in part.scale.steps:
        each, marks = [], []
        for _ in range(times):
            marks = _one_run(part, client, n, max(1.0, deadline - time.monotonic()))
            if len(marks) < n:
                break
            each.append((marks[-1] - marks[0]) / (n - 1))
        part.add(reached=len(marks))
        if len(marks) >= 4 * ENDS:
            part.add(late=(marks[-1] - marks[-ENDS]) / (marks[ENDS - 1] - marks[0]))
        if not each:
            part.notes.append(f"stopped at step {len(marks)} of {n}: {2 * part.scale.box_seconds:.0f} s were over")
            break
        part.add(**{f"of_{n}": percentile(each, 0.5) * 1e6})
    part.since(first)


def _one_run(part: Part, client: Program, n: int, seconds: float = 60) -> list[float]:
    """Plays a run of so many steps, and answers when each of them began."""
    answer = client.ask("steps", COMMAND_SECONDS, n=n, seconds=seconds)
    if "marks" in answer:
        return list(answer["marks"])
    return part.observer.column(
        "select extract(epoch from started_at) from dacapo.step where run_id = %(run)s order by position",
        run=answer["run"],
    )


def waiting(part: Part) -> None:
    """Very many waiting runs, what they cost while nothing happens, and events to some of them."""
    box = part.scale.waiting_seconds or part.scale.box_seconds
    client = part.client()
    workers = part.workers()
    part.work(client, workers)
    begin = time.monotonic()
    started, together = 0, WAITING_FIRST
    while started < part.scale.waiting and (left := begin + box - time.monotonic()) > 0:
        chunk_begin = time.monotonic()
        n = min(together, part.scale.waiting - started)
        client.ask("start", COMMAND_SECONDS, workflow="wait", n=n)
        started += n
        part.until(part.waiting, started, left)
        if time.monotonic() - chunk_begin < WAITING_CHUNK_SECONDS:
            together *= 2
    waits = part.waiting()
    part.add(runs=waits, played=waits / (time.monotonic() - begin))
    if waits < part.scale.waiting:
        part.notes.append(f"{waits} waiting runs instead of {part.scale.waiting}: {box:.0f} s were over")
    if waits < started:
        part.notes.append(f"{started - waits} more were on their way all the time")
    part.observer.analyze()
    _add_idle(part, workers or [client], part.scale.idle_seconds)
    _wake(part, client, started, min(part.scale.events, waits // 10))


def _wake(part: Part, client: Program, started: int, n: int) -> None:
    """Events to so many of the runs that wait."""
    if not n:
        return
    box = part.scale.box_seconds
    before = part.ended(started)
    first = part.read()
    sent = client.ask("send", COMMAND_SECONDS, n=n, inFlight=SENDS_IN_FLIGHT)["sent"]
    done = part.until(lambda: part.ended(started) - before, sent, box)
    stretch = part.since(first)
    part.add(sent=sent, woken=done / stretch.seconds)
    if done < sent:
        part.notes.append(f"{done} of {sent} runs had ended {box:.0f} s after their events")


def start(part: Part) -> None:
    """Starts, while nobody plays what is started."""
    client = part.client()
    client.ask("start", COMMAND_SECONDS, workflow="three", n=100)
    pilot = client.ask("start", COMMAND_SECONDS, workflow="three", n=200)["seconds"]
    n = int(min(max(200 / pilot * part.scale.start_seconds, 200), 100_000))
    first = part.read()
    seconds = client.ask("start", COMMAND_SECONDS, workflow="three", n=n)["seconds"]
    stretch = part.since(first)
    bulk = n / seconds
    part.add(wal=stretch.wal_bytes / n)
    pilot = client.ask("start-each", COMMAND_SECONDS, workflow="three", n=200, inFlight=STARTS_IN_FLIGHT)["seconds"]
    n = int(min(max(200 / pilot * part.scale.start_seconds, 200), 100_000))
    answer = client.ask("start-each", COMMAND_SECONDS, workflow="three", n=n, inFlight=STARTS_IN_FLIGHT)
    each = n / answer["seconds"]
    # Some know no faster way than one by one.
    part.add(bulk=max(bulk, each), each=each)


def idle(part: Part) -> None:
    """A worker that has nothing to do."""
    client = part.client()
    workers = part.workers()
    part.work(client, workers)
    _add_idle(part, workers or [client], part.scale.idle_seconds)


def _add_idle(part: Part, workers: list[Program], seconds: float) -> None:
    # What was done before has its after-effects.
    time.sleep(1)
    first = part.read()
    time.sleep(seconds)
    stretch = part.since(first)
    part.add(
        cpu=stretch.engine_seconds / stretch.seconds * 100,
        postgres_cpu=stretch.postgres_seconds / stretch.seconds * 100,
        memory=sum(program.resident_mib() for program in workers),
    )
    if stretch.statements is not None:
        part.add(statements=stretch.statements / stretch.seconds)


def million(part: Part) -> None:
    """A million waiting runs, all of which were started and played until they wait."""
    n = part.scale.million
    client = part.client()
    bytes_before = part.observer.table_bytes()
    client.ask("start", MILLION_SECONDS, workflow="wait", n=n)
    part.observer.analyze()
    begin = time.monotonic()
    workers = part.workers()
    part.work(client, workers)
    waits = part.until(part.waiting, n, MILLION_SECONDS)
    part.add(
        runs=waits,
        played=waits / (time.monotonic() - begin),
        tables=(part.observer.table_bytes() - bytes_before) / n,
    )
    if waits < n:
        part.notes.append(f"{waits} waiting runs instead of {n}: {MILLION_SECONDS} s were over")
    part.observer.analyze()
    _add_idle(part, workers, part.scale.million_seconds)
    _wake(part, client, n, min(part.scale.events, waits // 10))


def flight(part: Part) -> None:
    """Steps of many runs at once, against a loop that does nothing but record them: `dacapo bench` measures both in turn."""
    assert isinstance(part.engine, Dacapo)
    first = part.read()
    found = flight_figures(part.engine.bench(part.url, "in-flight", FLIGHT_SECONDS))
    part.since(first)
    if not found:
        raise EngineError("`dacapo bench` told nothing of runs in flight")
    part.add(**found)


def flight_figures(bench: dict[str, Any]) -> dict[str, float]:
    """What the data of `dacapo bench` say of runs in flight."""
    kinds = {"step runs": "steps", "loop of inserts": "loop", "the one over the other": "ratio"}
    found = {}
    for measure in bench["measures"]:
        named = re.fullmatch(r"(?:\d+-)?(.+), (\d+) at once", measure["name"])
        if measure["row"] == "in-flight" and named and named[1] in kinds:
            found[f"{kinds[named[1]]}_{named[2]}"] = float(measure["value"])
    return found


BY_NAME: dict[str, Callable[[Part], None]] = {
    "drain": drain,
    "once": once,
    "event": event,
    "steps": steps,
    "waiting": waiting,
    "start": start,
    "idle": idle,
    "million": million,
    "flight": flight,
}

"""What is asked of Dacapo meanwhile: runs at a steady rate, events to those that wait, and a probe, each in a thread of its own."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from compare.processes import Program

# How often runs are started.
TICK_SECONDS = 0.1

# Runs that one call starts, at most.
TOGETHER = 5_000

# How often a single run is started and awaited.
PROBE_SECONDS = 0.1

# Events that one transaction sends.
EVENTS_TOGETHER = 20

PACKAGE = "bench:noop/noop"


@dataclass(frozen=True)
class Kind:
    """Runs of one workflow."""

    title: str
    workflow: str
    input: str
    # Of all that are started.
    share: float
    # What it waits for.
    event: str | None = None


THREE = Kind("three steps", "three-steps", "null", 0.85)
OTHERS = [
    Kind("wait for an event", "wait-event", "null", 0.1, "go"),
    Kind("wait for an event, then two children", "children", "2", 0.03, "begin"),
    Kind("wait for an event, then three sleeps", "timers", "3", 0.02, "begin"),
]


# When these runs are sent what they wait for.
Waiting = tuple[float, Kind, list[str]]


class Pacer:
    """Says how many are due, so that a rate is kept over any time, whatever delays the one who asks."""

    def __init__(self, per_second: float, begin: float) -> None:
        self._per_second = per_second
        self._begin = begin
        self._given = 0

    def due(self, now: float) -> int:
        """How many to do now, beside those that were given before."""
        due = int((now - self._begin) * self._per_second) - self._given
        due = max(0, min(due, TOGETHER))
        self._given += due
        return due


class Load:
    """Everything that is asked, from `start` until `stop`."""

    def __init__(
        self, connect: Callable[[], psycopg.Connection], client: Callable[[], Program], rate: float, event_after: float
    ) -> None:
        self._connect = connect
        self._client = client
        self._rate = rate
        self._event_after = event_after
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._trouble: BaseException | None = None
        self._probes: list[float] = []
        # Runs that were started, and events that were sent.
        self.started = 0
        self.sent = 0

    def start(self) -> None:
        for work in (self._start_plain, self._start_others, self._probe):
            thread = threading.Thread(target=self._guard, args=(work,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self, patience: float = 5) -> None:
        """Asks for no more."""
        self._stop.set()
        deadline = time.monotonic() + patience
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def check(self) -> None:
        """Fails if something could not be asked."""
        if self._trouble:
            raise self._trouble

    def take_probes(self) -> list[float]:
        """How long the probes took that have ended since this was last asked, in seconds."""
        with self._lock:
            probes, self._probes = self._probes, []
        return probes

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            if not self._stop.is_set():
                self._trouble = error

    def _count(self, started: int) -> None:
        with self._lock:
            self.started += started

    def _start_plain(self) -> None:
        with self._client() as client:
            pacer = Pacer(self._rate * THREE.share, time.monotonic())
            while not self._stop.wait(TICK_SECONDS):
                if n := pacer.due(time.monotonic()):
                    client.ask("start", workflow="three", n=n)
                    self._count(n)

    def _start_others(self) -> None:
        waiting: deque[Waiting] = deque()
        with self._connect() as connection:
            pacers = [(kind, Pacer(self._rate * kind.share, time.monotonic())) for kind in OTHERS]
            while not self._stop.wait(TICK_SECONDS):
                for kind, pacer in pacers:
                    if n := pacer.due(time.monotonic()):
                        ids = start(connection, kind, n)
                        self._count(n)
                        waiting.append((time.monotonic() + self._event_after, kind, ids))
                while sent := send_due(connection, waiting):
                    self.sent += sent

    def _probe(self) -> None:
        with self._client() as client:
            while not self._stop.wait(PROBE_SECONDS):
                took = client.ask("once", n=1, seconds=600)["seconds"]
                self._count(len(took))
                with self._lock:
                    self._probes += took


def start(connection: psycopg.Connection, kind: Kind, n: int) -> list[str]:
    """Starts runs by the SQL function."""
    rows = connection.execute(
        "select dacapo.start(%s, %s::text) from generate_series(1, %s)", [f"{PACKAGE}.{kind.workflow}", kind.input, n]
    )
    return [str(row[0]) for row in rows]


def send_due(connection: psycopg.Connection, waiting: deque[Waiting]) -> int:
    """Sends the first of them their events, if it is time; answers to how many."""
    if not waiting or waiting[0][0] >= time.monotonic():
        return 0
    _, kind, ids = waiting.popleft()
    send(connection, kind, ids)
    return len(ids)


def send(connection: psycopg.Connection, kind: Kind, ids: list[str]) -> None:
    """Sends each of these runs the event that it waits for."""
    for begin in range(0, len(ids), EVENTS_TOGETHER):
        connection.execute(
            "select dacapo.send_event(run, %s, 'null'::jsonb) from unnest(%s::uuid[]) as run",
            [kind.event, sorted(ids[begin : begin + EVENTS_TOGETHER])],
        )

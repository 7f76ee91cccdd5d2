"""What all programs over peers' Python packages have in common: the commands of bench/, in terms of what each engine can do."""

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

MARK = "@bench "

# No single run takes so long, in seconds.
PATIENCE = 30

URL = os.environ.get("DATABASE_URL", "")
SETTINGS: dict[str, Any] = json.loads(os.environ.get("BENCH_SETTINGS", "{}"))


class Engine(Protocol):
    """What an engine can do. A run is whatever it is known by."""

    marks: list[float]

    def set_up(self) -> None: ...
    def start(self, workflow: str, n: int) -> Any: ...
    def waiting(self, run: Any) -> None: ...
    def end(self, run: Any, seconds: float) -> bool: ...
    def send(self, run: Any) -> None: ...
    def work(self) -> None: ...


def serve(connect: Callable[[str], Engine]) -> None:
    """Serves the commands that come on standard input; `setup` as an argument only makes tables."""
    role = sys.argv[1]
    engine = connect(role)
    if role == "setup":
        engine.set_up()
    else:
        commands = Commands(engine)
        answer({"ready": True})
        for line in sys.stdin:
            try:
                answer({"done": commands.obey(json.loads(line))})
            except Exception as error:
                answer({"error": f"{type(error).__name__}: {error}"})
    # Threads of engines do not end by themselves.
    os._exit(0)


def answer(what: dict[str, Any]) -> None:
    print(MARK + json.dumps(what), flush=True)


class Commands:
    """The commands, and the runs that were started so far."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.started: list[Any] = []

    def obey(self, command: dict[str, Any]) -> dict[str, Any]:
        name = command.pop("do")
        return getattr(self, name.replace("-", "_"))(**command) or {}

    def work(self) -> None:
        self.engine.work()

    def start(self, workflow: str, n: int) -> dict[str, Any]:
        return self.start_each(workflow, n, SETTINGS.get("startsInFlight", 16))

    def start_each(self, workflow: str, n: int, inFlight: int) -> dict[str, Any]:
        begin = time.monotonic()
        with ThreadPoolExecutor(inFlight) as pool:
            self.started += pool.map(lambda _: self.engine.start(workflow, 0), range(n))
        return {"seconds": time.monotonic() - begin}

    def once(self, n: int, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        each: list[float] = []
        while len(each) < n and time.monotonic() < deadline:
            begin = time.monotonic()
            self._end(self.engine.start("three", 0))
            each.append(time.monotonic() - begin)
        return {"seconds": each}

    def event(self, n: int, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        each: list[float] = []
        while len(each) < n and time.monotonic() < deadline:
            run = self.engine.start("wait", 0)
            self.engine.waiting(run)
            begin = time.monotonic()
            self.engine.send(run)
            self._end(run)
            each.append(time.monotonic() - begin)
        return {"seconds": each}

    def _end(self, run: Any) -> None:
        if not self.engine.end(run, PATIENCE):
            raise TimeoutError(f"a run has not ended after {PATIENCE} s")

    def steps(self, n: int, seconds: float) -> dict[str, Any]:
        self.engine.marks.clear()
        self.engine.work()
        begin = time.monotonic()
        ended = self.engine.end(self.engine.start("steps", n), seconds)
        marks = list(self.engine.marks)
        return {"ended": ended, "seconds": time.monotonic() - begin, "marks": marks}

    def send(self, n: int, inFlight: int) -> dict[str, Any]:
        every = max(1, len(self.started) // n)
        chosen = self.started[::every][:n]
        begin = time.monotonic()
        with ThreadPoolExecutor(inFlight) as pool:
            list(pool.map(self.engine.send, chosen))
        return {"seconds": time.monotonic() - begin, "sent": len(chosen)}

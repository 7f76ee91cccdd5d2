"""Absurd for Python. Its tables are made by absurdctl."""

import asyncio
import itertools
import os
import threading
import time
from typing import Any

from absurd_sdk import Absurd, AsyncAbsurd, AsyncTaskContext
from engine import SETTINGS, URL, serve

QUEUE = "bench"

marks: list[float] = []


async def nothing() -> None:
    """A step that does nothing."""


async def mark() -> None:
    """A step that says when it began."""
    marks.append(time.monotonic())


async def three(_: Any, context: AsyncTaskContext) -> None:
    """Three steps that do nothing."""
    for name in ["one", "two", "three"]:
        await context.step(name, nothing)


async def wait(params: Any, context: AsyncTaskContext) -> None:
    """Waits for an event of its own."""
    await context.await_event(f"go-{params['key']}")


async def steps(params: Any, context: AsyncTaskContext) -> None:
    """So many steps."""
    for _ in range(params["n"]):
        await context.step("s", mark)


class Engine:
    """Absurd, whose clients have one connection each: one for each thread that starts, and one for each loop that takes runs."""

    def __init__(self, role: str) -> None:
        self.marks = marks
        self.clients = threading.local()
        self.keys = itertools.count()
        self.works = False

    def client(self) -> Absurd:
        if not hasattr(self.clients, "own"):
            self.clients.own = client = Absurd(URL, queue_name=QUEUE)
            for name in ["three", "wait", "steps"]:
                client.register_task(name)(lambda _params, _context: None)
        return self.clients.own

    def set_up(self) -> None:
        """Nothing is left to do."""

    def work(self) -> None:
        if not self.works:
            self.works = True
            threading.Thread(target=lambda: asyncio.run(self.work_on()), daemon=True).start()

    async def work_on(self) -> None:
        workers = []
        for number in range(SETTINGS.get("workers", 1)):
            worker = AsyncAbsurd(URL, queue_name=QUEUE)
            for name, handler in [("three", three), ("wait", wait), ("steps", steps)]:
                worker.register_task(name)(handler)
            concurrency = SETTINGS.get("concurrency", 1)
            workers.append(
                worker.start_worker(
                    worker_id=f"{os.getpid()}-{number}",
                    concurrency=concurrency,
                    poll_interval=SETTINGS["pollSeconds"],
                )
            )
        await asyncio.gather(*workers)

    def start(self, workflow: str, n: int) -> Any:
        # An event is known by its name alone, so each run waits for one of its own.
        key = f"{os.getpid()}-{next(self.keys)}"
        return self.client().spawn(workflow, {"n": n, "key": key})["task_id"], key

    def is_in(self, run: Any, state: str, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.client().fetch_task_result(run[0])
            if found and found.state == state:
                return True
            if found and found.state in ("failed", "cancelled"):
                raise RuntimeError(f"task {run[0]} is {found.state}")
            time.sleep(0.001)
        return False

    def waiting(self, run: Any) -> None:
        if not self.is_in(run, "sleeping", 30):
            raise TimeoutError("a run does not wait after 30 s")

    def end(self, run: Any, seconds: float) -> bool:
        return self.is_in(run, "completed", seconds)

    def send(self, run: Any) -> None:
        self.client().emit_event(f"go-{run[1]}", {})


serve(Engine)

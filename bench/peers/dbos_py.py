"""DBOS for Python. Runs are taken from a queue where there is a backlog, and else started where they are played."""

import threading
import time
import uuid
from typing import Any

from dbos import DBOS, DBOSClient, SetWorkflowID
from engine import SETTINGS, URL, serve

QUEUE = "bench"
NAME = "bench"
HOUR = 3600

marks: list[float] = []
begun: dict[str, threading.Event] = {}

DBOS(
    config={
        "name": NAME,
        "system_database_url": URL,
        "sys_db_pool_size": SETTINGS.get("pool", 16),
        "application_version": "1",
        "log_level": "ERROR",
        "notification_listener_polling_interval_sec": 0.001,
    }
)


@DBOS.step()
def nothing() -> None:
    """A step that does nothing."""


@DBOS.step()
def mark() -> None:
    """A step that says when it began."""
    marks.append(time.monotonic())


@DBOS.workflow()
def three(_: int) -> None:
    """Three steps that do nothing."""
    nothing()
    nothing()
    nothing()


@DBOS.workflow()
def wait(_: int) -> None:
    """Waits for an event."""
    if event := begun.get(DBOS.workflow_id or ""):
        event.set()
    DBOS.recv("go", timeout_seconds=HOUR)


@DBOS.workflow()
def steps(n: int) -> None:
    """So many steps."""
    for _ in range(n):
        mark()


WORKFLOWS = {"three": three, "wait": wait, "steps": steps}


class Engine:
    """DBOS, as a client of its database or with runs that are played here."""

    def __init__(self, role: str) -> None:
        self.marks = marks
        self.launched = False
        self.client: DBOSClient | None = None
        if role == "client" and not SETTINGS.get("embedded"):
            self.client = DBOSClient(system_database_url=URL)

    def set_up(self) -> None:
        self.work()

    def work(self) -> None:
        if self.launched:
            return
        self.launched = True
        DBOS.launch()
        DBOS.register_queue(
            QUEUE,
            worker_concurrency=SETTINGS.get("concurrency"),
            polling_interval_sec=SETTINGS.get("pollSeconds", 1.0),
        )

    def start(self, workflow: str, n: int) -> Any:
        if self.client:
            options = {"workflow_name": WORKFLOWS[workflow].__qualname__, "queue_name": QUEUE, "app_version": "1"}
            return self.client.enqueue(options, n).workflow_id
        run = str(uuid.uuid4())
        if workflow == "wait":
            begun[run] = threading.Event()
        with SetWorkflowID(run):
            return DBOS.start_workflow(WORKFLOWS[workflow], n)

    def waiting(self, run: Any) -> None:
        begun[run.workflow_id].wait()
        # What it does before it waits is not to be seen from outside; by then it is done.
        time.sleep(0.01)

    def end(self, run: Any, seconds: float) -> bool:
        ended = threading.Thread(target=run.get_result, daemon=True)
        ended.start()
        ended.join(seconds)
        return not ended.is_alive()

    def send(self, run: Any) -> None:
        if self.client:
            self.client.send(run, None, "go")
        else:
            DBOS.send(run.workflow_id, None, "go")


serve(Engine)

"""Starts, watches and steers workflow runs, over Postgres alone.

It has no dependencies: a connection of `psycopg` will do, and so will that of any driver whose cursors take ``%s`` for a parameter.

    import psycopg
    from dacapo_client import Dacapo
    from orders import PLACE, PLACE_PAID  # dacapo refs --lang python wit --to orders.py

    with psycopg.connect(url, autocommit=True) as connection:
        dacapo = Dacapo(connection)
        run = dacapo.start(PLACE({"number": 7, "customer": "Ada", "items": []}))
        dacapo.send_event(run, PLACE_PAID({"reference": "bank-1"}))
        receipt = dacapo.output(run)

Without autocommit the connection's transaction is yours: what is started and sent is there if and when you commit it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, Protocol, TypedDict, TypeVar

__all__ = [
    "Call",
    "Connection",
    "Dacapo",
    "DacapoError",
    "Err",
    "Event",
    "EventRef",
    "Failure",
    "Ok",
    "Ref",
    "Run",
    "RunRef",
    "Some",
]

_T = TypeVar("_T")
_Input = TypeVar("_Input")
_Output = TypeVar("_Output")
_Payload = TypeVar("_Payload")


class Some(TypedDict, Generic[_T]):
    """What is there, of an option within an option."""

    some: _T


class Ok(TypedDict, Generic[_T]):
    """A result that is a success."""

    ok: _T


class Err(TypedDict, Generic[_T]):
    """A result that is an error."""

    err: _T


class Connection(Protocol):
    """What asks the database: a connection of `psycopg`, or of another driver after PEP 249 that takes ``%s`` for a parameter."""

    def cursor(self) -> Any:
        """A cursor."""


@dataclass(frozen=True)
class Ref(Generic[_Input, _Output]):
    """A workflow by its full name, with the types of its input and its output. `dacapo refs --lang python` writes these."""

    name: str

    def __call__(self, input: _Input) -> Call[_Output]:
        """The workflow with an input, as `Dacapo.start` takes it. Nothing is started yet."""
        return Call(self.name, input)

    def run(self, id: str) -> RunRef[_Output]:
        """A run of this workflow whose id was kept somewhere."""
        return RunRef(id)


@dataclass(frozen=True)
class Call(Generic[_Output]):
    """A workflow with its input."""

    workflow: str
    input: object


@dataclass(frozen=True)
class EventRef(Generic[_Payload]):
    """An event that a workflow declares, with the type of what it carries."""

    name: str

    def __call__(self, payload: _Payload) -> Event:
        """The event with what it carries, as `Dacapo.send_event` takes it. Nothing is sent yet."""
        return Event(self.name, payload)


@dataclass(frozen=True)
class Event:
    """An event with what it carries."""

    name: str
    payload: object


@dataclass(frozen=True)
class RunRef(Generic[_Output]):
    """A run by its id, with the type of its output."""

    id: str


@dataclass(frozen=True)
class Failure:
    """Why a run failed."""

    code: str
    """A short word for programs."""
    message: str
    """A sentence for people."""
    retryable: bool
    details: Any = None
    """What else there is; the error that the workflow returned, if it did."""


Status = Literal[
    "queued", "running", "suspended", "paused", "blocked", "cancelling", "completed", "failed", "cancelled"
]


@dataclass(frozen=True)
class Run(Generic[_Output]):
    """A run as it stands."""

    id: str
    workflow: str
    """The full name of its workflow."""
    status: Status
    input: Any
    output: _Output | None
    """What it returned, once it is completed."""
    failure: Failure | None
    """Why it failed, or what it said when it was cancelled."""
    labels: dict[str, str]
    waiting_for: str | None
    """What it waits for, while it waits: event, time, retry, pause, boundary, blocked, queue, delay, workflow, singleton."""
    created_at: datetime
    finished_at: datetime | None


Code = Literal["bad-input", "not-found", "ambiguous", "conflict", "timed-out", "failed", "cancelled"]


class DacapoError(Exception):
    """Something that was asked for cannot be. Errors of the driver and of the database itself stay what they are."""

    def __init__(self, code: Code, message: str, *, hint: str | None = None, failure: Failure | None = None) -> None:
        super().__init__(message)
        self.code = code
        """bad-input, not-found, ambiguous, conflict, timed-out, failed or cancelled."""
        self.hint = hint
        """What to do about it."""
        self.failure = failure
        """Why the run failed, if it did."""


_ENDED = ("completed", "failed", "cancelled")
_FIRST_LOOK = 0.05
_LOOK_MAX = 1.0


class Dacapo:
    """A client over a connection."""

    def __init__(self, connection: Connection, *, namespace: str = "default") -> None:
        self._connection = connection
        self._namespace = namespace

    def start(
        self,
        call: Call[_Output],
        *,
        key: str | None = None,
        labels: Mapping[str, str] | None = None,
        queue: str | None = None,
        priority: int | str | None = None,
        concurrency_key: str | None = None,
        delay: timedelta | str | None = None,
        at: datetime | str | None = None,
        deadline: timedelta | str | None = None,
        singleton: str | None = None,
        on_conflict: Literal["reject", "queue", "replace"] | None = None,
        debounce: str | None = None,
        debounce_for: timedelta | str | None = None,
        debounce_max: timedelta | str | None = None,
    ) -> RunRef[_Output]:
        """Starts a run. The input is checked against the workflow's types first.

        key: at most one run of the workflow has this key while it is kept: starting it again answers with that run.
        labels: to find the run by.
        queue, priority, concurrency_key: the named queue; -100 to 100, or a word such as high; what the queue's limits per key go by.
        delay, at: how much later it begins, or when.
        deadline: it fails when it has not ended by itself this long after its start.
        singleton: at most one active run of the workflow has this key; what happens to another start is said by on_conflict.
        debounce: starts with this key that come within debounce_for of each other are one run, with the newest input.
        """
        options = {
            "key": key,
            "labels": dict(labels) if labels is not None else None,
            "queue": queue,
            "priority": priority,
            "concurrencyKey": concurrency_key,
            "delay": _interval(delay),
            "at": at.isoformat() if isinstance(at, datetime) else at,
            "deadline": _interval(deadline),
            "singleton": singleton,
            "onConflict": on_conflict,
            "debounce": debounce,
            "debounceFor": _interval(debounce_for),
            "debounceMax": _interval(debounce_max),
            "namespace": self._namespace,
        }
        given = {name: value for name, value in options.items() if value is not None}
        text = _encode(f"the input of {call.workflow}", call.input)
        answer = self._ask(
            "select dacapo.start(%s::text, %s::text, %s::jsonb)::text",
            call.workflow,
            text,
            _encode("the options", given),
        )
        return RunRef(answer)

    def send_event(self, run: RunRef[Any], event: Event, *, id: str | None = None) -> Literal["sent", "duplicate"]:
        """Sends an event, which is kept if the run does not wait for it yet.

        Events with the same id are one event, for banks that call twice: the second one is a duplicate.
        """
        text = _encode(f"the payload of {event.name}", event.payload)
        answer: Literal["sent", "duplicate"] = self._ask(
            "select dacapo.send_event(%s::uuid, %s::text, %s::jsonb, %s::jsonb)",
            run.id,
            event.name,
            text,
            _encode("the options", {} if id is None else {"id": id}),
        )
        return answer

    def get(self, run: RunRef[_Output]) -> Run[_Output]:
        """How a run stands."""
        text = self._ask(
            """
            select json_build_object(
                'id', run.id, 'workflow', run.workflow, 'status', run_status.status, 'input', run.input::json,
                'output', run.output::json, 'failure', run.failure::json, 'labels', run.labels,
                'waiting_for', run_status.waiting_for, 'created_at', run.created_at, 'finished_at', run.finished_at
            )::text
            from dacapo.run join dacapo.run_status on run_status.run_id = run.id
            where run.id = %s::uuid and run.namespace = %s
            """,
            run.id,
            self._namespace,
        )
        if text is None:
            raise DacapoError("not-found", f"there is no run {run.id}")
        found = json.loads(text)
        failure, finished_at = found["failure"], found["finished_at"]
        return Run(
            **{
                **found,
                "failure": failure and Failure(**failure),
                "created_at": datetime.fromisoformat(found["created_at"]),
                "finished_at": finished_at and datetime.fromisoformat(finished_at),
            }
        )

    def wait(self, run: RunRef[_Output], *, timeout: float | None = None) -> Run[_Output]:
        """Waits until a run has ended, however it ends, and looks again and again; `timeout` is in seconds.

        Not in a transaction in which the run was started: nobody sees it before that is committed.
        """
        until = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST_LOOK
        while True:
            now = self.get(run)
            if now.status in _ENDED:
                return now
            left = pause if until is None else until - time.monotonic()
            if left <= 0:
                raise DacapoError("timed-out", f"run {run.id} has not ended in {timeout} s: it is {now.status}")
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LOOK_MAX)

    def output(self, run: RunRef[_Output], *, timeout: float | None = None) -> _Output:
        """Waits until a run has ended, and takes what it returned. That it failed or was cancelled is an error."""
        ended = self.wait(run, timeout=timeout)
        failure = ended.failure
        if ended.status == "failed" and failure is not None:
            raise DacapoError("failed", f"run {run.id} failed: {failure.code}: {failure.message}", failure=failure)
        if ended.status == "cancelled":
            raise DacapoError("cancelled", f"run {run.id} was cancelled", failure=failure)
        output: Any = ended.output
        return output  # type: ignore[no-any-return]

    def pause(self, run: RunRef[Any]) -> None:
        """Asks a run to pause, at its next step or wait if a worker plays it."""
        self._request("pause", run.id, "paused-now", "pausing")

    def resume(self, run: RunRef[Any]) -> None:
        """Lets a paused or blocked run go on."""
        self._request("resume", run.id, "resumed")

    def cancel(self, run: RunRef[Any]) -> None:
        """Asks a run to end. Its code may compensate first."""
        self._request("cancel", run.id, "cancelled-now", "cancelling-now")

    def _request(self, verb: str, run: str, *done: str) -> None:
        answer = self._ask(f"select dacapo.{verb}(%s::uuid)", run)
        if answer == "not-found":
            raise DacapoError("not-found", f"there is no run {run}")
        if answer not in done:
            raise DacapoError("conflict", f"cannot {verb} run {run}: it is {answer}")

    def _ask(self, query: str, *params: object) -> Any:
        """The one value of the one row; None if there is no row."""
        cursor = self._connection.cursor()
        try:
            cursor.execute(query, params)
            row = cursor.fetchone()
            if row is None:
                return None
            # Connections may be told to answer with dictionaries.
            return next(iter(row.values())) if isinstance(row, Mapping) else row[0]
        except Exception as error:
            known = _understood(error)
            if known is None:
                raise
            raise known from error
        finally:
            cursor.close()


_CODES: dict[str, Code] = {
    "22004": "bad-input",
    "22023": "bad-input",
    "22P02": "bad-input",
    "P0002": "not-found",
    "42P09": "ambiguous",
    "23505": "conflict",
    "55000": "conflict",
}


def _understood(error: Exception) -> DacapoError | None:
    """What Dacapo's functions raise, by its SQLSTATE."""
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    code = _CODES.get(state or "")
    said = getattr(error, "diag", None)
    # A uuid that is none is refused before a function is called; what else the database says of itself is not ours to explain.
    if code is None or (state != "22P02" and getattr(said, "source_function", None) != "exec_stmt_raise"):
        return None
    return DacapoError(code, getattr(said, "message_primary", None) or str(error), hint=getattr(said, "message_hint", None))


def _encode(what: str, value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise DacapoError("bad-input", f"{what} has no form in JSON: {error}") from error


def _interval(value: timedelta | str | None) -> str | None:
    return f"{value.total_seconds()} seconds" if isinstance(value, timedelta) else value

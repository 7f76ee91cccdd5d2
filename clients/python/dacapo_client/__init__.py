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

`AsyncDacapo` is the same over an `AsyncConnection`, with `await` before each call.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, Protocol, TypedDict, TypeVar, Unpack

__all__ = [
    "AsyncConnection",
    "AsyncDacapo",
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
    "StartOptions",
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


class AsyncConnection(Protocol):
    """The same for asyncio: an `AsyncConnection` of `psycopg`, or of another driver whose cursors have the same methods to await."""

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


class StartOptions(TypedDict, total=False):
    """How a run is to be started."""

    key: str | None
    """At most one run of the workflow has this key while it is kept: starting it again answers with that run."""
    labels: Mapping[str, str] | None
    """To find the run by."""
    queue: str | None
    """The named queue that it waits in."""
    priority: int | str | None
    """-100 to 100, or a word such as high."""
    concurrency_key: str | None
    """What the queue's limits per key go by."""
    delay: timedelta | str | None
    """How much later it begins."""
    at: datetime | str | None
    """When it begins."""
    deadline: timedelta | str | None
    """It fails when it has not ended by itself this long after its start."""
    singleton: str | None
    """At most one active run of the workflow has this key."""
    on_conflict: Literal["reject", "queue", "replace"] | None
    """What happens to another start with the key of a singleton."""
    debounce: str | None
    """Starts with this key that come within `debounce_for` of each other are one run, with the newest input."""
    debounce_for: timedelta | str | None
    debounce_max: timedelta | str | None


class Dacapo:
    """A client over a connection."""

    def __init__(self, connection: Connection, *, namespace: str = "default") -> None:
        self._connection = connection
        self._namespace = namespace

    def start(self, call: Call[_Output], **options: Unpack[StartOptions]) -> RunRef[_Output]:
        """Starts a run. The input is checked against the workflow's types first. The options are those of `StartOptions`."""
        return self._ask(_start(self._namespace, call, options))

    def send_event(self, run: RunRef[Any], event: Event, *, id: str | None = None) -> Literal["sent", "duplicate"]:
        """Sends an event, which is kept if the run does not wait for it yet.

        Events with the same id are one event, for banks that call twice: the second one is a duplicate.
        """
        return self._ask(_send_event(run, event, id))

    def get(self, run: RunRef[_Output]) -> Run[_Output]:
        """How a run stands."""
        return self._ask(_get(self._namespace, run))

    def wait(self, run: RunRef[_Output], *, timeout: float | None = None) -> Run[_Output]:
        """Waits until a run has ended, however it ends, and looks again and again; `timeout` is in seconds.

        Not in a transaction in which the run was started: nobody sees it before that is committed.
        """
        patience = _Patience(timeout)
        while True:
            now = self.get(run)
            pause = patience.pause(now)
            if pause is None:
                return now
            time.sleep(pause)

    def output(self, run: RunRef[_Output], *, timeout: float | None = None) -> _Output:
        """Waits until a run has ended, and takes what it returned. That it failed or was cancelled is an error."""
        return _output(self.wait(run, timeout=timeout))

    def pause(self, run: RunRef[Any]) -> None:
        """Asks a run to pause, at its next step or wait if a worker plays it."""
        self._ask(_request("pause", run, "paused-now", "pausing"))

    def resume(self, run: RunRef[Any]) -> None:
        """Lets a paused or blocked run go on."""
        self._ask(_request("resume", run, "resumed"))

    def cancel(self, run: RunRef[Any]) -> None:
        """Asks a run to end. Its code may compensate first."""
        self._ask(_request("cancel", run, "cancelled-now", "cancelling-now"))

    def _ask(self, question: _Question[_T]) -> _T:
        cursor = self._connection.cursor()
        try:
            cursor.execute(question.query, question.params)
            row = cursor.fetchone()
        except Exception as error:
            known = _understood(error)
            if known is None:
                raise
            raise known from error
        finally:
            cursor.close()
        return question.read(_value(row))


class AsyncDacapo:
    """A client for asyncio over a connection: the same calls as those of `Dacapo`, each to be awaited."""

    def __init__(self, connection: AsyncConnection, *, namespace: str = "default") -> None:
        self._connection = connection
        self._namespace = namespace

    async def start(self, call: Call[_Output], **options: Unpack[StartOptions]) -> RunRef[_Output]:
        """Starts a run; see `Dacapo.start`."""
        return await self._ask(_start(self._namespace, call, options))

    async def send_event(self, run: RunRef[Any], event: Event, *, id: str | None = None) -> Literal["sent", "duplicate"]:
        """Sends an event; see `Dacapo.send_event`."""
        return await self._ask(_send_event(run, event, id))

    async def get(self, run: RunRef[_Output]) -> Run[_Output]:
        """How a run stands."""
        return await self._ask(_get(self._namespace, run))

    async def wait(self, run: RunRef[_Output], *, timeout: float | None = None) -> Run[_Output]:
        """Waits until a run has ended; see `Dacapo.wait`. Between two looks the connection is free for others."""
        patience = _Patience(timeout)
        while True:
            now = await self.get(run)
            pause = patience.pause(now)
            if pause is None:
                return now
            await asyncio.sleep(pause)

    async def output(self, run: RunRef[_Output], *, timeout: float | None = None) -> _Output:
        """Waits until a run has ended, and takes what it returned. That it failed or was cancelled is an error."""
        return _output(await self.wait(run, timeout=timeout))

    async def pause(self, run: RunRef[Any]) -> None:
        """Asks a run to pause, at its next step or wait if a worker plays it."""
        await self._ask(_request("pause", run, "paused-now", "pausing"))

    async def resume(self, run: RunRef[Any]) -> None:
        """Lets a paused or blocked run go on."""
        await self._ask(_request("resume", run, "resumed"))

    async def cancel(self, run: RunRef[Any]) -> None:
        """Asks a run to end. Its code may compensate first."""
        await self._ask(_request("cancel", run, "cancelled-now", "cancelling-now"))

    async def _ask(self, question: _Question[_T]) -> _T:
        cursor = self._connection.cursor()
        try:
            await cursor.execute(question.query, question.params)
            row = await cursor.fetchone()
        except Exception as error:
            known = _understood(error)
            if known is None:
                raise
            raise known from error
        finally:
            await cursor.close()
        return question.read(_value(row))


@dataclass(frozen=True)
class _Question(Generic[_T]):
    """A statement that answers one value, and what that means, whichever client asks."""

    query: str
    params: tuple[object, ...]
    read: Callable[[Any], _T]


def _start(namespace: str, call: Call[_Output], given: StartOptions) -> _Question[RunRef[_Output]]:
    unknown = given.keys() - StartOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"start() got an unexpected keyword argument {min(unknown)!r}")
    at, labels = given.get("at"), given.get("labels")
    options = {
        "key": given.get("key"),
        "labels": dict(labels) if labels is not None else None,
        "queue": given.get("queue"),
        "priority": given.get("priority"),
        "concurrencyKey": given.get("concurrency_key"),
        "delay": _interval(given.get("delay")),
        "at": at.isoformat() if isinstance(at, datetime) else at,
        "deadline": _interval(given.get("deadline")),
        "singleton": given.get("singleton"),
        "onConflict": given.get("on_conflict"),
        "debounce": given.get("debounce"),
        "debounceFor": _interval(given.get("debounce_for")),
        "debounceMax": _interval(given.get("debounce_max")),
        "namespace": namespace,
    }
    said = {name: value for name, value in options.items() if value is not None}
    text = _encode(f"the input of {call.workflow}", call.input)
    return _Question(
        "select dacapo.start(%s::text, %s::text, %s::jsonb)::text",
        (call.workflow, text, _encode("the options", said)),
        lambda id: RunRef(id),
    )


def _send_event(run: RunRef[Any], event: Event, id: str | None) -> _Question[Literal["sent", "duplicate"]]:
    text = _encode(f"the payload of {event.name}", event.payload)
    options = _encode("the options", {} if id is None else {"id": id})
    return _Question(
        "select dacapo.send_event(%s::uuid, %s::text, %s::jsonb, %s::jsonb)",
        (run.id, event.name, text, options),
        lambda answer: answer,
    )


def _get(namespace: str, run: RunRef[_Output]) -> _Question[Run[_Output]]:
    def read(text: str | None) -> Run[_Output]:
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

    return _Question(
        """
        select json_build_object(
            'id', run.id, 'workflow', run.workflow, 'status', run_status.status, 'input', run.input::json,
            'output', run.output::json, 'failure', run.failure::json, 'labels', run.labels,
            'waiting_for', run_status.waiting_for, 'created_at', run.created_at, 'finished_at', run.finished_at
        )::text
        from dacapo.run join dacapo.run_status on run_status.run_id = run.id
        where run.id = %s::uuid and run.namespace = %s
        """,
        (run.id, namespace),
        read,
    )


def _request(verb: str, run: RunRef[Any], *done: str) -> _Question[None]:
    def read(answer: str) -> None:
        if answer == "not-found":
            raise DacapoError("not-found", f"there is no run {run.id}")
        if answer not in done:
            raise DacapoError("conflict", f"cannot {verb} run {run.id}: it is {answer}")

    return _Question(f"select dacapo.{verb}(%s::uuid)", (run.id,), read)


_ENDED = ("completed", "failed", "cancelled")
_FIRST_LOOK = 0.05
_LOOK_MAX = 1.0


class _Patience:
    """How long to wait before the next look at a run."""

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._until = None if timeout is None else time.monotonic() + timeout
        self._pause = _FIRST_LOOK

    def pause(self, now: Run[Any]) -> float | None:
        """In seconds; None if the run has ended."""
        if now.status in _ENDED:
            return None
        left = self._pause if self._until is None else self._until - time.monotonic()
        if left <= 0:
            raise DacapoError("timed-out", f"run {now.id} has not ended in {self._timeout} s: it is {now.status}")
        pause = min(self._pause, left)
        self._pause = min(2 * self._pause, _LOOK_MAX)
        return pause


def _output(ended: Run[_Output]) -> _Output:
    failure = ended.failure
    if ended.status == "failed" and failure is not None:
        raise DacapoError("failed", f"run {ended.id} failed: {failure.code}: {failure.message}", failure=failure)
    if ended.status == "cancelled":
        raise DacapoError("cancelled", f"run {ended.id} was cancelled", failure=failure)
    output: Any = ended.output
    return output  # type: ignore[no-any-return]


def _value(row: Any) -> Any:
    """The one value of the one row; None if there is no row."""
    if row is None:
        return None
    # Connections may be told to answer with dictionaries.
    return next(iter(row.values())) if isinstance(row, Mapping) else row[0]


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

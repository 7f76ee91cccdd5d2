"""Waits: points where a run stops until an event, a time or a person. While it waits it costs rows in the database only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar, overload

from componentize_py_types import Err
from wit_world.imports import steps, waits

from . import _json
from ._errors import from_wit
from ._steps import milliseconds

T = TypeVar("T")


@overload
def wait_for(event: str, *, timeout: None = None) -> Any: ...
@overload
def wait_for(event: str, kind: type[T], *, timeout: None = None) -> T: ...
@overload
def wait_for(event: str, *, timeout: timedelta) -> Any | None: ...
@overload
def wait_for(event: str, kind: type[T], *, timeout: timedelta) -> T | None: ...


def wait_for(event: str, kind: Any = None, *, timeout: timedelta | None = None) -> Any:
    """Takes the oldest event with this name that was sent to the run, and waits for one if there is none. Answers its payload, as `kind`
    if that is given, or None if none was received in time; the time counts from when the wait is first reached.

    Raises `Cancelled` when the run is being ended.
    """
    try:
        payload = waits.wait_for(event, _optional(timeout))
    except Err as error:
        raise from_wit(error.value) from None
    return None if payload is None else _payload(event, payload, kind)


@overload
def wait_for_any(
    name: str, events: Sequence[str] | dict[str, Any], *, timeout: None = None
) -> tuple[str, Any]: ...
@overload
def wait_for_any(
    name: str, events: Sequence[str] | dict[str, Any], *, timeout: timedelta
) -> tuple[str, Any] | None: ...


def wait_for_any(
    name: str,
    events: Sequence[str] | dict[str, Any],
    *,
    timeout: timedelta | None = None,
) -> tuple[str, Any] | None:
    """Like `wait_for`, for whichever of these events comes first. Answers its name and its payload; of a dict the values are the types
    of the payloads.

    Raises `Cancelled` when the run is being ended.
    """
    kinds = events if isinstance(events, dict) else {}
    try:
        found = waits.wait_for_any(name, list(events), _optional(timeout))
    except Err as error:
        raise from_wit(error.value) from None
    if found is None:
        return None
    event, payload = found
    return event, _payload(event, payload, kinds.get(event))


def sleep(name: str, time: timedelta) -> None:
    """Goes on no earlier than this long after the call is first reached.

    Raises `Cancelled` when the run is being ended.
    """
    try:
        waits.sleep(name, milliseconds(time))
    except Err as error:
        raise from_wit(error.value) from None


def sleep_until(name: str, at: datetime) -> None:
    """Goes on no earlier than this time, which has a time zone; at once if it has passed.

    Raises `Cancelled` when the run is being ended.
    """
    if at.tzinfo is None:
        raise ValueError("expected a time with a time zone, such as datetime(..., tzinfo=timezone.utc)")
    try:
        waits.sleep_until(name, max(0, -(-int(at.timestamp() * 1_000_000) // 1_000)))
    except Err as error:
        raise from_wit(error.value) from None


def pause(name: str) -> None:
    """Goes on when an operator resumes the run.

    Raises `Cancelled` when the run is being ended.
    """
    try:
        waits.pause(name)
    except Err as error:
        raise from_wit(error.value) from None


def _optional(timeout: timedelta | None) -> int | None:
    return None if timeout is None else milliseconds(timeout)


def _payload(event: str, payload: str, kind: Any) -> Any:
    try:
        return _json.decode(payload, kind)
    except (TypeError, ValueError) as error:
        steps.step_reject(event, f"the payload of the event `{event}`: {error}")
        raise

"""Steps: named units of work whose outcome is recorded once and handed back ever after."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, TypeVar, overload

from componentize_py_types import Err, Ok
from wit_world.imports import steps as wit

from . import _json, _random
from ._errors import Failure, Fatal, Retry, from_wit, to_wit

T = TypeVar("T")

#: What a step that sets a part of its policy takes for the rest.
_RETRY = wit.Retry(max_attempts=3, initial_ms=1_000, factor=2.0, max_ms=60_000)


@dataclass(frozen=True)
class Attempt:
    """The attempt that is open: a body that takes an argument is handed this."""

    #: 1 for the first.
    number: int


class _Decorator(Protocol):
    """Puts the outcome of a step in the place of its body."""

    def __call__(self, body: Callable[..., T], /) -> T: ...


@overload
def step(body: Callable[..., T], /) -> T: ...


@overload
def step(
    name: str,
    body: Callable[..., T],
    /,
    *,
    attempts: int | None = None,
    backoff: timedelta | None = None,
    factor: float | None = None,
    backoff_max: timedelta | None = None,
    timeout: timedelta | None = None,
) -> T: ...


@overload
def step(
    name: str,
    body: Callable[..., Any],
    /,
    *,
    attempts: int | None = None,
    backoff: timedelta | None = None,
    factor: float | None = None,
    backoff_max: timedelta | None = None,
    timeout: timedelta | None = None,
    returns: type[T],
) -> T: ...


@overload
def step(
    name: str | None = None,
    /,
    *,
    attempts: int | None = None,
    backoff: timedelta | None = None,
    factor: float | None = None,
    backoff_max: timedelta | None = None,
    timeout: timedelta | None = None,
) -> _Decorator: ...


@overload
def step(
    name: str | None = None,
    /,
    *,
    attempts: int | None = None,
    backoff: timedelta | None = None,
    factor: float | None = None,
    backoff_max: timedelta | None = None,
    timeout: timedelta | None = None,
    returns: type[T],
) -> Callable[[Callable[..., Any]], T]: ...


def step(name: Any = None, body: Any = None, /, **options: Any) -> Any:
    """Runs a step's body, or hands back what was recorded when it ran before.

    Called with a name and a body it answers the outcome::

        total = step("add-up", lambda: sum(prices))

    As a decorator of a function within the workflow it puts the outcome in the function's place; without a name that of the function,
    with `-` for `_`, is the step's::

        @step("charge", attempts=5, timeout=timedelta(seconds=10))
        def receipt(attempt: Attempt) -> Receipt:
            return Receipt(...)

        print(receipt.number)

    The outcome is recorded as JSON: what `json` takes, dataclasses and enums. It comes back as the type that the body's annotation (or
    `returns`) names, and has been through JSON the first time, too.

    `attempts` counts all tries (1 to 1,000). `backoff` is the time between the first two, and grows by `factor` up to `backoff_max`.
    `timeout` is for one attempt. What is not said is as the manifest or the operator says.

    Raises `Failure` once no attempt is left, or at once for `Fatal`, and `Cancelled` when the run is being ended.
    """
    if callable(name):
        return _run(_name_of(name), name, options)
    if body is not None:
        return _run(name, body, options)
    return lambda function: _run(name or _name_of(function), function, options)


def _name_of(function: Callable[..., Any]) -> str:
    name = function.__name__
    if not name.isidentifier():
        raise Fatal("a step needs a name: step('charge', lambda: ...)", code="misuse")
    return name.replace("_", "-")


def _run(name: str, body: Callable[..., Any], options: dict[str, Any]) -> Any:
    kind = options.pop("returns", None) or _returned(body)
    given = _options(options) if options else None
    drawn = _random.pass_step()
    try:
        state = wit.step_run(name, given)
    except Err as error:
        raise from_wit(error.value) from None
    if isinstance(state, wit.State_Recorded):
        return _outcome(name, state.value, kind)
    attempt = state.value
    # In a body randomness is real, and what it draws is not missing from the stream of those that replay it.
    _random.leave(drawn)
    try:
        value = body(Attempt(attempt.number())) if _takes_attempt(body) else body()
        if inspect.iscoroutine(value):
            value.close()
            raise Fatal(
                f"the body of step `{name}` is an async function: write def, since there is nothing to await in a workflow",
                code="misuse",
            )
        outcome: Any = Ok(_json.encode(value, f"the outcome of step `{name}`"))
    # `sys.exit` is a failure of the attempt like any other.
    except BaseException as error:
        if isinstance(error, Retry) and error.after is not None:
            attempt.retry_after(milliseconds(error.after))
        outcome = Err(to_wit(error))
    finally:
        _random.come_back()
    try:
        return _outcome(name, Ok(wit.step_end(attempt, outcome)), kind)
    except Err as error:
        raise from_wit(error.value) from None


def _outcome(name: str, outcome: Any, kind: Any) -> Any:
    if isinstance(outcome, Err):
        raise from_wit(outcome.value)
    try:
        return _json.decode(outcome.value, kind)
    except (TypeError, ValueError) as error:
        # The run stays as it is, until code comes that can read it.
        wit.step_reject(name, str(error))
        raise


def _returned(body: Callable[..., Any]) -> Any:
    try:
        return typing.get_type_hints(body).get("return")
    except (NameError, TypeError):
        return None


def _takes_attempt(body: Callable[..., Any]) -> bool:
    # A signature costs more than most bodies. One that was wrapped, or says what its signature is, has something in its dict.
    if isinstance(body, types.FunctionType) and not body.__dict__:
        return body.__code__.co_argcount > len(body.__defaults__ or ())
    try:
        parameters = inspect.signature(body).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(
        parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        for parameter in parameters
    )


def _options(options: dict[str, Any]) -> wit.Options | None:
    attempts = options.pop("attempts", None)
    backoff = options.pop("backoff", None)
    factor = options.pop("factor", None)
    backoff_max = options.pop("backoff_max", None)
    timeout = options.pop("timeout", None)
    if options:
        raise TypeError(f"step() has no option {next(iter(options))!r}")
    retry = (attempts, backoff, factor, backoff_max)
    if timeout is None and all(part is None for part in retry):
        return None
    made = wit.Options()
    if any(part is not None for part in retry):
        made.set_retry(
            wit.Retry(
                max_attempts=_RETRY.max_attempts if attempts is None else attempts,
                initial_ms=_RETRY.initial_ms if backoff is None else milliseconds(backoff),
                factor=_RETRY.factor if factor is None else factor,
                max_ms=_RETRY.max_ms if backoff_max is None else milliseconds(backoff_max),
            )
        )
    if timeout is not None:
        made.set_timeout(milliseconds(timeout))
    return made


def milliseconds(time: timedelta) -> int:
    """Whole milliseconds, rounded up."""
    if not isinstance(time, timedelta):
        raise TypeError(f"expected a timedelta, got {time!r}")
    if time < timedelta(0):
        raise ValueError(f"expected a time of zero or more, got {time}")
    return -(-time // timedelta(milliseconds=1))

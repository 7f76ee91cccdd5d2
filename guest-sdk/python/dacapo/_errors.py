"""What can go wrong in a workflow, as exceptions."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, Generic, TypeVar

from wit_world.imports import types as wit

E = TypeVar("E")


class Failure(Exception):
    """Something went wrong that is part of the workflow's story: recorded, and shown to people.

    Raised in a step's body it is the failure of that attempt. A step that has failed for good raises it, and so does any other durable
    call that comes to nothing.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "error",
        retryable: bool = True,
        details: Any = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        #: A short, stable word for programs.
        self.code = code
        #: Whether trying the same thing again could help.
        self.retryable = retryable
        #: Whatever else a program might want to know; JSON can carry it.
        self.details = details


class Fatal(Failure):
    """A failure that trying again will not mend."""

    def __init__(self, message: str, *, code: str = "error", details: Any = None) -> None:
        super().__init__(message, code=code, retryable=False, details=details)


class Retry(Failure):
    """A failure that may be gone at the next try, which begins no sooner than after `after`."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "error",
        after: timedelta | None = None,
        details: Any = None,
    ) -> None:
        super().__init__(message, code=code, retryable=True, details=details)
        self.after = after


class Cancelled(Failure):
    """The run is being ended. What steps do from here on, to compensate, works as usual; then the run is cancelled."""


class UnknownChild(Failure):
    """There is no such child."""


class WorkflowError(Exception, Generic[E]):
    """Raised out of a workflow: it returns `value` as the error that its type in WIT says."""

    def __init__(self, value: E) -> None:
        super().__init__(value)
        self.value = value


def from_wit(failure: wit.Failure) -> Failure:
    """The exception for a failure that the host has answered."""
    details = None if failure.details is None else json.loads(failure.details)
    kind: type[Failure] = {"cancelled": Cancelled, "unknown-child": UnknownChild}.get(
        failure.code, Failure
    )
    raised = kind.__new__(kind)
    Failure.__init__(
        raised,
        failure.message,
        code=failure.code,
        retryable=failure.retryable,
        details=details,
    )
    return raised


def to_wit(error: BaseException) -> wit.Failure:
    """The failure that an exception is."""
    if isinstance(error, Failure):
        try:
            details = None if error.details is None else json.dumps(error.details, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as problem:
            message = f"{error.message} (the details of this failure cannot be recorded: {problem})"
            return wit.Failure("encode", message, False, None)
        return wit.Failure(error.code, error.message, error.retryable, details)
    # Any other error may be gone at the next try, unless it says that the code is wrong.
    import traceback

    trace = "".join(traceback.format_exception(error))
    message = "".join(traceback.format_exception_only(error)).strip()
    return wit.Failure("error", message, True, json.dumps({"trace": trace}))

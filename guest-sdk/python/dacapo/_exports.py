"""What a component exports."""

from __future__ import annotations

import functools
import json
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from componentize_py_types import Err
from wit_world.imports import context, types

from . import _logging, _random, _shapes
from ._errors import Failure, WorkflowError, to_wit

C = TypeVar("C", bound=type)


def workflows(implementation: C) -> C:
    """Makes a class the implementation of an exported interface; its name is the interface's in PascalCase, and each of its methods a
    workflow.

    `raise WorkflowError(value)` returns the error that the workflow's type says. What nobody catches fails the run, with the traceback in
    the failure's details.
    """
    for name, method in vars(implementation).copy().items():
        if callable(method) and not name.startswith("_"):
            setattr(implementation, name, _workflow(name, method))
    return implementation


def _workflow(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def played(*arguments: Any) -> Any:
        # The interpreter's state was frozen when the component was built.
        _random.reseed()
        _logging.install()
        try:
            try:
                output = method(*arguments)
            except WorkflowError as error:
                raise Err(_shapes.fit(name, "error", error.value)) from None
            except Err as error:
                _shapes.fit(name, "error", error.value)
                raise
            return _shapes.fit(name, "output", output)
        except Err:
            raise
        # Who leaves the interpreter leaves the workflow.
        except BaseException as error:
            context.fail(_uncaught(error))
            raise

    return played


def _uncaught(error: BaseException) -> types.Failure:
    trace = json.dumps({"trace": "".join(traceback.format_exception(error))})
    if isinstance(error, Failure):
        # What a step has failed with says already where that was.
        failure = to_wit(error)
        details = trace if failure.details is None else failure.details
        return types.Failure(failure.code, failure.message, failure.retryable, details)
    message = "".join(traceback.format_exception_only(error)).strip()
    return types.Failure("exception", message, False, trace)

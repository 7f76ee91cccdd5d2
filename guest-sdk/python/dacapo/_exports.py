"""What a component exports."""

from __future__ import annotations

import functools
import json
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from componentize_py_types import Err
from wit_world.imports import context, types

from . import _logging, _random
from ._errors import Failure, WorkflowError

C = TypeVar("C", bound=type)


def workflows(implementation: C) -> C:
    """Makes a class the implementation of an exported interface; its name is the interface's in PascalCase, and each of its methods a
    workflow.

    `raise WorkflowError(value)` returns the error that the workflow's type says. What nobody catches fails the run, with the traceback in
    the failure's details.
    """
    for name, method in vars(implementation).copy().items():
        if callable(method) and not name.startswith("_"):
            setattr(implementation, name, _workflow(method))
    return implementation


def _workflow(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def played(*arguments: Any) -> Any:
        # The interpreter's state was frozen when the component was built.
        _random.reseed()
        _logging.install()
        try:
            return method(*arguments)
        except WorkflowError as error:
            raise Err(error.value) from None
        except Err:
            raise
        except Exception as error:
            context.fail(_uncaught(error))
            raise

    return played


def _uncaught(error: Exception) -> types.Failure:
    trace = json.dumps({"trace": "".join(traceback.format_exception(error))})
    if isinstance(error, Failure):
        # What a step has failed with says already where that was.
        details = trace if error.details is None else json.dumps(error.details)
        return types.Failure(error.code, error.message, error.retryable, details)
    message = "".join(traceback.format_exception_only(error)).strip()
    return types.Failure("exception", message, False, trace)

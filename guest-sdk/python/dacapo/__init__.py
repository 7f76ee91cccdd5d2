"""Durable workflows in Python.

A workflow is a method of a class that implements the interface of the project's WIT. What it does in steps is recorded, and never done
again; everything else may be played again from the top, and must take the same way then::

    from dacapo import Fatal, step, wait_for, workflows
    from wit_world.exports.orders import Order, Receipt

    @workflows
    class Orders:
        def place(self, order: Order) -> Receipt:
            @step
            def charge() -> str:
                return f"charge-{order.number}"

            paid = wait_for("paid", timeout=timedelta(days=1))
            ...

Outside of steps the clock stands still and randomness is the same in each replay; inside of them both are real.
"""

from ._context import Context, changed, context, idempotency_key, progress
from ._children import Child, child
from ._errors import Cancelled, Failure, Fatal, Retry, UnknownChild, WorkflowError
from ._exports import workflows
from ._forks import map_parallel, parallel, race
from ._http import Response, fetch
from ._logging import log
from ._secrets import placeholder, reveal
from ._sql import Row, execute, query
from ._steps import Attempt, step
from ._waits import pause, sleep, sleep_until, wait_for, wait_for_any

__all__ = [
    "Attempt",
    "Cancelled",
    "Child",
    "Context",
    "Failure",
    "Fatal",
    "Response",
    "Retry",
    "Row",
    "UnknownChild",
    "WorkflowError",
    "changed",
    "child",
    "context",
    "execute",
    "fetch",
    "idempotency_key",
    "log",
    "map_parallel",
    "parallel",
    "pause",
    "placeholder",
    "progress",
    "query",
    "race",
    "reveal",
    "sleep",
    "sleep_until",
    "step",
    "wait_for",
    "wait_for_any",
    "workflows",
]

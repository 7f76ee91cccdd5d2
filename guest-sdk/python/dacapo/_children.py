"""Child runs: runs of other workflows that a workflow starts, each exactly once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from componentize_py_types import Err
from wit_world.imports import children, steps

from . import _json
from ._errors import from_wit
from ._steps import milliseconds


class Child:
    """A child run that was started."""

    def __init__(self, name: str, run_id: str) -> None:
        self._name = name
        #: A UUID.
        self.run_id = run_id

    def output(self, kind: Any = None, *, timeout: timedelta | None = None) -> Any:
        """Waits until the child has ended, and answers its output, as `kind` if that is given; None if it has not ended in time.

        Raises the child's `Failure`, with the code `child-cancelled` if it was cancelled; `Cancelled` when this run is being ended.
        """
        waited = None if timeout is None else milliseconds(timeout)
        name = f"{self._name}-end"
        try:
            ended = children.await_child(name, self.run_id, waited)
        except Err as error:
            raise from_wit(error.value) from None
        if ended is None:
            return None
        if isinstance(ended, Err):
            raise from_wit(ended.value)
        try:
            return _json.decode(ended.value, kind)
        except (TypeError, ValueError) as error:
            steps.step_reject(name, f"the child's output: {error}")
            raise


def child(
    name: str,
    workflow: str,
    value: Any = None,
    *,
    labels: Mapping[str, str] | None = None,
    deadline: timedelta | None = None,
    detached: bool = False,
    queue: str | None = None,
    concurrency_key: str | None = None,
    priority: int | None = None,
) -> Child:
    """Starts a run of a deployed workflow, and does not wait for it: `child("mail", "shop:mail/api.send", letter).output()` does.

    The input is given in the JSON form of the workflow's own type: fields in camelCase. It does not outlive this run unless it is
    `detached`.

    Raises `Failure` with the code `input` if the workflow does not take it, `child-depth` when runs have started each other 32 deep.
    """
    options = children.Options()
    if labels is not None:
        options.set_labels(list(labels.items()))
    if deadline is not None:
        options.set_deadline(milliseconds(deadline))
    if detached:
        options.set_detached()
    if queue is not None or concurrency_key is not None:
        options.set_queue(queue or "default", concurrency_key)
    if priority is not None:
        options.set_priority(priority)
    text = _json.encode(value, f"the input of the child `{name}`")
    try:
        return Child(name, children.start_child(name, workflow, text, options))
    except Err as error:
        raise from_wit(error.value) from None

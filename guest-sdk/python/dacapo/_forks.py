"""Branches of a run that are played at the same time, each in an instance of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from componentize_py_types import Err, Ok
from wit_world.imports import forks, steps

from . import _json, _random
from ._errors import Failure, from_wit, to_wit
from ._steps import _returned

I = TypeVar("I")
T = TypeVar("T")


def map_parallel(
    name: str,
    items: Iterable[I],
    work: Callable[[I], T],
    *,
    max_parallel: int | None = None,
    returns: Any = None,
    failures: bool = False,
) -> list[T]:
    """Calls `work` for each item, in branches of the run that are played at the same time, `max_parallel` at most; answers what they
    returned, in the order of the items.

    The items must be the same in every replay. Each branch is played from the top of the workflow, so it sees what stood in memory at
    the fork, and nothing that other branches do. At most 10,000.

    Raises the `Failure` of the first item, in their order, that failed, once all have ended; with `failures` it stands in the list
    instead.
    """
    listed = list(items)
    if not listed:
        return []
    options = forks.Options()
    if max_parallel is not None:
        options.set_max_parallel(max(1, max_parallel))
    kind = returns or _returned(work)
    joined = _fork(name, len(listed), options, lambda index: work(listed[index]))
    outcomes = [_outcome(name, outcome, kind) for outcome in joined.outcomes]
    return outcomes if failures else [_raised(outcome) for outcome in outcomes]


def parallel(name: str, *branches: Callable[[], Any]) -> tuple[Any, ...]:
    """Calls these functions in branches of the run that are played at the same time, and answers what they returned.

    Raises the `Failure` of the first, in their order, that failed, once all have ended.
    """
    if not branches:
        return ()
    joined = _fork(name, len(branches), None, lambda index: branches[index]())
    outcomes = [
        _outcome(name, outcome, _returned(branch))
        for branch, outcome in zip(branches, joined.outcomes)
    ]
    return tuple(_raised(outcome) for outcome in outcomes)


def race(name: str, *branches: Callable[[], T]) -> T:
    """Calls these functions in branches that are played at the same time, and answers what the first to succeed returned. The others
    are told by `Cancelled` at their next step or wait, and may make up for what they did.

    Raises the `Failure` of the first, in their order, if none succeeds.
    """
    if not branches:
        raise ValueError("a race needs a branch")
    options = forks.Options()
    options.set_race()
    joined = _fork(name, len(branches), options, lambda index: branches[index]())
    which = joined.winner or 0
    won: T = _raised(_outcome(name, joined.outcomes[which], _returned(branches[which])))
    return won


def _fork(name: str, count: int, options: Any, work: Callable[[int], Any]) -> forks.Joined:
    try:
        side = forks.fork(name, count, options)
    except Err as error:
        raise from_wit(error.value) from None
    if isinstance(side, forks.Side_Joined):
        return side.value
    # Each branch draws numbers of its own, and all draw others than the code behind the fork.
    _random.reseed()
    outcome: Any
    try:
        outcome = Ok(_json.encode(work(side.value), f"what a branch of `{name}` returned"))
    except BaseException as error:
        outcome = Err(to_wit(error))
    forks.branch_end(outcome)
    raise AssertionError("branch_end does not return")


def _outcome(name: str, outcome: Any, kind: Any) -> Any:
    if isinstance(outcome, Err):
        return from_wit(outcome.value)
    try:
        return _json.decode(outcome.value, kind)
    except (TypeError, ValueError) as error:
        steps.step_reject(name, str(error))
        raise


def _raised(outcome: Any) -> Any:
    if isinstance(outcome, Failure):
        raise outcome
    return outcome

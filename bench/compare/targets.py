"""What Dacapo is meant to reach beside the others, and whether it did."""

from collections.abc import Callable
from dataclasses import dataclass

from .results import Range, Results

DACAPO = "dacapo"
FLOOR = "commits"


@dataclass(frozen=True)
class Target:
    """One line of the list."""

    what: str
    # `>= 20 x`
    wanted: str
    # What was reached, in the unit of `wanted`; none where it was not measured.
    reached: float | None
    met: bool | None
    note: str = ""


def targets(results: Results) -> list[Target]:
    """All targets."""
    waits = results.over_passes(DACAPO, "million.runs")
    idle = f"idle worker with {waits.middle if waits else 1_000_000:,.0f} waiting runs"
    return [
        _faster(results, "3-step runs drained, against the best peer", results.best_peer("drain.runs"), 20),
        *(
            _faster(results, f"3-step runs drained, against {results.engines[name]['title']}", name, 40)
            for name in ["pg-workflows", "dbos-python", "dbos-node"]
            if name in results.engines
        ),
        _share(results, "CPU of engine and Postgres for a run, of the best peer's", "drain.cpu", 1 / 20),
        _share(results, "one 3-step run at a time, p50, of the best peer's", "once.p50", 1 / 4),
        _commits(results, "one 3-step run at a time, p50, in single-row commits", "once.p50", 8),
        _commits(results, "event to completed, p50, in single-row commits", "event.p50", 4),
        _at_least(results, "durable steps with 64 runs in flight, of a loop by hand", "flight.ratio_64", 0.5),
        _at_least(results, "durable steps with 1,024 runs in flight, of a loop by hand", "flight.ratio_1024", 0.5),
        _at_most(results, "a step at the end of a run of 10,000 over one at its beginning", "steps.late", 1.2, "x"),
        _at_most(results, f"{idle}, processor", "million.cpu", 2, "% of a core"),
        _at_most(results, f"{idle}, memory", "million.memory", 100, "MiB"),
        _at_most(results, f"{idle}, statements", "million.statements", 2, "/s"),
    ]


def _faster(results: Results, what: str, peer: str | None, times: float) -> Target:
    ratio = results.ratio(DACAPO, peer, "drain.runs") if peer else None
    return _target(what, f">= {times:g} x", ratio, lambda value: value >= times, _title(results, peer))


def _share(results: Results, what: str, key: str, share: float) -> Target:
    peer = results.best_peer(key)
    ratio = results.ratio(DACAPO, peer, key) if peer else None
    return _target(what, f"<= {share:g} x", ratio, lambda value: value <= share, _title(results, peer))


def _commits(results: Results, what: str, key: str, commits: float) -> Target:
    ratio = results.ratio(DACAPO, FLOOR, key)
    return _target(what, f"< {commits:g} x", ratio, lambda value: value < commits)


def _at_most(results: Results, what: str, key: str, limit: float, unit: str) -> Target:
    found = results.over_passes(DACAPO, key)
    return _target(what, f"<= {limit:g} {unit}", found, lambda value: value <= limit)


def _at_least(results: Results, what: str, key: str, limit: float) -> Target:
    found = results.over_passes(DACAPO, key)
    return _target(what, f">= {limit:g} x", found, lambda value: value >= limit)


def _target(what: str, wanted: str, found: Range | None, holds: Callable[[float], bool], note: str = "") -> Target:
    if not found:
        return Target(what, wanted, None, None, note)
    if found.passes > 1:
        note = f"{note}{'; ' if note else ''}{found.least:.3g} to {found.most:.3g} in {found.passes} passes"
    return Target(what, wanted, found.middle, holds(found.middle), note)


def _title(results: Results, engine: str | None) -> str:
    return results.engines[engine]["title"] if engine else "no peer was measured"

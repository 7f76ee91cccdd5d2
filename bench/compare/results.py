"""All that was measured: parts as they were, and what they come to."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from .figures import BY_KEY


@dataclass(frozen=True)
class Load:
    """Who else was on the machine during a part."""

    # The load average as it began, and processors that others used and that were stolen meanwhile.
    average: float
    others: float
    stolen: float


@dataclass(frozen=True)
class PartResult:
    """One engine's turn at one workload."""

    workload: str
    turn: int
    engine: str
    seconds: float
    load: Load
    figures: dict[str, float]
    notes: list[str] = field(default_factory=list)
    # Why there are no figures.
    failure: str | None = None


@dataclass(frozen=True)
class Range:
    """A figure over all passes."""

    middle: float
    least: float
    most: float
    passes: int

    @staticmethod
    def over(values: list[float]) -> "Range":
        return Range(median(values), min(values), max(values), len(values))


@dataclass
class Results:
    """Everything of one run of the bench."""

    about: dict[str, Any]
    # By name: title, packages, settings.
    engines: dict[str, dict[str, Any]]
    parts: list[PartResult] = field(default_factory=list)
    # Engines that could not be measured at all, and why.
    missing: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def of_data(data: dict[str, Any]) -> "Results":
        """Those that `data` has kept."""
        parts = [PartResult(**{**part, "load": Load(**part["load"])}) for part in data["parts"]]
        return Results(data["about"], data["engines"], parts, data["missing"])

    def values(self, engine: str, key: str) -> dict[int, float]:
        """A figure by pass."""
        return {part.turn: part.figures[key] for part in self.parts if part.engine == engine and key in part.figures}

    def over_passes(self, engine: str, key: str) -> Range | None:
        values = list(self.values(engine, key).values())
        return Range.over(values) if values else None

    def ratio(self, engine: str, other: str, key: str, other_key: str | None = None) -> Range | None:
        """How one engine's figure stands to another's, from passes that both have: they saw the same machine."""
        ours, theirs = self.values(engine, key), self.values(other, other_key or key)
        ratios = [value / theirs[turn] for turn, value in ours.items() if theirs.get(turn)]
        return Range.over(ratios) if ratios else None

    def peers(self) -> Iterator[str]:
        """Engines for workflows beside Dacapo."""
        return (name for name, engine in self.engines.items() if engine["peer"])

    def best_peer(self, key: str) -> str | None:
        """The peer whose figure is the best one."""
        middles = {name: found.middle for name in self.peers() if (found := self.over_passes(name, key))}
        if not middles:
            return None
        choose = max if BY_KEY[key].more_is_better else min
        return choose(middles, key=lambda name: middles[name])

    def notes(self) -> list[str]:
        """Whatever was not as it should have been, once each."""
        said: dict[str, list[int]] = defaultdict(list)
        for part in self.parts:
            title = self.engines[part.engine]["title"]
            for note in [*part.notes, *([part.failure] if part.failure else [])]:
                said[f"{part.workload}, {title}: {note}"].append(part.turn)
        return list(said)

    def data(self, targets: list[Any]) -> dict[str, Any]:
        """Everything, for programs."""
        figures = {
            name: {key: asdict(found) for key in BY_KEY if (found := self.over_passes(name, key))}
            for name in self.engines
        }
        return {
            "about": self.about,
            "engines": self.engines,
            "missing": self.missing,
            "figures": figures,
            "targets": [asdict(target) for target in targets],
            "parts": [asdict(part) for part in self.parts],
        }

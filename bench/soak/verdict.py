"""What the samples come to: what grew when nobody held a snapshot, and what waited for whom."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, median, quantiles
from typing import Any

from .sample import Cost, Sample, Spread

PHASES = ("before", "during", "after")

# Fewer samples than this say nothing about growth.
SAMPLES_MIN = 8

# Growth from the first to the last quarter that is no more than what figures waver by.
GROWTH_MAX = 1.1

# Vacuum comes once a minute, and to one table after the other: so long after the snapshot its traces are still there.
RECOVERY_SECONDS = 120

# p99 while the snapshot is open against what it was before.
SLOWER_MAX = 1.5

# Relations below this size are not told of.
TOLD_BYTES = 1_000_000

STATEMENTS_TOLD = 12

# Rows of the table by time.
TIMES_TOLD = 60

# Processors of others that make latencies tell of them more than of Dacapo.
OTHERS_MAX = 0.1

MIB = 1024 * 1024


@dataclass(frozen=True)
class Growth:
    """A figure in the first and in the last quarter of some samples."""

    first: float
    last: float

    @property
    def factor(self) -> float:
        return self.last / self.first if self.first else 1.0

    @staticmethod
    def of(values: Sequence[float]) -> "Growth | None":
        if len(values) < SAMPLES_MIN:
            return None
        quarter = len(values) // 4
        return Growth(median(values[:quarter]), median(values[-quarter:]))


@dataclass(frozen=True)
class Plan:
    """When what happens, in seconds from the beginning."""

    length: float
    snapshot_begin: float
    snapshot_end: float

    @staticmethod
    def of(minutes: float, snapshot_minutes: float) -> "Plan":
        """The snapshot is opened after three tenths of the time, and for half of it at most."""
        length = minutes * 60
        begin = length * 0.3
        return Plan(length, begin, begin + min(snapshot_minutes * 60, length / 2))

    def phase(self, at: float) -> str:
        if at < self.snapshot_begin:
            return "before"
        return "during" if at < self.snapshot_end else "after"


class Soak:
    """All that was seen in one sitting."""

    def __init__(self, about: dict[str, Any], plan: Plan) -> None:
        self.about = about
        self.plan = plan
        self.samples: list[Sample] = []
        # What statements had cost at the beginning, at each change of phase, and at the end.
        self.costs: list[dict[str, Cost]] = []

    def of_phase(self, phase: str) -> list[Sample]:
        """Without the first tenth of the time, in which caches and tables fill."""
        return [s for s in self.samples if self.plan.phase(s.at) == phase and s.at > self.plan.length / 10]

    def last_half(self) -> list[Sample]:
        """Of the second half, those that were taken when nobody held a snapshot, and vacuum had come since."""
        left = self.plan.length - self.plan.snapshot_end
        begin = max(self.plan.length / 2, self.plan.snapshot_end + min(RECOVERY_SECONDS, left / 3))
        return [s for s in self.samples if s.at >= begin]

    def growth(self, figure: Callable[[Sample], float]) -> Growth | None:
        return Growth.of([figure(sample) for sample in self.last_half()])

    def relations(self) -> list[str]:
        """Tables and indexes that are worth telling of, the largest first."""
        most: dict[str, int] = {}
        for sample in self.samples:
            for name, size in sample.sizes.items():
                most[name] = max(most.get(name, 0), size)
        return sorted((name for name, size in most.items() if size >= TOLD_BYTES), key=lambda name: -most[name])

    def spreads(self, phase: str, of: Callable[[Sample], Spread | None]) -> list[Spread]:
        """What a figure was in the samples of a phase."""
        return [spread for sample in self.of_phase(phase) if (spread := of(sample))]

    def phase_costs(self) -> dict[str, Mapping[str, Cost]]:
        """What each statement cost in each phase."""
        found: dict[str, Mapping[str, Cost]] = {}
        for phase, first, last in zip(PHASES, self.costs, self.costs[1:], strict=False):
            none = Cost("", 0, 0.0, 0)
            found[phase] = {
                name: Cost(
                    cost.text,
                    cost.calls - first.get(name, none).calls,
                    cost.seconds - first.get(name, none).seconds,
                    cost.blocks - first.get(name, none).blocks,
                )
                for name, cost in last.items()
            }
        return found

    def data(self) -> dict[str, Any]:
        return {
            "about": self.about,
            "plan": asdict(self.plan),
            "samples": [asdict(sample) for sample in self.samples],
            "costs": [{name: asdict(cost) for name, cost in costs.items()} for costs in self.costs],
        }

    @staticmethod
    def of_data(data: dict[str, Any]) -> "Soak":
        """One that `data` has kept."""
        soak = Soak(data["about"], Plan(**data["plan"]))
        for sample in data["samples"]:
            spreads = {of: Spread(**sample[of]) if sample[of] else None for of in ("claim", "whole", "probe")}
            soak.samples.append(Sample(**{**sample, **spreads}))
        soak.costs = [{name: Cost(**cost) for name, cost in costs.items()} for costs in data["costs"]]
        return soak


def verdict(soak: Soak) -> str:
    """All of it in Markdown."""
    parts = [_head(soak), _phases(soak), _times(soak), _sizes(soak), _memory(soak), _statements(soak)]
    return "\n".join(line for part in parts for line in part) + "\n"


def _head(soak: Soak) -> list[str]:
    about, plan = soak.about, soak.plan
    of = about["machine"]
    length = soak.samples[-1].at if soak.samples else 0.0
    loads = [sample.others_cpu for sample in soak.samples] or [0.0]
    stolen = [sample.stolen for sample in soak.samples] or [0.0]
    asked = f"{about['rate']:.0f} runs/s were asked for"
    if about.get("most"):
        asked += f", half of the {about['most']:.0f} that it did at most"
    lines = [
        f"# A soak of {length / 60:.0f} minutes",
        "",
        f"{about['dacapo']}, Postgres {about['postgres']} on {about['fileSystem']}, {about['when']}.",
        f"{of['processor']} with {of['processors']} processors and {of['memoryMiB']} MiB.",
        f"{asked}. Runs are kept for {about['retentionSeconds']:.0f} s once they have ended, and a sweep begins every",
        f"{about['sweepSeconds']:.0f} s at most. From minute {plan.snapshot_begin / 60:.1f} to minute {plan.snapshot_end / 60:.1f}",
        "another session held a snapshot open.",
        "",
        f"Others used {median(loads):.2f} processors meanwhile (at most {max(loads):.2f}); {median(stolen):.2f} were stolen (at most"
        f" {max(stolen):.2f}).",
    ]
    if about.get("ended"):
        lines += ["", f"**It did not come to its end:** {about['ended']}"]
    return lines


def _phases(soak: Soak) -> list[str]:
    """Latencies and rates before, during and after."""

    def middle(of: Callable[[Sample], Spread | None], part: str) -> Callable[[str], float | None]:
        return lambda phase: _or_none(median, [getattr(spread, part) for spread in soak.spreads(phase, of)])

    def quiet(of: Callable[[Sample], Spread | None], part: str) -> Callable[[str], float | None]:
        return lambda phase: _or_none(_quarter, [getattr(spread, part) for spread in soak.spreads(phase, of)])

    def average(of: Callable[[Sample], float]) -> Callable[[str], float | None]:
        return lambda phase: _or_none(mean, [of(sample) for sample in soak.of_phase(phase)])

    spreads: list[tuple[str, Callable[[Sample], Spread | None]]] = [
        ("ready to claimed", lambda s: s.claim),
        ("started to ended", lambda s: s.whole),
        ("a probe, start to known", lambda s: s.probe),
    ]
    rows: list[tuple[str, Callable[[str], float | None], bool]] = []
    is_disturbed = median([sample.others_cpu for sample in soak.samples] or [0.0]) > OTHERS_MAX
    for title, of in spreads:
        for part in ("p99", "p50"):
            rows.append((f"{title}, {part}, ms", middle(of, part), part == "p99"))
            if is_disturbed:
                rows.append((f"{title}, {part} of the better quarter, ms", quiet(of, part), part == "p99"))
    rows += [
        ("runs ended per second", average(lambda s: s.ended), False),
        ("runs deleted per second", average(lambda s: s.swept), False),
        ("runs ready", average(lambda s: s.ready), False),
        ("processors of the worker", average(lambda s: s.worker_cpu), False),
        ("processors of Postgres", average(lambda s: s.postgres_cpu), False),
        ("processors of others", average(lambda s: s.others_cpu), False),
        ("WAL, MiB/s", average(lambda s: s.wal_bytes / MIB), False),
    ]
    lines = [
        "",
        "## While a snapshot is open",
        "",
        "Latencies are the middle of all samples of a phase. The rest are means. The first tenth of the sitting is left out.",
        *(
            ["Those of the better quarter are what a quarter of the samples did not exceed: others were on the machine."]
            if is_disturbed
            else []
        ),
        "",
        "| | before | during | after | during / before |",
        "|---|---|---|---|---|",
    ]
    for title, found, is_judged in rows:
        values = [found(phase) for phase in PHASES]
        ratio = values[1] / values[0] if values[0] and values[1] is not None else None
        slower = " **slower**" if is_judged and ratio and ratio > SLOWER_MAX else ""
        shown = ["-" if value is None else _short(value) for value in values]
        lines.append(f"| {title} | {' | '.join(shown)} | {'-' if ratio is None else f'{ratio:.2f}'}{slower} |")
    return lines


def _times(soak: Soak) -> list[str]:
    """Latencies by minute, or by some of them together in a long sitting."""
    if not soak.samples:
        return []
    together = max(1, -(-int(soak.samples[-1].at) // (60 * TIMES_TOLD)))
    of_each = "each" if together == 1 else f"{together} minutes each"
    lines = [
        "",
        "## By minute",
        "",
        f"The middle of the samples of {of_each}, in ms, and the most runs that were ready.",
        "",
        "| minute | snapshot | ready to claimed, p50 | p99 | started to ended, p99 | most ready |",
        "|---|---|---|---|---|---|",
    ]
    for minute in range(0, int(soak.samples[-1].at // 60) + 1, together):
        found = [s for s in soak.samples if minute <= s.at / 60 < minute + together]
        if not found:
            continue
        figures = [
            _or_none(median, [getattr(spread, part) for sample in found if (spread := of(sample))])
            for of, part in [
                (lambda s: s.claim, "p50"),
                (lambda s: s.claim, "p99"),
                (lambda s: s.whole, "p99"),
            ]
        ]
        shown = ["-" if value is None else _short(value) for value in figures]
        is_open = "open" if any(sample.snapshot for sample in found) else ""
        most = max(sample.ready for sample in found)
        lines.append(f"| {minute + 1} | {is_open} | {' | '.join(shown)} | {most:,} |")
    return lines


def _grown(growth: Growth | None, shown: Callable[[float], str], least: float) -> str:
    """Growth as cells of a table. What is less than `least` is not judged."""
    if growth is None:
        return "- | - | too few samples"
    judged = " **grows**" if growth.factor > GROWTH_MAX and growth.last - growth.first > least else ""
    return f"{shown(growth.first)} | {shown(growth.last)} | {growth.factor:.2f}{judged}"


def _sizes(soak: Soak) -> list[str]:
    lines = [
        "",
        "## Tables and indexes",
        "",
        "The second half, from when vacuum had come after the snapshot: middle of its first and of its last quarter. The most is",
        "of all the time.",
        "",
        "| | most, MiB | first, MiB | last, MiB | last / first |",
        "|---|---|---|---|---|",
    ]

    def mib(size: float) -> str:
        return _short(size / MIB)

    def size_of(name: str) -> Callable[[Sample], float]:
        return lambda sample: sample.sizes.get(name, 0)

    for name in soak.relations():
        most = max(size_of(name)(sample) for sample in soak.samples)
        lines.append(f"| {name} | {mib(most)} | {_grown(soak.growth(size_of(name)), mib, MIB)} |")
    if soak.samples:
        most = max(sum(sample.sizes.values()) for sample in soak.samples)
        lines.append(f"| all | {mib(most)} | {_grown(soak.growth(lambda s: sum(s.sizes.values())), mib, MIB)} |")
    return lines


def _memory(soak: Soak) -> list[str]:
    figures: list[tuple[str, Callable[[Sample], float]]] = [
        ("the worker, resident", lambda s: s.worker_resident),
        ("the worker, its own", lambda s: s.worker_own),
        ("Postgres, its processes' own", lambda s: s.postgres_own),
    ]
    lines = [
        "",
        "## Memory",
        "",
        "The same stretch.",
        "",
        "| | first, MiB | last, MiB | last / first |",
        "|---|---|---|---|",
    ]
    lines += [f"| {title} | {_grown(soak.growth(figure), _short, 1)} |" for title, figure in figures]
    return lines


def _statements(soak: Soak) -> list[str]:
    phases = soak.phase_costs()
    if len(phases) < len(PHASES):
        return []
    during = phases["during"]
    names = sorted(during, key=lambda name: -during[name].seconds)[:STATEMENTS_TOLD]
    lines = [
        "",
        "## Statements",
        "",
        "Those that took most while the snapshot was open: milliseconds of one call, and blocks that it looked at.",
        "",
        "| | calls | ms before | during | after | blocks before | during | after |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        costs = [phases[phase].get(name, Cost("", 0, 0.0, 0)) for phase in PHASES]
        times = [f"{cost.seconds / cost.calls * 1000:.2f}" if cost.calls else "-" for cost in costs]
        blocks = [f"{cost.blocks / cost.calls:.0f}" if cost.calls else "-" for cost in costs]
        text = during[name].text.replace("|", "\\|")
        lines.append(f"| `{text}` | {during[name].calls} | {' | '.join([*times, *blocks])} |")
    return lines


def _or_none(of: Callable[[list[float]], float], values: list[float]) -> float | None:
    return of(values) if values else None


def _quarter(values: list[float]) -> float:
    return quantiles(values, n=4, method="inclusive")[0] if len(values) > 1 else values[0]


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"

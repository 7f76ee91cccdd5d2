"""The plots: sizes, latency, memory and rates over time, with the time of the open snapshot shaded."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .sample import Sample, Spread
from .verdict import MIB, Soak

# Tables and indexes that get a line of their own.
RELATIONS_SHOWN = 8

Line = tuple[str, Callable[[Sample], float | None]]


def plot(soak: Soak, directory: Path) -> list[Path]:
    """Writes them as SVG. The same samples make the same files."""
    if not soak.samples:
        return []
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "dacapo", "font.family": "sans-serif", "font.size": 9}
    )
    return [
        _draw(soak, directory / "sizes.svg", [("MiB", _sizes(soak)), ("dead rows", _dead(soak))]),
        _draw(
            soak,
            directory / "latency.svg",
            [
                ("ready to claimed, ms", _spread(lambda s: s.claim)),
                ("started to ended, ms", _spread(lambda s: s.whole)),
                ("a probe, start to known, ms", _spread(lambda s: s.probe)),
            ],
            scale="log",
        ),
        _draw(
            soak,
            directory / "memory.svg",
            [
                (
                    "MiB",
                    [("worker, resident", lambda s: s.worker_resident), ("worker, its own", lambda s: s.worker_own)],
                ),
                ("MiB", [("Postgres, its processes' own", lambda s: s.postgres_own)]),
            ],
        ),
        _draw(
            soak,
            directory / "rates.svg",
            [
                (
                    "runs per second",
                    [
                        ("started", lambda s: s.started),
                        ("ended", lambda s: s.ended),
                        ("deleted", lambda s: s.swept),
                    ],
                ),
                (
                    "runs",
                    [
                        ("ready", lambda s: s.ready),
                        ("leased", lambda s: s.leased),
                        ("suspended", lambda s: s.suspended),
                    ],
                ),
                ("runs kept", [("in all", lambda s: s.kept)]),
                (
                    "processors",
                    [
                        ("worker", lambda s: s.worker_cpu),
                        ("Postgres", lambda s: s.postgres_cpu),
                        ("others", lambda s: s.others_cpu),
                        ("stolen", lambda s: s.stolen),
                    ],
                ),
                ("WAL, MiB/s", [("WAL", lambda s: s.wal_bytes / MIB)]),
            ],
        ),
    ]


def _sizes(soak: Soak) -> list[Line]:
    def size_of(name: str) -> Callable[[Sample], float | None]:
        return lambda sample: sample.sizes.get(name, 0) / MIB

    names = soak.relations()[:RELATIONS_SHOWN]
    return [("all", lambda sample: sum(sample.sizes.values()) / MIB), *((name, size_of(name)) for name in names)]


def _dead(soak: Soak) -> list[Line]:
    def dead_of(name: str) -> Callable[[Sample], float | None]:
        return lambda sample: sample.dead.get(name, 0)

    most = {name: max(sample.dead.get(name, 0) for sample in soak.samples) for name in soak.samples[0].dead}
    names = sorted((name for name in most if most[name] > 0), key=lambda name: -most[name])[:RELATIONS_SHOWN]
    return [(name, dead_of(name)) for name in names]


def _spread(of: Callable[[Sample], Spread | None]) -> list[Line]:
    def part(name: str) -> Callable[[Sample], float | None]:
        def found(sample: Sample) -> float | None:
            spread = of(sample)
            return getattr(spread, name) if spread else None

        return found

    return [("p50", part("p50")), ("p99", part("p99")), ("most", part("most"))]


def _draw(soak: Soak, file: Path, panels: Sequence[tuple[str, Sequence[Line]]], scale: str = "linear") -> Path:
    from matplotlib import pyplot

    drawing, axes = pyplot.subplots(len(panels), 1, figsize=(9, 2.4 * len(panels)), sharex=True, squeeze=False)
    for axis, (title, lines) in zip(axes.flat, panels, strict=True):
        _panel(axis, soak, title, lines, scale)
    axes.flat[-1].set_xlabel("minutes")
    drawing.tight_layout()
    drawing.savefig(file, format="svg", metadata={"Date": None})
    pyplot.close(drawing)
    return file


def _panel(axis: Any, soak: Soak, title: str, lines: Sequence[Line], scale: str) -> None:
    minutes = [sample.at / 60 for sample in soak.samples]
    shaded = [sample.at / 60 for sample in soak.samples if sample.snapshot]
    if shaded:
        axis.axvspan(shaded[0], shaded[-1], color="#dddddd", label="snapshot open")
    for label, figure in lines:
        values = [figure(sample) for sample in soak.samples]
        axis.plot(minutes, [float("nan") if value is None else value for value in values], label=label, linewidth=1)
    axis.set_yscale(scale)
    if scale == "linear":
        axis.set_ylim(bottom=0)
    axis.set_ylabel(title)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=7, frameon=False)

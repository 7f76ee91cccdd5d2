"""The plot: how each engine's figures stand to Dacapo's, as bars on a logarithmic scale."""

from pathlib import Path

from .figures import FIGURES, Figure
from .report import number
from .results import Results
from .targets import DACAPO, FLOOR

COLUMNS = 3

COLOURS = ["#4c78a8", "#f58518", "#54a24b", "#b279a2", "#9d755d", "#bab0ac", "#e45756"]


def worse_by(results: Results, engine: str, figure: Figure) -> float | None:
    """How many times an engine's figure is worse than Dacapo's; less than 1 where it is better."""
    ratio = results.ratio(engine, DACAPO, figure.key)
    if not ratio or ratio.middle <= 0:
        return None
    return 1 / ratio.middle if figure.more_is_better else ratio.middle


def plot(results: Results, file: Path) -> None:
    """Writes the plot as SVG. The same figures make the same file."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "dacapo", "font.family": "sans-serif", "font.size": 9}
    )
    from matplotlib import pyplot, ticker

    engines = [name for name in results.engines if name not in (DACAPO, FLOOR)]
    panels = [
        (figure, bars)
        for figure in FIGURES
        if figure.plotted and (bars := [(name, by) for name in engines if (by := worse_by(results, name, figure))])
    ]
    if not panels:
        return
    lines = -(-len(panels) // COLUMNS)
    drawing, axes = pyplot.subplots(lines, COLUMNS, figsize=(4.2 * COLUMNS, 1.9 * lines), squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    for axis, (figure, bars) in zip(axes.flat, panels, strict=False):
        names = [results.engines[name]["title"] for name, _ in bars]
        values = [value for _, value in bars]
        colours = [COLOURS[engines.index(name) % len(COLOURS)] for name, _ in bars]
        # Bars begin at 1, which is Dacapo: to the right is worse than that.
        axis.barh(names, [value - 1 for value in values], left=1, color=colours)
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.xaxis.set_minor_formatter(ticker.NullFormatter())
        axis.axvline(1, color="black", linewidth=0.8)
        axis.set_xlim(min(0.5, *values) / 1.6, max(2.0, *values) * 4)
        axis.invert_yaxis()
        axis.set_title(f"{figure.workload}: {figure.title}", fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
        for place, value in enumerate(values):
            text = f"{number(value)} x"
            axis.text(max(value, 1) * 1.1, place, text, va="center", fontsize=8)
    drawing.suptitle("Times worse than Dacapo (logarithmic; left of the line: better)", fontsize=11)
    drawing.tight_layout()
    drawing.savefig(file, format="svg", metadata={"Date": None})
    pyplot.close(drawing)

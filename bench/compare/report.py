"""The report, as text that is a table on a terminal and in Markdown."""

from collections.abc import Iterator
from typing import Any

from .figures import FIGURES, WORKLOADS, Figure
from .results import Range, Results
from .targets import DACAPO, Target


def number(value: float) -> str:
    """A number with about three digits that matter."""
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size == 0 or (value == int(value) and size >= 1):
        return f"{value:.0f}"
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:.{digits}f}"


def table(rows: list[list[str]]) -> list[str]:
    """Rows, the first one being the header, in columns of the same width. All but the first column stand to the right."""
    widths = [max(2, *(len(row[column]) for row in rows)) for column in range(len(rows[0]))]

    def line(row: list[str]) -> str:
        cells = [
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rule = "|".join("-" * (width + 1) + ":" if column else "-" * (width + 2) for column, width in enumerate(widths))
    return [line(rows[0]), f"|{rule}|", *(line(row) for row in rows[1:])]


def report(results: Results, targets: list[Target]) -> str:
    """All of it."""
    parts = [_workloads(results), _settings(results), _load(results), _notes(results)]
    lines = [*_about(results), *_targets(targets), *(line for part in parts for line in part)]
    return "\n".join(lines) + "\n"


def _about(results: Results) -> Iterator[str]:
    about = results.about
    machine = about["machine"]
    yield "# Side by side"
    yield ""
    yield (
        f"{about['when']}, {'quick' if about['quick'] else 'full'} run of {about['seconds'] / 60:.0f} minutes. "
        f"{machine['processors']} processors ({machine['processor']}), {machine['memoryMiB'] / 1024:.0f} GiB, {machine['system']}. "
        f"Postgres {about['postgres']}, fsync on, data on {about['fileSystem']}. {about['dacapo']}{_commit(about)}."
    )
    if about.get("stopped"):
        yield "**It was stopped before its end.**"
    if about["priority"]:
        yield "**Everything that was measured ran at real-time priority** (round robin), before other programs of the machine."
    yield ""
    yield "Middle of all passes; where there were several, the range is below it. A ratio is of figures of the same pass."
    yield ""


def _commit(about: dict[str, Any]) -> str:
    return f", and the bench at {about['commit']}" if about.get("commit") else ""


def _targets(targets: list[Target]) -> Iterator[str]:
    yield "## Targets"
    yield ""
    rows = [["what", "target", "reached", "met", "note"]]
    for target in targets:
        reached = "not measured" if target.reached is None else number(target.reached)
        met = {True: "yes", False: "MISSED", None: ""}[target.met]
        rows.append([target.what, target.wanted, reached, met, target.note])
    yield from table(rows)
    yield ""


def _workloads(results: Results) -> Iterator[str]:
    for workload, title in WORKLOADS.items():
        figures = [figure for figure in FIGURES if figure.workload == workload]
        engines = [name for name in results.engines if any(results.over_passes(name, f.key) for f in figures)]
        if not engines:
            continue
        yield f"## {title[0].upper()}{title[1:]}"
        yield ""
        rows = [["", *(results.engines[name]["title"] for name in engines)]]
        for figure in figures:
            found = [results.over_passes(name, figure.key) for name in engines]
            if not any(found):
                continue
            unit = f", {figure.unit}" if figure.unit else ""
            rows.append([figure.title + unit, *(number(one.middle) if one else "" for one in found)])
            if any(one and one.passes > 1 for one in found):
                rows.append(["", *(_range(one) for one in found)])
            if figure.plotted and any(found):
                rows.append(["against Dacapo", *(_ratio(results, name, figure) for name in engines)])
        yield from table(rows)
        yield ""


def _range(found: Range | None) -> str:
    return f"{number(found.least)} to {number(found.most)}" if found and found.passes > 1 else ""


def _ratio(results: Results, engine: str, figure: Figure) -> str:
    ratio = results.ratio(engine, DACAPO, figure.key)
    return f"{number(ratio.middle)} x" if ratio and engine != DACAPO else ""


def _settings(results: Results) -> Iterator[str]:
    yield "## Settings"
    yield ""
    server = results.about.get("server", {})
    if server:
        yield f"The server: {_named(server)}; all else as it comes."
        yield ""
    rows = [["", "from the registry", "settings", "and for some workloads"]]
    for engine in results.engines.values():
        for_some = "; ".join(f"{workload}: {_named(its)}" for workload, its in engine["settingsFor"].items())
        rows.append([engine["title"], ", ".join(engine["packages"]), _named(engine["settings"]), for_some])
    yield from table(rows)
    yield ""


def _named(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in settings.items() if value != "")


def _load(results: Results) -> Iterator[str]:
    yield "## Load by others"
    yield ""
    yield (
        "Processors that were busy with what is no part of the bench, or were stolen, while each engine was measured: "
        "the middle of its parts, and the most."
    )
    yield ""
    rows = [["", "others", "at most", "stolen at most", "load average at most"]]
    for name, engine in results.engines.items():
        loads = [part.load for part in results.parts if part.engine == name]
        if not loads:
            continue
        others = Range.over([load.others for load in loads])
        stolen = max(load.stolen for load in loads)
        average = max(load.average for load in loads)
        rows.append([engine["title"], *(f"{value:.2f}" for value in [others.middle, others.most, stolen, average])])
    yield from table(rows)
    yield ""
    yield "The same by part: processors that were busy with others, at most in all passes."
    yield ""
    rows = [["", *(engine["title"] for engine in results.engines.values())]]
    for workload in WORKLOADS:
        by_engine = [
            [part.load.others for part in results.parts if (part.workload, part.engine) == (workload, name)]
            for name in results.engines
        ]
        if any(by_engine):
            rows.append([workload, *(f"{max(others):.2f}" if others else "" for others in by_engine)])
    yield from table(rows)
    yield ""


def _notes(results: Results) -> Iterator[str]:
    notes = results.notes()
    if results.missing or notes:
        yield "## Notes"
        yield ""
    for name, why in results.missing.items():
        yield f"- **{name} is missing**: {why}"
    for note in notes:
        yield f"- {note}"

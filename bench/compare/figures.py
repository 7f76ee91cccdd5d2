"""What is measured: each figure's name, unit and direction."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One line of the report."""

    key: str
    title: str
    unit: str
    # Whether a larger value is a better one; none where it is neither.
    more_is_better: bool | None = False
    # Whether the plot shows it.
    plotted: bool = False

    @property
    def workload(self) -> str:
        return self.key.split(".")[0]


WORKLOADS = {
    "drain": "3-step runs from a backlog",
    "once": "3-step runs, one at a time",
    "event": "an event to a run that waits for it",
    "steps": "one run of many steps",
    "waiting": "very many waiting runs",
    "start": "starting runs while nobody plays them",
    "idle": "nothing to do",
    "million": "a million waiting runs",
    "flight": "many runs in flight",
}

FIGURES = [
    Figure("drain.runs", "runs", "/s", more_is_better=True, plotted=True),
    Figure("drain.cpu", "engine and Postgres, 1,000 runs", "CPU s", plotted=True),
    Figure("drain.engine_cpu", "of that, engine", "CPU s"),
    Figure("drain.postgres_cpu", "of that, Postgres", "CPU s"),
    Figure("drain.statements", "statements of a run", "", plotted=True),
    Figure("drain.wal", "WAL of a run", "B", plotted=True),
    Figure("drain.tables", "tables and indexes, by a run", "B", plotted=True),
    Figure("drain.memory", "memory of the engine at the end", "MiB"),
    Figure("once.p50", "start to completed, p50", "ms", plotted=True),
    Figure("once.p95", "start to completed, p95", "ms"),
    Figure("event.p50", "event to completed, p50", "ms", plotted=True),
    Figure("event.p95", "event to completed, p95", "ms"),
    Figure("steps.of_100", "a step in a run of 100", "us"),
    Figure("steps.of_1000", "a step in a run of 1,000", "us", plotted=True),
    Figure("steps.of_10000", "a step in a run of 10,000", "us", plotted=True),
    Figure("steps.reached", "steps of the longest run that ended or was stopped", "", more_is_better=None),
    Figure("steps.late", "its last 200 steps over its first 200", "x"),
    Figure("waiting.runs", "runs that waited", "", more_is_better=None),
    Figure("waiting.played", "runs started and played until they wait", "/s", more_is_better=True),
    Figure("waiting.cpu", "idle worker with them", "% of a core"),
    Figure("waiting.postgres_cpu", "Postgres meanwhile", "% of a core"),
    Figure("waiting.statements", "statements meanwhile", "/s"),
    Figure("waiting.memory", "memory of the worker with them", "MiB"),
    Figure("waiting.sent", "of them that got their event", "", more_is_better=None),
    Figure("waiting.woken", "events to completed runs", "/s", more_is_better=True, plotted=True),
    Figure("start.bulk", "starts, the fastest way", "/s", more_is_better=True, plotted=True),
    Figure("start.each", "starts, each on its own, 64 at a time", "/s", more_is_better=True),
    Figure("start.wal", "WAL of a start, the fastest way", "B"),
    Figure("idle.cpu", "idle worker", "% of a core"),
    Figure("idle.postgres_cpu", "Postgres meanwhile", "% of a core"),
    Figure("idle.statements", "statements meanwhile", "/s"),
    Figure("idle.memory", "memory of the worker", "MiB"),
    Figure("million.runs", "runs that waited", "", more_is_better=None),
    Figure("million.played", "runs played until they wait", "/s", more_is_better=True),
    Figure("million.tables", "tables and indexes, by a run", "B"),
    Figure("million.cpu", "idle worker with them", "% of a core"),
    Figure("million.postgres_cpu", "Postgres meanwhile", "% of a core"),
    Figure("million.statements", "statements meanwhile", "/s"),
    Figure("million.memory", "memory of the worker with them", "MiB"),
    Figure("million.sent", "of them that got their event", "", more_is_better=None),
    Figure("million.woken", "events to completed runs", "/s", more_is_better=True),
    *(
        figure
        for runs in ("64", "1,024")
        for key in [runs.replace(",", "")]
        for figure in [
            Figure(f"flight.steps_{key}", f"durable steps, {runs} runs at once", "/s", more_is_better=True),
            Figure(f"flight.loop_{key}", f"a loop by hand, {runs} at once", "/s", more_is_better=True),
            Figure(f"flight.ratio_{key}", f"the one over the other, {runs} at once", "x", more_is_better=True),
        ]
    ),
]

BY_KEY = {figure.key: figure for figure in FIGURES}

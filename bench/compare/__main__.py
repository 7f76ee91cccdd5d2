"""`bench/run`: measures Dacapo and its peers side by side, and writes a report."""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import catalogue, machine
from .engines import Engine
from .figures import WORKLOADS
from .floor import floor
from .install import Peers
from .postgres import SETTINGS, Postgres, PostgresError
from .report import report
from .results import Results
from .session import Session
from .targets import targets
from .workloads import FULL, QUICK

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def main() -> int:
    arguments = parse(sys.argv[1:])
    if arguments.report:
        write(Results.of_data(json.loads(arguments.report.read_text())), arguments.to)
        return 0
    # So that everything is stopped by the same way out.
    for stop in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(stop, lambda number, _: sys.exit(128 + number))
    if arguments.priority:
        # All that is started from here on inherits it.
        try:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        except PermissionError:
            sys.exit("error: only root may give programs real-time priority")
    begin = time.monotonic()
    scale = QUICK if arguments.quick else FULL
    with tempfile.TemporaryDirectory() as cache, Postgres(arguments.data) as postgres:
        dacapo = catalogue.dacapo(arguments.dacapo, arguments.client, arguments.component, Path(cache))
        known = [
            *catalogue.engines(Peers(arguments.peers), postgres.programs, dacapo),
            floor(postgres.programs),
        ]
        chosen = choose(known, arguments.engines)
        change(chosen, arguments.set)
        results = Results(
            about={
                "when": datetime.now(UTC).strftime("%Y-%m-%d"),
                "quick": arguments.quick,
                "priority": arguments.priority,
                "stopped": False,
                "machine": machine.description(),
                "postgres": postgres.version(),
                "fileSystem": machine.file_system(postgres.directory),
                "server": dict(SETTINGS),
                "dacapo": dacapo.version() if arguments.dacapo.exists() else "missing",
                "commit": commit(),
            },
            engines={
                engine.name: {
                    "title": engine.title,
                    "peer": engine.is_peer,
                    "packages": engine.packages.names,
                    "settings": dict(engine.settings),
                    "settingsFor": {name: dict(of) for name, of in engine.settings_for.items()},
                }
                for engine in chosen
            },
        )
        session = Session(postgres, chosen, scale, results)
        session.set_up()
        try:
            session.measure(arguments.only or list(WORKLOADS))
        except KeyboardInterrupt:
            # What was measured by then is worth telling.
            results.about["stopped"] = True
    results.about["seconds"] = time.monotonic() - begin
    write(results, arguments.to)
    return 130 if results.about["stopped"] else 0


def write(results: Results, to: Path) -> None:
    """Prints the report, and writes it with its data and its plot. The data come first, since a report can be made of them again."""
    to.mkdir(parents=True, exist_ok=True)
    found = targets(results)
    (to / "report.json").write_text(json.dumps(results.data(found), indent=1) + "\n")
    text = report(results, found)
    print(text)
    (to / "report.md").write_text(text)
    from .plot import plot

    plot(results, to / "report.svg")
    print(f"written to {to}", file=sys.stderr)


def commit() -> str | None:
    """The commit that this is, if it is in a repository; `+` where something is not committed."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        told = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    except OSError:
        return None
    return told.stdout.strip() or None


def choose(known: Sequence[Engine], names: list[str] | None) -> list[Engine]:
    """The engines of these names, in their own order."""
    unknown = set(names or []) - {engine.name for engine in known}
    if unknown:
        there = ", ".join(engine.name for engine in known)
        sys.exit(f"error: no engine is called {', '.join(sorted(unknown))}; there are {there}")
    return [engine for engine in known if not names or engine.name in names]


def change(engines: Sequence[Engine], settings: list[tuple[str, str, Any]]) -> None:
    """Changes settings of engines, for all workloads."""
    for name, setting, value in settings:
        for engine in engines:
            if engine.name != name:
                continue
            engine.settings = {**engine.settings, setting: value}
            engine.settings_for = {
                of: {k: v for k, v in its.items() if k != setting} for of, its in engine.settings_for.items()
            }


def parse(words: Sequence[str]) -> argparse.Namespace:
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")).absolute()
    parser = argparse.ArgumentParser(
        prog="bench/run", description="Dacapo and its peers side by side, on one private Postgres."
    )
    parser.add_argument("--quick", action="store_true", help="one short pass of everything, in about six minutes")
    parser.add_argument("--only", type=workload_names, metavar="WORKLOAD,…", help=f"some of: {', '.join(WORKLOADS)}")
    parser.add_argument("--engines", type=lambda text: text.split(","), metavar="ENGINE,…", help="some of the engines")
    parser.add_argument(
        "--set",
        type=setting,
        action="append",
        default=[],
        metavar="ENGINE.SETTING=VALUE",
        help="change a setting for all workloads, such as absurd.concurrency=128 or absurd.processes=2; may be repeated",
    )
    parser.add_argument(
        "--dacapo", type=Path, default=target / "release/dacapo", help="the command [default: %(default)s]"
    )
    parser.add_argument(
        "--client", type=Path, default=target / "release/dacapo-bench-client", help="the client [default: %(default)s]"
    )
    parser.add_argument(
        "--component", type=Path, default=REPOSITORY / "host/cli/assets/bench.wasm", help=argparse.SUPPRESS
    )
    parser.add_argument(
        "--priority",
        action="store_true",
        help="give everything that is measured real-time priority, on a machine that others use (root only)",
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="measure nothing, but report what a report.json has kept"
    )
    parser.add_argument(
        "--peers", type=Path, default=target / "peers", help="where peers are installed [default: %(default)s]"
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(tempfile.gettempdir()),
        help="where the server's data go [default: %(default)s]",
    )
    parser.add_argument(
        "--to", type=Path, default=target / "compare", help="where the report goes [default: %(default)s]"
    )
    return parser.parse_args(words)


def workload_names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in WORKLOADS]:
        raise argparse.ArgumentTypeError(
            f"no workload is called {', '.join(unknown)}; there are {', '.join(WORKLOADS)}"
        )
    return names


def setting(text: str) -> tuple[str, str, Any]:
    try:
        name, value = text.split("=", 1)
        engine, of_it = name.split(".", 1)
        return engine, of_it, json.loads(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected ENGINE.SETTING=VALUE with a value in JSON, got {text}") from None


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PostgresError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)

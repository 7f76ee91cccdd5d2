"""The floor: single rows, each committed, by pgbench over a prepared statement."""

import os
import resource
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .engines import Engine, Looks
from .measure import percentile
from .processes import EngineError
from .workloads import Part

TABLE = """
create table commit_floor (
    id bigint generated always as identity primary key,
    name text not null,
    payload text not null,
    at timestamptz not null default clock_timestamp()
)
"""

COMMIT = "insert into commit_floor (name, payload) values ('one#1', 'null');\n"

CONNECTIONS = 16

# pgbench counts from its first transaction on; shorter is all noise.
SECONDS_MIN = 2


@dataclass
class Floor(Engine):
    """Not an engine, but what every engine stands on: a commit for each thing that happens."""

    postgres_programs: Path = Path()

    def set_up(self, url: str) -> None:
        self._run("psql", "-q", "-d", url, "-c", TABLE)

    def _run(self, program: str, *arguments: str, directory: str | None = None) -> str:
        done = subprocess.run(
            [str(self.postgres_programs / program), *arguments],
            cwd=directory,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode != 0:
            raise EngineError(f"{program} failed: {done.stderr.strip()}")
        return done.stdout

    def commit(self, url: str, connections: int, seconds: float) -> list[float]:
        """Commits single rows for a while, and answers how long each commit took, in seconds."""
        with tempfile.TemporaryDirectory() as directory:
            script = Path(directory, "commit.sql")
            script.write_text(COMMIT)
            arguments = [
                "-n",
                "-M",
                "prepared",
                "-c",
                str(connections),
                "-j",
                "1",
                "-T",
                str(max(SECONDS_MIN, round(seconds))),
            ]
            self._run("pgbench", *arguments, "-l", "-f", str(script), url, directory=directory)
            # Each line: client, transaction, microseconds, …
            lines = (
                line.split() for log in Path(directory).glob("pgbench_log.*") for line in log.read_text().splitlines()
            )
            return [int(line[2]) / 1e6 for line in lines]


def drain(part: Part, floor: Floor) -> None:
    """As many commits as the server takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    bytes_before = part.observer.table_bytes()
    first = part.read()
    commits = len(floor.commit(part.url, CONNECTIONS, part.scale.drain_seconds))
    stretch = part.since(first)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    part.add(
        runs=commits / max(SECONDS_MIN, round(part.scale.drain_seconds)),
        cpu=(own + stretch.postgres_seconds) / commits * 1000,
        engine_cpu=own / commits * 1000,
        postgres_cpu=stretch.postgres_seconds / commits * 1000,
        wal=stretch.wal_bytes / commits,
        tables=(part.observer.table_bytes() - bytes_before) / commits,
        statements=1,
    )


def one_by_one(part: Part, floor: Floor) -> None:
    """One commit at a time."""
    first = part.read()
    seconds = floor.commit(part.url, 1, part.scale.drain_seconds)
    part.since(first)
    part.add(p50=percentile(seconds, 0.5) * 1000, p95=percentile(seconds, 0.95) * 1000)


def floor(postgres_programs: Path) -> Floor:
    """The floor as one of the engines."""
    os.environ.pop("PGOPTIONS", None)
    return Floor(
        name="commits",
        title="single-row commits",
        workloads=("drain", "once", "event"),
        looks=Looks(ended=""),
        postgres_programs=postgres_programs,
    )

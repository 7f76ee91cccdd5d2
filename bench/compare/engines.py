"""The engines: how each is installed, set up, started and looked at, with the settings that suit it best (see README.md)."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .install import Packages, Peers
from .processes import EngineError, Program

SETUP_SECONDS = 120

WORKFLOW_ENGINE = ("drain", "once", "event", "steps", "waiting", "start", "idle")
# What is measured of Dacapo alone.
OURS = (*WORKFLOW_ENGINE, "million", "flight")
PLAIN_QUEUE = ("drain", "once", "start", "idle")

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Looks:
    """How a run is seen from outside, in SQL: nothing of this is counted as the engine's."""

    # Runs that have ended well, as a count; `%(started)s` is how many there were.
    ended: str
    # Runs that wait for their event, as a count.
    waiting: str = ""
    # Steps that are recorded, as a count.
    steps: str = ""


@dataclass
class Engine:
    """An engine that is measured."""

    name: str
    title: str
    looks: Looks
    workloads: Sequence[str] = WORKFLOW_ENGINE
    packages: Packages = field(default_factory=Packages)
    # Settings for all workloads, and what differs for some. `processes` is how many play runs, and the bench's own.
    settings: Settings = field(default_factory=dict)
    settings_for: Mapping[str, Settings] = field(default_factory=dict)
    # Whether its workers play runs from the moment when they are started, and are told nothing.
    begins_at_once: bool = False
    # About how many runs are drained in a second, to begin with; measured from then on.
    runs_per_second: float = 200

    @property
    def is_peer(self) -> bool:
        """Whether it is an engine for workflows that Dacapo is compared with."""
        return self.name != "dacapo" and "steps" in self.workloads

    def settings_of(self, workload: str) -> dict[str, Any]:
        """What its programs are told."""
        return {name: value for name, value in self._settings_of(workload).items() if name != "processes"}

    def processes_of(self, workload: str) -> int:
        return int(self._settings_of(workload).get("processes", 1))

    def _settings_of(self, workload: str) -> dict[str, Any]:
        return {**self.settings, **self.settings_for.get(workload, {})}

    def is_embedded(self, workload: str) -> bool:
        """Whether the program that starts runs plays them, too."""
        # Who plays a run of many steps notes when each of them begins.
        return workload == "steps" or bool(self.settings_of(workload).get("embedded"))

    def install(self) -> None:
        """Brings what it needs to this machine."""

    def set_up(self, url: str) -> None:
        """Makes its tables in an empty database."""
        raise NotImplementedError

    def client(self, url: str, workload: str) -> Program:
        """Starts the program that starts runs and sends events."""
        raise NotImplementedError

    def worker(self, url: str, workload: str) -> Program:
        """Starts a process that will play runs."""
        raise NotImplementedError

    def work(self, worker: Program) -> None:
        """Lets that process begin."""
        worker.ask("work")


@dataclass
class Peer(Engine):
    """An engine that a small program in its own language drives."""

    program: str = ""
    peers: Peers = field(default_factory=lambda: Peers(Path()))

    def install(self) -> None:
        self.peers.install(self.name, self.packages)

    def _start(self, role: str, url: str, settings: Settings) -> Program:
        directory = self.peers.of(self.name)
        runs_on = self.peers.node if self.program.endswith(".mjs") else self.peers.python(self.name)
        env = {"DATABASE_URL": url, "BENCH_SETTINGS": json.dumps(settings), "NODE_ENV": "production"}
        return Program(f"{self.title} ({role})", [runs_on, str(directory / self.program), role], env, directory)

    def set_up(self, url: str) -> None:
        with self._start("setup", url, self.settings) as program:
            program.wait(SETUP_SECONDS)

    def client(self, url: str, workload: str) -> Program:
        program = self._start("client", url, self.settings_of(workload))
        program.until_ready()
        return program

    def worker(self, url: str, workload: str) -> Program:
        program = self._start("worker", url, self.settings_of(workload))
        program.until_ready()
        return program


@dataclass
class Absurd(Peer):
    """Absurd, whose tables are made by a command of its own, which brings them along."""

    postgres_programs: Path = Path()

    def set_up(self, url: str) -> None:
        command = str(self.peers.of(self.name) / "venv/bin/absurdctl")
        path = f"{self.postgres_programs}:{os.environ.get('PATH', '')}"
        for arguments in [["init"], ["create-queue", "bench"]]:
            env = {"ABSURD_DATABASE_URL": url, "PATH": path}
            with Program(f"{self.title} (setup)", [command, *arguments], env) as program:
                program.wait(SETUP_SECONDS)


@dataclass
class Dacapo(Engine):
    """Dacapo, by its released command and its Rust client."""

    command: Path = Path()
    client_program: Path = Path()
    component: Path = Path()
    cache: Path = Path()

    def install(self) -> None:
        for file in [self.command, self.client_program, self.component]:
            if not file.exists():
                raise EngineError(f"{file} is not there; `./x compare` builds it")

    def _env(self, url: str) -> dict[str, str]:
        return {"DATABASE_URL": url, "DACAPO_LOG": "warn", "DACAPO_CACHE_DIR": str(self.cache)}

    def set_up(self, url: str) -> None:
        for arguments in [["migrate"], ["deploy", str(self.component)]]:
            with Program("dacapo (setup)", [str(self.command), *arguments], self._env(url)) as program:
                program.wait(SETUP_SECONDS)

    def client(self, url: str, workload: str) -> Program:
        program = Program("dacapo (client)", [str(self.client_program)], self._env(url))
        program.until_ready()
        return program

    def worker(self, url: str, workload: str) -> Program:
        options = [f"--{name}={value}" for name, value in self.settings_of(workload).items()]
        return Program("dacapo (worker)", [str(self.command), "worker", "--no-migrate", *options], self._env(url))

    def is_embedded(self, workload: str) -> bool:
        return False

    def work(self, worker: Program) -> None:
        """It began as soon as it was there."""

    def bench(self, url: str, row: str, seconds: float) -> dict[str, Any]:
        """What `dacapo bench` measures by itself, on the same server."""
        command = [str(self.command), "bench", "--only", row, "--output", "json"]
        with (
            tempfile.TemporaryFile() as output,
            Program("dacapo bench", command, self._env(url), output=output) as program,
        ):
            program.wait(seconds)
            output.seek(0)
            found: dict[str, Any] = json.load(output)
            return found

    def version(self) -> str:
        told = subprocess.run([self.command, "--version"], capture_output=True, text=True)
        return told.stdout.strip()

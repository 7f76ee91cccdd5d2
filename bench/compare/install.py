"""Peers from their package registries, each in a directory of its own: one that cannot be had does not keep the others away."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

NODE = "node@24.21.0"
DRIVER = "pg@8.23.1"

PROGRAMS = Path(__file__).parent.parent / "peers"

LINES_OF_A_FAILURE = 15


class InstallError(Exception):
    """A peer could not be installed. Says what the package manager said last."""


@dataclass(frozen=True)
class Packages:
    """What one peer needs of the registries."""

    npm: Sequence[str] = ()
    pip: Sequence[str] = ()

    @property
    def names(self) -> list[str]:
        """With versions, and without what is ours."""
        return [name for name in [*self.npm, *self.pip] if name != DRIVER]


class Peers:
    """Where peers are installed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def node(self) -> str:
        """The program that runs peers for Node: one version for all, newer than what distributions have."""
        own = self.directory / "nodejs/node_modules/node/bin/node"
        return str(own) if own.exists() else "node"

    def of(self, name: str) -> Path:
        return self.directory / name

    def python(self, name: str) -> str:
        return str(self.of(name) / "venv/bin/python")

    def install(self, name: str, packages: Packages) -> None:
        """Brings a peer and the programs that drive it to its directory, if they are not there already."""
        if packages.npm:
            self._install("nodejs", Packages(npm=[NODE]))
        self._install(name, packages)
        for program in PROGRAMS.iterdir():
            if program.is_file():
                shutil.copy(program, self.of(name))

    def _install(self, name: str, packages: Packages) -> None:
        directory = self.of(name)
        stamp = directory / "installed"
        wanted = " ".join([*packages.npm, *packages.pip])
        if stamp.exists() and stamp.read_text() == wanted:
            return
        print(f"installing {wanted}", file=sys.stderr, flush=True)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        if packages.npm:
            (directory / "package.json").write_text('{ "private": true }\n')
            # The node that is there may be older than what the packages ask for; they do not run on it.
            _run(directory, "npm", "install", "--no-audit", "--no-fund", "--no-package-lock", *packages.npm)
        if packages.pip:
            _run(directory, sys.executable, "-m", "venv", "venv")
            _run(directory, "venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", *packages.pip)
        stamp.write_text(wanted)


def _run(directory: Path, *command: str) -> None:
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise InstallError(f"cannot run {command[0]}: {error}") from error
    if done.returncode != 0:
        last = (done.stdout + done.stderr).strip().splitlines()[-LINES_OF_A_FAILURE:]
        raise InstallError("\n    ".join([f"{' '.join(command)} failed", *last]))

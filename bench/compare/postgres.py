"""The one server: private, on a Unix socket, with fsync on, from the machine's own programs."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg

from . import machine

READY_SECONDS = 60

# What engines connect as. Statements are counted by it, so that those of the bench are not.
ROLE = "engine"

SETTINGS = {
    "listen_addresses": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "max_connections": "400",
    "shared_buffers": "512MB",
    # No checkpoint falls into a part of a run by chance: each part begins with one.
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
    "logging_collector": "off",
    "cluster_name": "compare",
}

STATEMENTS = {
    "shared_preload_libraries": "pg_stat_statements",
    # Statements inside of functions are part of the statement that calls them.
    "pg_stat_statements.track": "top",
    "pg_stat_statements.max": "20000",
}


class PostgresError(Exception):
    """There is no server to measure on."""


class Postgres:
    """A running server. Used in a `with`, it is stopped at the end and its data are removed."""

    def __init__(self, parent: Path, settings: Mapping[str, str] = SETTINGS) -> None:
        self.programs = find_programs()
        self._settings = settings
        self._user = server_user()
        self.directory = Path(tempfile.mkdtemp(prefix="dacapo-compare-", dir=parent))
        self.data = self.directory / "data"
        if self._user:
            os.chown(self.directory, self._user.pw_uid, self._user.pw_gid)
        # Engines come in as another user than the server's.
        self.directory.chmod(0o711)
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> "Postgres":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self) -> None:
        self._run("initdb", "-A", "trust", "-U", "postgres", "--locale=C", "--encoding=UTF8", "-D", str(self.data))
        settings = dict(self._settings, unix_socket_directories=str(self.directory))
        self.counts_statements = any(self.programs.parent.glob("lib*/**/pg_stat_statements.so"))
        if self.counts_statements:
            settings |= STATEMENTS
        log = (self.directory / "postgres.log").open("wb")
        argv = [str(self.programs / "postgres"), "-D", str(self.data)]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=lambda: machine.die_with_parent(signal.SIGINT),
            **self._as_server(),
        )
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                # What is there is in every database that is made later.
                with self.connect("template1") as connection:
                    connection.execute(f"create role {ROLE} superuser login".encode())
                    if self.counts_statements:
                        connection.execute("create extension pg_stat_statements")
                return
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log_text = (self.directory / "postgres.log").read_text(errors="replace")
                    raise PostgresError(f"postgres did not start: {error}\n{log_text[-2000:]}") from error
                time.sleep(0.05)

    def _as_server(self) -> dict[str, Any]:
        env = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        found: dict[str, Any] = {"env": {**env, "LC_ALL": "C"}, "cwd": self.directory}
        if self._user:
            found |= {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        return found

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self.programs / program), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            **self._as_server(),
        )
        if done.returncode != 0:
            raise PostgresError(f"{program} failed: {done.stderr.strip()}")

    def connect(self, database: str) -> psycopg.Connection:
        """A connection of the bench's own, whose statements are not counted."""
        return psycopg.connect(host=str(self.directory), user="postgres", dbname=database, autocommit=True)

    def url(self, database: str) -> str:
        """Where engines find a database, in the form that all of them understand."""
        return f"postgres://{ROLE}@localhost/{database}?host={self.directory}"

    def version(self) -> str:
        with self.connect("postgres") as connection:
            row = connection.execute("show server_version").fetchone()
        return row[0].split()[0] if row else "unknown"

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def seconds(self) -> float:
        """Processor time of all processes of the server, also of those that have ended."""
        assert self._process
        postmaster = self._process.pid
        total = 0.0
        for process in machine.processes():
            if process.pid == postmaster:
                total += process.own + process.of_ended_children
            elif process.parent == postmaster:
                total += process.own
        return total

    def stop(self) -> None:
        """Stops the server and removes its data."""
        process = self._process
        if process and process.poll() is None:
            # Nobody needs its data again.
            process.send_signal(signal.SIGQUIT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def find_programs() -> Path:
    """The directory of the newest server that is installed, 14 or later."""
    candidates = [Path(found) for found in [shutil.which("postgres")] if found]
    if pg_config := shutil.which("pg_config"):
        told = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True)
        candidates.append(Path(told.stdout.strip()) / "postgres")
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), reverse=True)
    for candidate in candidates:
        # initdb looks for its templates beside the real program.
        directory = candidate.resolve().parent
        if candidate.exists() and (directory / "initdb").exists() and (directory / "pgbench").exists():
            return directory
    raise PostgresError("no Postgres server with initdb and pgbench is installed; install it and try again")


def server_user() -> pwd.struct_passwd | None:
    """Whom the server runs as, where it cannot be this user: Postgres refuses root."""
    if os.geteuid() != 0:
        return None
    for name in ["postgres", "nobody"]:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresError("Postgres does not run as root, and there is no user `postgres` to run it as")

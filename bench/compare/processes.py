"""Programs under measurement: each in a session of its own, spoken to line by line, and gone when the bench is."""

import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from . import machine

MARK = "@bench "

LINES_KEPT = 30


class EngineError(Exception):
    """A program under measurement did not do what it was told. Says what it said last."""


class Program:
    """A process with everything that it starts. Used in a `with`, it is killed at the end."""

    def __init__(
        self,
        title: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        directory: Path | None = None,
        output: IO[bytes] | None = None,
    ) -> None:
        """With `output`, what it prints goes there, and only its complaints are listened to."""
        self.title = title
        self._said: deque[str] = deque(maxlen=LINES_KEPT)
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._process = subprocess.Popen(
            argv,
            env={**os.environ, **env},
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=output or subprocess.PIPE,
            stderr=subprocess.PIPE if output else subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=lambda: machine.die_with_parent(signal.SIGKILL),
        )
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _read(self) -> None:
        heard = self._process.stdout or self._process.stderr
        assert heard
        for line in heard:
            if line.startswith(MARK):
                self._answers.put(json.loads(line.removeprefix(MARK)))
            else:
                self._said.append(line.rstrip())
        self._answers.put(None)

    @property
    def pid(self) -> int:
        return self._process.pid

    def until_ready(self, seconds: float = 60) -> None:
        """Waits until it says that it is ready for commands."""
        self._answer("get ready", seconds)

    def ask(self, what: str, patience: float = 120, /, **arguments: Any) -> dict[str, Any]:
        """Tells it to do something, and waits until that is done, for so many seconds at most."""
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._trouble(f"ended before it was told to {what}") from error
        return self._answer(what, patience)["done"]

    def _answer(self, what: str, seconds: float) -> dict[str, dict[str, Any]]:
        try:
            answer = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise self._trouble(f"took longer than {seconds:.0f} s to {what}") from None
        if answer is None:
            raise self._trouble(f"ended while it was to {what}")
        if "error" in answer:
            raise self._trouble(f"could not {what}: {answer['error']}")
        return answer

    def check(self) -> None:
        """Fails, with what it said last, if it has ended."""
        if self._process.poll() is not None:
            raise self._trouble("ended")

    def wait(self, seconds: float) -> None:
        """Waits until it has ended well."""
        assert self._process.stdin
        self._process.stdin.close()
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise self._trouble(f"took longer than {seconds:.0f} s") from None
        if code != 0:
            raise self._trouble(f"failed with status {code}")

    def _trouble(self, what: str) -> EngineError:
        # What it says as it ends may still be on its way.
        time.sleep(0.1)
        return EngineError("\n    ".join([f"{self.title} {what}", *self._said]))

    def seconds(self) -> float:
        """Processor time that it and all in its session have used."""
        return sum(p.own + p.of_ended_children for p in machine.processes() if p.session == self.pid)

    def resident_mib(self) -> float:
        """Memory that it and all in its session hold, in MiB."""
        return sum(machine.resident_mib(p.pid) for p in machine.processes() if p.session == self.pid)

    def kill(self) -> None:
        """Ends it and all in its session, and waits until they are gone."""
        for process in machine.processes():
            if process.session == self.pid and process.pid != self.pid:
                _kill(process.pid)
        if self._process.poll() is None:
            _kill(self.pid)
            self._process.wait()


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)

"""The run's log."""

from __future__ import annotations

import logging
from typing import Literal

from wit_world.imports import log as wit

_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class _ToRun(logging.Handler):
    """Sends what is logged by `logging` to the run's log."""

    def emit(self, record: logging.LogRecord) -> None:
        fields = [
            (name, str(value)) for name, value in vars(record).items() if name not in _STANDARD
        ]
        message = record.getMessage()
        if record.exc_info:
            message = f"{message}\n{logging.Formatter().formatException(record.exc_info)}"
        wit.log(_level(record.levelno), message, fields)


_LEVELS = {level.name.lower(): level for level in wit.Level}


def _level(number: int) -> wit.Level:
    if number >= logging.ERROR:
        return wit.Level.ERROR
    if number >= logging.WARNING:
        return wit.Level.WARN
    if number >= logging.INFO:
        return wit.Level.INFO
    if number >= logging.DEBUG:
        return wit.Level.DEBUG
    return wit.Level.TRACE


def log(
    message: str,
    /,
    *,
    level: Literal["trace", "debug", "info", "warn", "error"] = "info",
    **fields: object,
) -> None:
    """Writes a line to the run's log, with fields for programs. `logging` goes there, too."""
    if level not in _LEVELS:
        raise ValueError(f"log() has the levels {', '.join(_LEVELS)}, and not {level!r}")
    wit.log(_LEVELS[level], str(message), [(name, str(value)) for name, value in fields.items()])


def install() -> None:
    """Lets the root logger write to the run's log."""
    root = logging.getLogger()
    if not any(isinstance(handler, _ToRun) for handler in root.handlers):
        root.addHandler(_ToRun())
        root.setLevel(logging.INFO)

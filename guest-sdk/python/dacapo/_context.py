"""What a run may know about itself, and what it says about itself."""

from __future__ import annotations

from datetime import datetime, timezone

from wit_world.imports import context as wit


class Context:
    """The run that is being played. What it says is the same in every replay."""

    @property
    def run_id(self) -> str:
        """A UUID."""
        return wit.run_id()

    @property
    def workflow(self) -> str:
        """The full name of the workflow, `ns:pkg/interface.function`."""
        return wit.workflow()

    @property
    def created_at(self) -> datetime:
        """When the run was started."""
        return _time(wit.created_at())

    @property
    def now(self) -> datetime:
        """The time by the journal; in a step the real one."""
        return _time(wit.now())

    @property
    def labels(self) -> dict[str, str]:
        """The run's labels."""
        return dict(wit.labels())


#: The run that is being played.
context = Context()


def idempotency_key() -> str | None:
    """In a step: a text that is the same in all attempts at it, and in no other step of any run."""
    return wit.idempotency_key()


def changed(name: str) -> bool:
    """For code that was changed while runs of it are in flight: whether this run takes the new way."""
    return wit.changed(name)


def progress(done: int, total: int, note: str | None = None) -> None:
    """Says how far the run is, for whoever looks at it. It may be said often."""
    wit.set_progress(done, total, note)


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1_000, timezone.utc)

"""Workflows that do nothing, to measure Python by: the same as in the other languages."""

import json

from dacapo import step, wait_for, workflows


@workflows
class Noop:
    def noop_steps(self, n: int) -> int:
        for _ in range(n):
            step("s", lambda: None)
        return n

    def wait_event(self) -> int:
        return len(json.dumps(wait_for("go"), separators=(",", ":")))

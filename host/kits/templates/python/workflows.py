"""Workflows are ordinary code. A step's body runs once, and its result is recorded; everything else may be played again."""

from dataclasses import dataclass

from dacapo import Fatal, log, step, wait_for, workflows
from wit_world.exports.workflows import Account, Request


@dataclass
class Confirmation:
    """What comes with the event `confirmed`."""

    by: str


@workflows
class Workflows:
    def sign_up(self, request: Request) -> Account:
        @step("create-account")
        def account_id() -> str:
            if "@" not in request.email:
                # Not worth another try.
                raise Fatal(f"{request.email!r} is no e-mail address")
            return f"account-of-{request.email}"

        # Nothing of the run is in memory meanwhile, whether that takes seconds or months.
        confirmation = wait_for("confirmed", Confirmation)

        @step("send-greeting")
        def greeting() -> str:
            log(f"writing to {request.email}")
            return f"Welcome, {request.name}! {confirmation.by} has confirmed you."

        return Account(account_id, greeting)

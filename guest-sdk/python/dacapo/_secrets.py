"""Secrets that the manifest grants."""

from __future__ import annotations

from componentize_py_types import Err
from wit_world.imports import secrets as wit

from ._errors import from_wit


def placeholder(name: str) -> str:
    """What stands for a secret in the header of a request; the host sends its bytes in that place, and they are never here."""
    return "{{dacapo.secret." + name + "}}"


def reveal(name: str) -> str:
    """The bytes of a secret, in a step, if the manifest grants them with `reveal = true`.

    Raises `Failure` with the code `not-granted` if it does not.
    """
    try:
        return wit.reveal(name)
    except Err as error:
        raise from_wit(error.value) from None

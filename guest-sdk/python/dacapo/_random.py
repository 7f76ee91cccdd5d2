"""The randomness of `random`: outside of steps a stream that is the same in each replay, in their bodies a real one."""

from __future__ import annotations

import random
from typing import Any

from wit_world.imports import random as wasi

#: The stream as it was when a body was left last. Asking for it is what costs most of a step: it is some hundred numbers.
_kept: Any = None


def reseed() -> None:
    """Draws from here on what the host gives: in a step's body something real, elsewhere what is the same in each replay."""
    random.seed(wasi.get_random_u64() << 64 | wasi.get_random_u64())


def pass_step() -> int:
    """Draws from the stream at each step, whether its body runs or not. What was drawn tells whether the stream is where it was left."""
    return random.getrandbits(64)


def leave(drawn: int) -> None:
    """Leaves the stream for a body, behind what `pass_step` has drawn."""
    global _kept
    _kept = _behind(drawn) or random.getstate()
    reseed()


def come_back() -> None:
    """Goes on with the stream."""
    random.setstate(_kept)


def _behind(drawn: int) -> Any:
    """The stream behind these 64 bits, if they are those that it had next when it was left."""
    if _kept is None:
        return None
    version, words, gauss = _kept
    at = words[-1]
    # Behind the last of the words all are made anew.
    if at + 2 >= len(words) or gauss != random._inst.gauss_next:  # type: ignore[attr-defined]
        return None
    if drawn != _tempered(words[at]) | _tempered(words[at + 1]) << 32:
        return None
    return version, words[:-1] + (at + 2,), gauss


def _tempered(word: int) -> int:
    """What the Mersenne Twister makes of a word of its state."""
    word ^= word >> 11
    word ^= word << 7 & 0x9D2C5680
    word ^= word << 15 & 0xEFC60000
    return word ^ word >> 18

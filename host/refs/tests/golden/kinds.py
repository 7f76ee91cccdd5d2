"""Workflows of test:kinds: their types, and references to them. Written by `dacapo refs`."""

from collections.abc import Sequence
from typing import Literal, NotRequired, TypeAlias, TypedDict

from dacapo_client import Err, Ok, Ref, Some


class Point(TypedDict):
    x: int
    y: int


class ShapeEmpty(TypedDict):
    tag: Literal["empty"]


class ShapeCircle(TypedDict):
    tag: Literal["circle"]
    val: float


class ShapePolygon(TypedDict):
    tag: Literal["polygon"]
    val: list[Point]


class ShapeBig(TypedDict):
    tag: Literal["big"]
    val: int | str


class ShapeMaybe(TypedDict):
    """One that may have no value."""

    tag: Literal["maybe"]
    val: int | None


class ShapePair(TypedDict):
    tag: Literal["pair"]
    val: Sequence[int | str | bool]


Shape: TypeAlias = ShapeEmpty | ShapeCircle | ShapePolygon | ShapeBig | ShapeMaybe | ShapePair


Colour: TypeAlias = Literal["red", "green", "dark-blue"]


Permission: TypeAlias = list[Literal["read", "write", "run-it"]]


class Amount(TypedDict):
    cents: int | str
    currency: str


class Everything(TypedDict):
    truth: bool
    tiny: int
    large: int | str
    uLarge: int | str
    single: float
    double: float
    letter: str
    text: str
    bytes: str
    pin: list[int]
    ids: list[int | str]
    table: list[list[int]]
    photos: list[str]
    pair: Sequence[int | str]
    widePair: Sequence[int | str]
    maybe: NotRequired[int | None]
    maybeWide: NotRequired[int | str | None]
    maybeMaybe: NotRequired[Some[str | None] | None]
    maybeMaybeWide: NotRequired[Some[Some[int | str | None] | None] | None]
    shape: Shape
    shapes: list[Shape]
    shade: Colour
    permission: Permission
    outcome: Ok[int | str] | Err[str]
    outcomeOk: Ok[int] | Err[None]
    outcomeErr: Ok[None] | Err[str]
    outcomeBare: Ok[None] | Err[None]
    type: Amount


# Returns what it is given.
ECHO = Ref[Everything, Everything]("test:kinds/kinds.echo")

COUNT = Ref[int | str, int | str]("test:kinds/kinds.count")

# The error of `test:kinds/kinds.swap`: the details of its failure.
SwapError: TypeAlias = str

SWAP = Ref[Sequence[int | str], Sequence[int | str]]("test:kinds/kinds.swap")

NOTHING = Ref[None, None]("test:kinds/kinds.nothing")

BARE = Ref[None, None]("test:kinds/kinds.bare")

# The error of `test:kinds/kinds.loop`: the details of its failure.
LoopError: TypeAlias = Shape

LOOP = Ref[str, None]("test:kinds/kinds.loop")

"""Values as JSON, and back."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from enum import Enum
from typing import Any

from ._errors import Fatal


def encode(value: Any, what: str) -> str:
    """The value as JSON: what `json` takes, and dataclasses and enums.

    Raises `Fatal` with the code `encode` if JSON cannot carry it.
    """
    try:
        return _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        try:
            path = _path(value, frozenset())
        except RecursionError:
            path = None
        at = f" at {path!r}:" if path else ""
        raise Fatal(f"{what} cannot be recorded as JSON:{at} {error}", code="encode") from error


def _path(value: Any, above: frozenset[int]) -> str | None:
    """Where in a value is what JSON cannot carry: `items[2].price`; None if it carries all of it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = _plain(value)
    if isinstance(value, dict):
        parts = [(f".{name}", name, item) for name, item in value.items()]
    elif isinstance(value, (list, tuple)):
        parts = [(f"[{index}]", None, item) for index, item in enumerate(value)]
    else:
        return None if _carried(value) else ""
    if id(value) in above:
        return ""
    for at, name, item in parts:
        is_name = name is None or isinstance(name, (str, int, float))
        inner = _path(item, above | {id(value)}) if is_name else ""
        if inner is not None:
            return f"{at}{inner}".removeprefix(".") if not above else f"{at}{inner}"
    return None


def _carried(value: Any) -> bool:
    try:
        _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (set, frozenset)):
        raise TypeError("a set has no order; use a sorted list")
    if isinstance(value, bytes):
        raise TypeError("bytes have no form in JSON; encode them with base64")
    raise TypeError(f"{type(value).__name__} has no form in JSON")


_ENCODER = json.JSONEncoder(
    default=_plain, allow_nan=False, separators=(",", ":"), ensure_ascii=False
)


def decode(text: str, kind: Any) -> Any:
    """JSON as a value of this kind, if one is named: a dataclass, a list or dict of such, or what JSON has itself.

    Raises `TypeError` if it is not of that kind.
    """
    return shape(json.loads(text), kind)


def shape(value: Any, kind: Any) -> Any:
    """What came out of JSON, as a value of this kind."""
    if kind is None or kind is Any or isinstance(kind, (str, typing.TypeVar)):
        return value
    if kind is type(None):
        return _is(value, kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Union or origin is types.UnionType:
        return _any_of(value, arguments)
    if origin in (list, tuple, dict):
        return _many(value, origin, arguments)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _dataclass(value, kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, str) and (number := _wide(value)) is not None:
        return number
    if isinstance(kind, type) and kind in (str, int, float, bool, list, dict):
        return _is(value, kind)
    if kind is tuple:
        return tuple(_is(value, list))
    return value


def _is(value: Any, kind: type) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"expected {kind.__name__}, got {json.dumps(value)[:200]}")
    return value


def _wide(digits: str) -> int | None:
    """The integer of 64 bits that was written as a text: beyond 2^53 others do so, since there are readers that have doubles only."""
    if not digits.removeprefix("-").isdecimal() or len(digits) > 20:
        return None
    number = int(digits)
    return number if -(2**63) <= number < 2**64 and str(number) == digits else None


def _any_of(value: Any, kinds: tuple[Any, ...]) -> Any:
    if isinstance(value, str) and str in kinds:
        # It is no integer then.
        kinds = tuple(kind for kind in kinds if kind is not int)
    problems = []
    for kind in kinds:
        try:
            return shape(value, kind)
        except (TypeError, ValueError) as error:
            problems.append(str(error))
    raise TypeError("; or ".join(problems))


def _many(value: Any, origin: type, arguments: tuple[Any, ...]) -> Any:
    if origin is dict:
        kind = arguments[1] if len(arguments) == 2 else None
        return {name: shape(item, kind) for name, item in _is(value, dict).items()}
    items = _is(value, list)
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        if len(items) != len(arguments):
            raise TypeError(f"expected {len(arguments)} values, got {len(items)}")
        return tuple(shape(item, kind) for item, kind in zip(items, arguments))
    kind = arguments[0] if arguments else None
    return origin(shape(item, kind) for item in items)


def _dataclass(value: Any, kind: Any) -> Any:
    values = _is(value, dict)
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    # What comes from outside is written as WIT's mapping to JSON has it.
    known = {_camel(name): name for name in fields} | {name: name for name in fields}
    unknown = [name for name in values if name not in known]
    if unknown:
        raise TypeError(f"{kind.__name__} has no field {unknown[0]}")
    given = {known[name]: shape(item, hints.get(known[name])) for name, item in values.items()}
    for name, field in fields.items():
        if name in given:
            continue
        has_default = (
            field.default is not dataclasses.MISSING
            or field.default_factory is not dataclasses.MISSING
        )
        if not has_default:
            if type(None) not in typing.get_args(hints.get(name)):
                raise TypeError(f"{kind.__name__} is missing its field {name}")
            given[name] = None
    return kind(**given)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)

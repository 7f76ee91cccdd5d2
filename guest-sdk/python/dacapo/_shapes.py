"""What workflows return, held against their types in WIT.

The tool that builds the component turns values into those of WIT where no exception can be caught any more: it would end the component with
words of its own.
"""

from __future__ import annotations

import enum
import inspect
import json
import math
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")

try:
    import dacapo_shapes  # type: ignore[import-not-found, unused-ignore]

    #: By the names of workflows: what their output and their error are made of, as `dacapo build` says it.
    _SHAPES: dict[str, dict[str, Any]] = json.loads(dacapo_shapes.SHAPES)
except ImportError:
    # Outside of a component.
    _SHAPES = {}

_RANGES = {
    f"{sign}{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if sign == "s" else (0, 2**bits - 1)
    for bits in (8, 16, 32, 64)
    for sign in "su"
}


def fit(workflow: str, part: str, value: T) -> T:
    """The value, if its type in WIT can carry it. Raises `TypeError` that says where it cannot."""
    _check(_SHAPES.get(workflow, {}).get(part), value, part)
    return value


def _refuse(at: str, expected: str, value: Any) -> NoReturn:
    raise TypeError(f"{at}: expected {expected}, got {_show(value)}")


def _show(value: Any) -> str:
    if inspect.iscoroutine(value):
        value.close()
        return "a coroutine: a workflow is a plain function; write def, not async def"
    text = repr(value)
    if len(text) > 80:
        text = f"{text[:80]}…"
    return text if value is None else f"{text} ({type(value).__name__})"


def _check(shape: Any, value: Any, at: str) -> None:
    if shape is None:
        return
    if isinstance(shape, str):
        _plain(shape, value, at)
        return
    match shape:
        case {"list": item}:
            if not isinstance(value, list):
                _refuse(at, "a list", value)
            for index, one in enumerate(value):
                _check(item, one, f"{at}[{index}]")
        case {"option": inner}:
            if value is not None:
                _check(inner, value, at)
        case {"some": inner}:
            if value is not None:
                _check(inner, _value(value, ("Some",), at, "None or Some(...)"), at)
        case {"tuple": items}:
            if not isinstance(value, tuple) or len(value) != len(items):
                _refuse(at, f"a tuple of {len(items)}", value)
            for index, (item, one) in enumerate(zip(items, value)):
                _check(item, one, f"{at}[{index}]")
        case {"record": name, "fields": fields}:
            for field, inner in fields.items():
                # A word of the language has a line behind it.
                named = field if hasattr(value, field) else f"{field}_"
                if not hasattr(value, named):
                    _refuse(at, f"a {_pascal(name)}, which has {', '.join(fields)}", value)
                _check(inner, getattr(value, named), f"{at}.{field}")
        case {"variant": name, "cases": cases}:
            classes = {f"{_pascal(name)}_{_pascal(case)}": inner for case, inner in cases.items()}
            case = type(value).__name__
            if case not in classes:
                _refuse(at, f"one of {', '.join(classes)}", value)
            if classes[case] is not None:
                _check(classes[case], _value(value, (case,), at, case), f"{at}.value")
        case {"enum": name, "cases": cases}:
            if not isinstance(value, enum.Enum) or isinstance(value, enum.Flag):
                members = [f"{_pascal(name)}.{case.replace('-', '_').upper()}" for case in cases]
                _refuse(at, f"one of {', '.join(members)}", value)
        case {"flags": name}:
            if not isinstance(value, enum.Flag):
                _refuse(at, f"flags of {_pascal(name)}", value)
        case {"result": {"ok": ok, "err": error}}:
            inner = _value(value, ("Ok", "Err"), at, "Ok(...) or Err(...)")
            _check(ok if type(value).__name__ == "Ok" else error, inner, f"{at}.value")


def _value(value: Any, classes: tuple[str, ...], at: str, expected: str) -> Any:
    if type(value).__name__ not in classes or not hasattr(value, "value"):
        _refuse(at, expected, value)
    return value.value


def _plain(kind: str, value: Any, at: str) -> None:
    match kind:
        case "bool":
            if not isinstance(value, bool):
                _refuse(at, "a bool", value)
        case "string" | "char":
            if not isinstance(value, str) or (kind == "char" and len(value) != 1):
                _refuse(at, "a str" if kind == "string" else "a str of one character", value)
            try:
                value.encode()
            except UnicodeEncodeError:
                _refuse(at, "text that has a form in UTF-8", value)
        case "bytes":
            if not isinstance(value, bytes):
                _refuse(at, "bytes", value)
        case "f32" | "f64":
            if not isinstance(value, (int, float)) or not math.isfinite(value):
                _refuse(at, f"a finite float ({kind})", value)
        case _:
            least, most = _RANGES[kind]
            if not isinstance(value, int) or not least <= value <= most:
                _refuse(at, f"an int from {least} to {most} ({kind})", value)


def _pascal(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("-"))

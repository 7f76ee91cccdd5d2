"""Transactional SQL steps: statements that are one transaction with their step's outcome."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

from componentize_py_types import Err
from wit_world.imports import sql as wit

from ._errors import from_wit

#: A row: the values by the names of their columns.
Row = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def query(statement: str, *params: Any) -> list[Row]:
    """Carries a statement out, in a step, and answers its rows. Parameters are `$1`, `$2`, …

    Lists and dicts are sent as `jsonb`, times as `timestamptz`.

    Raises `Failure` with the codes `sql`, `sql-statement`, `sql-limit` and `sql-lost`.
    """
    try:
        rows = wit.query(statement, [_to_wit(param) for param in params])
    except Err as error:
        raise from_wit(error.value) from None
    return [dict(zip(rows.columns, map(_from_wit, row))) for row in rows.rows]


def execute(statement: str, *params: Any) -> int:
    """Like `query`, and answers how many rows the statement has touched."""
    try:
        return wit.execute(statement, [_to_wit(param) for param in params])
    except Err as error:
        raise from_wit(error.value) from None


def _to_wit(value: Any) -> Any:
    match value:
        case None:
            return wit.Value_Null()
        case bool():
            return wit.Value_Boolean(value)
        case int():
            return wit.Value_Integer(value)
        case float():
            return wit.Value_Float(value)
        case str():
            return wit.Value_Text(value)
        case bytes():
            return wit.Value_Bytes(value)
        case datetime():
            if value.tzinfo is None:
                raise ValueError("expected a time with a time zone")
            return wit.Value_Timestamp((value - _EPOCH) // timedelta(microseconds=1))
        case list() | dict():
            return wit.Value_Json(json.dumps(value, allow_nan=False))
    raise TypeError(f"{type(value).__name__} is no value for SQL; turn it into text and cast it there")


def _from_wit(value: Any) -> Any:
    match value:
        case wit.Value_Null():
            return None
        case wit.Value_Json(text):
            return json.loads(text)
        case wit.Value_Timestamp(micros):
            return _EPOCH + timedelta(microseconds=micros)
        case wit.Value_Bytes(data):
            return bytes(data)
    return value.value

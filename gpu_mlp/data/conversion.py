"""One column of an Arrow table, an array or a list as a Table's column: float64 or text, and its kind."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.data.table import Column
from gpu_mlp.data.values import EXACT_INTEGER, spell_number

__all__ = ["UnsupportedTypeError", "from_array", "from_arrow", "from_objects"]

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
# pandas marks missing values by objects of its own, known here by name: pandas is never imported.
MISSING_TYPES = {"NoneType", "NAType", "NaTType"}


class UnsupportedTypeError(Exception):
    """A column's type that has no meaning as a number or as text; the message is the type's name."""


def from_arrow(column: Any) -> tuple[Column, str]:
    """A pyarrow ChunkedArray as (values (N,), kind)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind_of = pa.types
    if kind_of.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    type_ = column.type
    if kind_of.is_string(type_) or kind_of.is_large_string(type_) or str(type_) == "string_view":
        return _objects(pc.cast(column, pa.large_string())), "text"
    if kind_of.is_boolean(type_):
        return _floats(column), "boolean"
    if kind_of.is_integer(type_):
        return _from_arrow_integers(column)
    if kind_of.is_floating(type_) or kind_of.is_decimal(type_) or kind_of.is_null(type_):
        return _floats(column), "numeric"
    if kind_of.is_date32(type_):
        return _floats(pc.cast(column, pa.int32())) * 86400.0, "date"
    if kind_of.is_date64(type_):
        return _floats(pc.cast(column, pa.int64())) / 1e3, "date"
    if kind_of.is_timestamp(type_):
        return _floats(pc.cast(column, pa.int64())) / UNITS[type_.unit], "date"
    if kind_of.is_time(type_) or kind_of.is_duration(type_):
        whole = pc.cast(column, pa.int32() if kind_of.is_time32(type_) else pa.int64())
        return _floats(whole) / UNITS[type_.unit], "numeric"
    raise UnsupportedTypeError(str(type_))


def _floats(column: Any) -> NDArray[np.float64]:
    """Arrow's own memory where that is possible, which is read-only."""
    import pyarrow as pa
    import pyarrow.compute as pc

    floats = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.asarray(floats, dtype=np.float64)


def _objects(column: Any) -> NDArray[Any]:
    """Texts, each different one a single object in every chunk; None where missing."""
    parts = [np.empty(0, dtype=object)]
    for chunk in column.dictionary_encode().chunks:
        words: NDArray[Any] = np.full(len(chunk.dictionary) + 1, None, dtype=object)
        words[:-1] = chunk.dictionary.to_numpy(zero_copy_only=False)
        parts.append(words[chunk.indices.fill_null(len(words) - 1).to_numpy()])
    return np.concatenate(parts)


def _from_arrow_integers(column: Any) -> tuple[Column, str]:
    import pyarrow as pa
    import pyarrow.compute as pc

    low, high = pc.min_max(column).as_py().values()
    if low is not None and (low < -EXACT_INTEGER or high > EXACT_INTEGER):
        return _objects(pc.cast(column, pa.large_string())), "text"
    return _floats(column), "numeric" if column.null_count else "integer"


def from_array(values: NDArray[Any]) -> tuple[Column, str]:
    """A 1-D NumPy array of any dtype as (values (N,), kind)."""
    code = values.dtype.kind
    if code == "O":
        return from_objects(values)
    if code == "b":
        return values.astype(np.float64), "boolean"
    if code in "iu":
        if values.size and (values.min() < -EXACT_INTEGER or values.max() > EXACT_INTEGER):
            return values.astype(str).astype(object), "text"
        return values.astype(np.float64), "integer"
    if code == "f":
        with np.errstate(
            over="ignore"
        ):  # a longdouble beyond float64 becomes infinity, refused where it is used
            return values.astype(np.float64), "numeric"
    if code == "U":
        return values.astype(object), "text"
    if code == "M":
        return (values - np.datetime64(0, "s")) / np.timedelta64(1, "s"), "date"
    if code == "m":
        return values / np.timedelta64(1, "s"), "numeric"
    raise UnsupportedTypeError(str(values.dtype))


def from_objects(values: NDArray[Any]) -> tuple[Column, str]:
    """A 1-D array of Python objects as (values (N,), kind), told from the types of those not missing.

    Text among numbers makes the column text; None, NaN and pandas' NA and NaT are missing.
    """
    absent = {type_ for type_ in set(map(type, values)) if type_.__name__ in MISSING_TYPES}
    missing = np.fromiter((type(v) in absent or _is_nan(v) for v in values), bool, len(values))
    present = values[~missing]
    types = set(map(type, present))
    result: Column = np.full(len(values), np.nan)
    if not types:
        return result, "numeric"
    if _all(types, (str, bool, np.bool_, int, float, np.number)) and any(issubclass(t, str) for t in types):
        result = np.full(len(values), None, dtype=object)
        result[~missing] = [_word(v) for v in present]
        return result, "text"
    if _all(types, (bool, np.bool_)):
        kind = "boolean"
    elif _all(types, (int, np.integer)):
        if any(abs(int(v)) > EXACT_INTEGER for v in present):
            result = np.full(len(values), None, dtype=object)
            result[~missing] = [str(v) for v in present]
            return result, "text"
        kind = "numeric" if missing.any() else "integer"
    elif _all(types, (bool, np.bool_, int, float, np.integer, np.floating, decimal.Decimal)):
        kind = "numeric"
    elif _all(types, (datetime.date, np.datetime64)):
        kind, present = "date", np.array([_seconds(v) for v in present])
    elif _all(types, (datetime.timedelta,)):
        kind, present = "numeric", np.array([v.total_seconds() for v in present])
    else:
        raise UnsupportedTypeError(" and ".join(sorted(type_.__name__ for type_ in types)[:3]))
    result[~missing] = present.astype(np.float64)
    return result, kind


def _all(types: set[type], allowed: tuple[type, ...]) -> bool:
    return all(issubclass(type_, allowed) for type_ in types)


def _is_nan(value: object) -> bool:
    return isinstance(value, (float, np.floating, decimal.Decimal)) and bool(value != value)


def _word(value: Any) -> str:
    return spell_number(float(value)) if isinstance(value, (float, np.floating)) else str(value)


def _seconds(value: Any) -> float:
    if isinstance(value, np.datetime64):
        return float((value - np.datetime64(0, "s")) / np.timedelta64(1, "s"))
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime(value.year, value.month, value.day, tzinfo=datetime.UTC)
    # A time without a zone is taken as UTC, as Arrow takes it: never the zone of this machine.
    aware = value if value.tzinfo is not None else value.replace(tzinfo=datetime.UTC)
    return float((aware - EPOCH).total_seconds())

"""The safetensors container: a length, a JSON header and the tensors' bytes, read with every claim checked.

Layout (https://github.com/huggingface/safetensors): 8 bytes little-endian N; N bytes of JSON, name ->
{dtype, shape, data_offsets}, with the strings of `__metadata__` beside them; then the bytes of all tensors,
without gaps.
"""

from __future__ import annotations

import json
import math
import os
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

__all__ = ["LARGEST_HEADER", "Container", "FormatError", "encode", "parse_json", "read"]

LARGEST_HEADER = 1_000_000
ALIGNMENT = 8
DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
NAMES = {dtype.newbyteorder("="): name for name, dtype in DTYPES.items()}


class FormatError(Exception):
    """What is wrong with a file, to follow its name in a sentence, with what to do."""


@dataclass(frozen=True)
class Container:
    """The content of a file: tensors by name (read-only views of its bytes) and the metadata strings."""

    tensors: dict[str, NDArray[Any]]
    metadata: dict[str, str]
    foreign: tuple[str, ...] = ()  # tensors of types this package does not write, left unread


def encode(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a file with these float32 and float64 tensors.

    Raises FormatError where the header grows too long.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    chunks, at = [], 0
    for name, tensor in tensors.items():
        dtype = NAMES[tensor.dtype]
        data = np.ascontiguousarray(tensor, DTYPES[dtype]).tobytes()
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [at, at + len(data)]}
        chunks.append(data)
        at += len(data)
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % ALIGNMENT)
    if len(text) > LARGEST_HEADER:
        raise FormatError(
            f"cannot be written: its description takes {len(text)} bytes, more than the {LARGEST_HEADER} of "
            "the format; ignore text columns with many long categories"
        )
    return b"".join([struct.pack("<Q", len(text)), text, *chunks])


def read(path: Path) -> Container:
    """The content of a file. Raises FormatError for what is wrong with it, OSError where it is unreadable."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise FormatError("is a folder; give the path of the model.safetensors in it")
    if not stat.S_ISREG(mode):
        raise FormatError("is not a regular file; give the path of a model file")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < 8:
            raise FormatError(f"is too short for a model file ({size} bytes); give a file that gpu_mlp wrote")
        (length,) = struct.unpack("<Q", file.read(8))
        if length > LARGEST_HEADER:
            raise FormatError("is not a model file; give the model.safetensors of a run folder")
        if length > size - 8:
            raise FormatError(
                f"is cut off: its header takes {length} bytes, but the file has {size}; copy it again"
            )
        text = file.read(length)
        data = file.read()
    if len(text) != length or len(data) != size - 8 - length:
        raise FormatError("changed while it was read; try again")
    return _container(text, data)


def parse_json(text: str | bytes, what: str) -> Any:
    """A JSON document in which no key occurs twice and every number is finite. Raises FormatError."""
    try:
        return json.loads(
            text, object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refuse_constant
        )
    except FormatError:
        raise
    except (ValueError, RecursionError) as error:
        raise FormatError(
            f"is damaged or not a model file: {what} is not JSON ({type(error).__name__}); "
            "copy it again, or train the model again"
        ) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise FormatError("is damaged: a name occurs twice in its header; train the model again")
    return result


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):  # as 1e999
        raise ValueError(text)
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _container(text: bytes, data: bytes) -> Container:
    header = parse_json(text, "its header")
    if not isinstance(header, dict):
        _damaged("its header holds no tensors")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        _damaged("its metadata are not strings")
    tensors: dict[str, NDArray[Any]] = {}
    foreign = []
    spans = []
    for name, entry in header.items():
        dtype, shape, start, stop = _entry(name, entry, len(data))
        spans.append((start, stop))
        if dtype not in DTYPES:
            foreign.append(name)
            continue
        count, item = math.prod(shape), DTYPES[dtype].itemsize
        if stop - start != count * item:
            _damaged(f"tensor {name!r:.60} of shape {shape!s:.60} and type {dtype} has {stop - start} bytes")
        try:
            tensors[name] = np.frombuffer(data, DTYPES[dtype], count, start).reshape(shape)
        except (ValueError, OverflowError):  # too many axes, or one too long beside one of 0
            _damaged(f"tensor {name!r:.60} has a shape that no array can have")
    ends = [0, *(stop for _, stop in sorted(spans))]
    if [start for start, _ in sorted(spans)] != ends[:-1] or ends[-1] != len(data):
        _damaged("its tensors do not fill it without gaps")
    return Container(tensors, metadata, tuple(foreign))


def _entry(name: str, entry: Any, size: int) -> tuple[str, list[int], int, int]:
    """dtype, shape and the place of one tensor, of the right types and within `size` bytes."""
    try:
        dtype, shape, (start, stop) = entry["dtype"], entry["shape"], entry["data_offsets"]
        numbers = [*shape, start, stop]
    except (KeyError, TypeError, ValueError):
        _damaged(f"the entry of tensor {name!r:.60} lacks its type, shape or place")
    if not isinstance(dtype, str) or not all(type(number) is int and number >= 0 for number in numbers):
        _damaged(f"the entry of tensor {name!r:.60} holds what is no size")
    if not start <= stop <= size:
        _damaged(f"tensor {name!r:.60} lies outside of it")
    return dtype, list(shape), start, stop


def _damaged(what: str) -> NoReturn:
    raise FormatError(f"is damaged: {what}; copy it again, or train the model again")

"""Columns of the files that hold arrays: NPY and NPZ of NumPy, and IDX, the format of MNIST.

What a header claims is held against the file's size before memory is taken for it, and nothing is ever unpickled.
Where the values lie in the file as they are, they stay there until they are looked at.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.data.messages import first_line, quoted, shown_path
from gpu_mlp.errors import DataError

__all__ = ["is_array_file", "read_array_file"]

IDX_NAME = re.compile(r"(?P<what>.*)[.-](idx\d-ubyte|idx)(?P<gz>\.gz)?", re.IGNORECASE)
IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
# What deflate can make of a byte at most, and a little more: whoever claims more lies.
LARGEST_RATIO = 1040
LONGEST_NPY_HEADER = 10_000
MOST_COLUMNS = 1_000_000
KINDS = "biuf"


def is_array_file(path: Path) -> bool:
    """By its name."""
    return path.suffix.lower() in (".npy", ".npz") or IDX_NAME.fullmatch(path.name) is not None


def read_array_file(path: Path) -> dict[str, NDArray[Any]]:
    """Its columns by name: x0, x1, ... of a table or of images, y of their labels, an NPZ's arrays by their keys.

    Raises DataError for what is wrong with the file, and where it cannot be read.
    """
    try:
        if path.suffix.lower() == ".npy":
            return _columns("x", _read_npy(path))
        return _read_npz(path) if path.suffix.lower() == ".npz" else _read_idx_pair(path)
    except DataError:
        raise
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        _refuse(path, f"cannot be read ({first_line(error)})")
    except (ValueError, struct.error, OverflowError, LookupError, SyntaxError, tokenize.TokenError) as error:
        _refuse(path, f"is damaged ({first_line(error)})")
    raise AssertionError


def _refuse(path: Path, what: str) -> None:
    raise DataError(f"{shown_path(path)} {what}; write the file again") from None


def _columns(name: str, array: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """One column for each value of a row; all axes but the first are laid out one after the other."""
    if array.dtype.names is not None:
        return {str(field): array[field] for field in array.dtype.names}
    if array.ndim == 1:
        return {name if name != "x" else "x0": array}
    rows = array.reshape(len(array), -1)
    return {f"{name}{index}": rows[:, index] for index in range(rows.shape[1])}


def _read_npy(path: Path) -> NDArray[Any]:
    with path.open("rb") as file:
        dtype, shape, fortran = _npy_header(path, file)
        start = file.tell()
        _check_claim(path, dtype, shape, path.stat().st_size - start)
    return _mapped(path, dtype, shape, start, "F" if fortran else "C")


def _mapped(
    path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], start: int, order: Literal["C", "F"] = "C"
) -> NDArray[Any]:
    if math.prod(shape) == 0:  # of which nothing can be mapped
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", start, shape, order)


def _npy_header(path: Path, file: Any) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file, max_header_size=LONGEST_NPY_HEADER)
    fields = [dtype] if dtype.names is None else [dtype[name] for name in dtype.names]
    if not all(field.kind in KINDS and field.shape == () for field in fields):
        _refuse(path, f"holds {quoted(str(dtype))}, but numbers and truth values are needed")
    return dtype, shape, fortran


def _check_claim(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], size: int) -> None:
    """Raise DataError where the values are not just what the file has bytes for."""
    if not shape:
        _refuse(path, "holds a single number, but a table needs rows")
    needed = math.prod(shape) * dtype.itemsize
    if needed != size:
        _refuse(path, f"claims {needed} bytes of values, but has {size}")
    if math.prod(shape[1:]) > MOST_COLUMNS:
        _refuse(path, f"claims {math.prod(shape[1:])} columns, but at most {MOST_COLUMNS} are read")


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {}
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.filename.endswith(".npy"):
                _refuse(path, f"holds {quoted(member.filename)}, but every part of an .npz is an array")
            compressed = min(member.compress_size, size)
            if member.file_size > LARGEST_RATIO * compressed + 1024:
                _refuse(
                    path,
                    f"claims {member.file_size} bytes for {quoted(member.filename)}, which it cannot hold",
                )
            with archive.open(member) as file:
                array = _npz_member(path, file, member.file_size)
            found = _columns(member.filename.removesuffix(".npy"), array)
            twice = [name for name in found if name in columns]
            if twice:
                _refuse(path, f"has the column {quoted(twice[0])} twice")
            columns |= found
    if not columns:
        _refuse(path, "holds no array")
    return columns


def _npz_member(path: Path, file: IO[bytes], size: int) -> NDArray[Any]:
    dtype, shape, fortran = _npy_header(path, file)
    _check_claim(path, dtype, shape, size - file.tell())
    data = file.read()
    _check_claim(path, dtype, shape, len(data))
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _read_idx_pair(path: Path) -> dict[str, NDArray[Any]]:
    """The images or labels of a file; beside images, as y, the labels that MNIST's naming says are theirs."""
    array = _read_idx(path)
    if "label" in path.name.lower() or array.ndim == 1:
        return {"y": array}
    columns = _columns("x", array)
    for images, labels in (("images", "labels"), ("idx3", "idx1")):
        if images not in path.name:
            return columns
        path = path.with_name(path.name.replace(images, labels))
    if path.is_file():
        columns["y"] = _read_idx(path)
    return columns


def _read_idx(path: Path) -> NDArray[Any]:
    compressed = path.suffix.lower() == ".gz"
    size = path.stat().st_size
    with gzip.open(path) if compressed else path.open("rb") as file:
        zeros, kind, axes = struct.unpack(">HBB", file.read(4))
        if zeros != 0 or kind not in IDX_TYPES:
            _refuse(path, "is no IDX file: its first bytes name no type")
        shape = struct.unpack(f">{axes}I", file.read(4 * axes))
        dtype = np.dtype(IDX_TYPES[kind])
        start, needed = 4 + 4 * axes, math.prod(shape) * dtype.itemsize
        if compressed and needed > LARGEST_RATIO * size:
            _refuse(path, f"claims {needed} bytes of values, which its {size} bytes cannot hold")
        if not compressed:
            _check_claim(path, dtype, shape, size - start)
            return _mapped(path, dtype, shape, start)
        data = file.read(needed + 1)
        _check_claim(path, dtype, shape, len(data))
    return np.frombuffer(data, dtype).reshape(shape)

"""Thousands of damaged tables of every format: each is refused in a sentence, or checked as any other."""

from __future__ import annotations

import gzip
import random
import struct
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from gpu_mlp.data import Table, open_source, read_table
from gpu_mlp.errors import DataError

RNG = np.random.default_rng(0)
ROWS = 50
COLUMNS: dict[str, list[Any]] = {
    "a": RNG.normal(size=ROWS).tolist(),
    "größe": RNG.choice(["red", "blue"], ROWS).tolist(),
    "n": RNG.integers(0, 9, ROWS).tolist(),
    "m": [None if row % 7 == 0 else float(row) for row in range(ROWS)],
}
SIZES = (b"\xff\xff\xff\x7f", b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\xff" * 7 + b"\x7f", b"\xff" * 8)
MOST_SECONDS, MOST_BYTES = 1.0, 100e6


def csv_text() -> bytes:
    rows = zip(*COLUMNS.values(), strict=True)
    lines = [",".join("" if value is None else str(value) for value in row) for row in rows]
    return "\n".join([",".join(COLUMNS), *lines, ""]).encode()


def write_stream(path: Path) -> None:
    table = pa.table(COLUMNS)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)


PIXELS = struct.pack(">HBB3I", 0, 8, 3, 20, 3, 3) + RNG.integers(0, 256, 180).astype(np.uint8).tobytes()
WRITERS: dict[str, Callable[[Path], Any]] = {
    "t.csv": lambda path: path.write_bytes(csv_text()),
    "t.csv.gz": lambda path: path.write_bytes(gzip.compress(csv_text())),
    "t.parquet": lambda path: pq.write_table(pa.table(COLUMNS), path),
    "t.feather": lambda path: feather.write_feather(pa.table(COLUMNS), path),
    "t.arrow": write_stream,
    "t.npy": lambda path: np.save(path, RNG.normal(size=(20, 4))),
    "t.npz": lambda path: np.savez_compressed(path, x=RNG.normal(size=(20, 4)), y=np.arange(20)),
    "t.idx": lambda path: path.write_bytes(PIXELS),
    "t.idx.gz": lambda path: path.write_bytes(gzip.compress(PIXELS)),
}


def mutant(original: bytes, rng: random.Random) -> bytes:
    """Bytes changed, cut off or cut out, or a size that claims much, wherever it stands."""
    content, what = bytearray(original), rng.random()
    if what < 0.5:
        for _ in range(rng.choice((1, 1, 2, 4, 16))):
            content[rng.randrange(len(content))] ^= rng.randrange(1, 256)
    elif what < 0.65:
        del content[rng.randrange(len(content)) :]
    elif what < 0.8:
        start, stop = sorted(rng.sample(range(len(content)), 2))
        del content[start:stop]
    else:
        size, start = rng.choice(SIZES), rng.randrange(len(content) - 8)
        content[start : start + len(size)] = size
    return bytes(content)


Read = Callable[[Path], int]


def whole(path: Path) -> int:
    """The rows of a table that is read whole."""
    return _checked(read_table(path))


def in_batches(path: Path) -> int:
    """The rows of one that is read some at a time."""
    return sum(map(_checked, open_source(path).batches()))


def _checked(table: Table) -> int:
    assert table.rows > 0
    assert all(len(column) == table.rows for column in table.columns.values())
    return table.rows


def read_or_refused(path: Path, read: Read) -> int | str:
    try:
        return read(path)
    except DataError as error:
        return str(error)


def read_mutants(name: str, folder: Path, count: int, seed: int, read: Read) -> Counter[str]:
    """How many were refused and how many were read."""
    path, rng, found = folder / name, random.Random(seed), Counter[str]()
    WRITERS[name](path)
    original = path.read_bytes()
    for number in range(count):
        content = mutant(original, rng)
        path.write_bytes(content)
        watched = number % 25 == 0  # tracing makes it slow
        if watched:
            tracemalloc.start()
        arrow, started = pa.total_allocated_bytes(), time.process_time()
        result = read_or_refused(path, read)
        assert time.process_time() - started < MOST_SECONDS, number
        assert pa.total_allocated_bytes() - arrow < MOST_BYTES
        if watched:
            assert tracemalloc.get_traced_memory()[1] < len(content) + MOST_BYTES
            tracemalloc.stop()
        if isinstance(result, str):
            assert name in result, result
            assert result.isprintable()
            found["refused"] += 1
        else:
            found["read"] += 1
    return found


def check(found: Counter[str], count: int) -> None:
    assert found["refused"] > count // 4
    assert found.total() == count


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("read", [whole, in_batches])
def test_200_mutants_are_refused_or_read(name: str, read: Read, tmp_path: Path) -> None:
    check(read_mutants(name, tmp_path, 200, 0, read), 200)


@pytest.mark.soak
@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("read", [whole, in_batches])
def test_5000_mutants_are_refused_or_read(name: str, read: Read, tmp_path: Path) -> None:
    check(read_mutants(name, tmp_path, 5000, 1, read), 5000)

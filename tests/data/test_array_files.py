"""NPY, NPZ and IDX as tables, and claims that a file cannot keep."""

from __future__ import annotations

import gzip
import io
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu_mlp.data import read_table
from tests.data.refusals import refused

RNG = np.random.default_rng(0)


def idx(array: Any, code: int = 0x08) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape) + array.tobytes()


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i8", "|u1", "|b1", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(7,), (7, 3), (7, 2, 2)])
def test_an_npy_file_is_a_table_of_its_columns(
    tmp_path: Path, dtype: str, order: Any, shape: tuple[int, ...]
) -> None:
    array = np.asarray(RNG.integers(0, 2, shape), dtype, order=order)
    np.save(tmp_path / "a.npy", array)
    table = read_table(tmp_path / "a.npy")
    assert table.origin == "a.npy"
    rows = array.reshape(7, -1)
    assert table.names == tuple(f"x{index}" for index in range(rows.shape[1]))
    for index, name in enumerate(table.names):
        assert table.columns[name].tolist() == rows[:, index].astype(float).tolist()


def test_the_fields_of_a_structured_array_are_its_columns(tmp_path: Path) -> None:
    array = np.array([(1, 2.5), (3, np.nan)], [("count", "<i4"), ("size", "<f8")])
    np.save(tmp_path / "a.npy", array)
    table = read_table(tmp_path / "a.npy")
    assert table.names == ("count", "size")
    assert table.columns["count"].tolist() == [1.0, 3.0]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_file_has_its_arrays_by_their_keys(tmp_path: Path, save: Any) -> None:
    x, y = RNG.normal(size=(9, 2, 2)).astype(np.float32), RNG.integers(0, 3, 9)
    save(tmp_path / "a.npz", x=x, y=y, weight=np.ones(9))
    table = read_table(tmp_path / "a.npz", ignore=["weight"])
    assert table.names == ("x0", "x1", "x2", "x3", "y")
    assert table.columns["x3"].tolist() == x[:, 1, 1].tolist()
    assert table.columns["y"].tolist() == y.tolist()


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
    ],
)
def test_images_of_mnist_come_with_their_labels(
    tmp_path: Path, suffix: str, images: str, labels: str
) -> None:
    pixels, digits = (
        RNG.integers(0, 256, (11, 4, 5)).astype(np.uint8),
        RNG.integers(0, 10, 11).astype(np.uint8),
    )
    pack = gzip.compress if suffix else bytes
    (tmp_path / f"{images}{suffix}").write_bytes(pack(idx(pixels)))
    assert "y" not in read_table(tmp_path / f"{images}{suffix}").names
    (tmp_path / f"{labels}{suffix}").write_bytes(pack(idx(digits)))
    table = read_table(tmp_path / f"{images}{suffix}")
    assert len(table.names) == 21
    assert table.columns["x19"].tolist() == pixels[:, 3, 4].tolist()
    assert table.columns["y"].tolist() == digits.tolist()
    assert read_table(tmp_path / f"{labels}{suffix}").columns["y"].tolist() == digits.tolist()


@pytest.mark.parametrize(
    ("code", "dtype"), [(0x09, ">i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")]
)
def test_every_type_of_idx_is_read(tmp_path: Path, code: int, dtype: str) -> None:
    array = np.array([[-3, 5], [7, -1]], dtype)
    (tmp_path / "a.idx").write_bytes(idx(array, code))
    assert read_table(tmp_path / "a.idx").columns["x1"].tolist() == [5.0, -1.0]


def npy(shape: tuple[int, ...], data: bytes = b"", dtype: str = "<f8") -> bytes:
    """A file whose header claims what it likes."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue() + data


def zipped(content: bytes, *, bomb: bool = False) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", content)
    whole = file.getvalue()
    return whole.replace(struct.pack("<I", len(content)), struct.pack("<I", 2**31)) if bomb else whole


CLAIMS: dict[str, tuple[str, bytes, str]] = {
    "more values than there are": (
        "a.npy",
        npy((3, 2), b"\0" * 40),
        "claims 48 bytes of values, but has 40",
    ),
    "exabytes": ("a.npy", npy((2**60,)), "claims 9223372036854775808 bytes"),
    "no rows but columns without end": ("a.npy", npy((0, 2**40)), "claims 1099511627776 columns"),
    "a number": ("a.npy", npy((), b"\0" * 8), "holds a single number"),
    "objects": ("a.npy", npy((1,), b"\0" * 8, "|O"), "numbers and truth values are needed"),
    "texts": ("a.npy", npy((2,), b"\0" * 16, "<U2"), "numbers and truth values are needed"),
    "arrays in fields": (
        "a.npy",
        npy((1,), b"\0" * 16, [("a", "<f8", (2,))]),
        "numbers and truth values are needed",
    ),  # type: ignore[arg-type]
    "exabytes in a zip": ("a.npz", zipped(npy((2**60,))), "claims 9223372036854775808 bytes"),
    "a bomb": ("a.npz", zipped(npy((5,), b"\0" * 40), bomb=True), "which it cannot hold"),
    "another file in a zip": (
        "a.npz",
        zipped(b"hello").replace(b"x.npy", b"x.txt"),
        "part of an .npz is an array",
    ),
    "no zip": ("a.npz", b"hello", "cannot be read"),
    "an empty zip": ("a.npz", b"PK\5\6" + b"\0" * 18, "holds no array"),
    "no idx": ("a.idx", b"\0\0\7\1\0\0\0\0", "is no IDX file"),
    "exabytes in an idx": (
        "a.idx",
        struct.pack(">HBB3I", 0, 8, 3, *[2**31] * 3),
        "bytes of values, but has 0",
    ),
    "a compressed bomb": (
        "a.idx.gz",
        gzip.compress(struct.pack(">HBB3I", 0, 8, 3, *[2**31] * 3)),
        "bytes cannot hold",
    ),
    "more in an idx": (
        "a.idx",
        idx(np.zeros((2, 2), np.uint8)) + b"\0",
        "claims 4 bytes of values, but has 5",
    ),
    "more in a compressed idx": (
        "a.idx.gz",
        gzip.compress(idx(np.zeros(4, np.uint8)) + b"\0"),
        "claims 4 bytes",
    ),
    "a cut idx": ("a.idx", b"\0\0", "is damaged"),
    "a cut gz": ("a.idx.gz", gzip.compress(idx(np.zeros(400, np.uint8)))[:-9], "cannot be read"),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_that_the_file_cannot_keep_is_refused_before_memory_is_taken(
    name: str, tmp_path: Path
) -> None:
    file, content, message = CLAIMS[name]
    (tmp_path / file).write_bytes(content)
    tracemalloc.start()
    try:
        with refused(str(tmp_path / file), message):
            read_table(tmp_path / file)
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


def test_columns_of_other_lengths_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 2)), y=np.zeros(4))
    with refused("column 'x0' has 3 values and column 'y' 4"):
        read_table(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=np.zeros((3, 2)), x0=np.zeros(3))
    with refused("has the column 'x0' twice"):
        read_table(tmp_path / "b.npz")

"""Guarded arrays: full of NaN, aligned, against a page that cannot be touched, and looked at after each launch."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.emulator import EmulatorError, asarray, empty, zeros
from tests.emulator.memory import PAGE, check_margins, is_guarded

pytestmark = pytest.mark.usefixtures("emulator")

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("shape", [0, 1, 3, 5000, (), (3, 0), (7, 5, 3)])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", "u1", "?"])
def test_an_array_is_as_asked_for(shape: int | tuple[int, ...], dtype: str) -> None:
    array = empty(shape, dtype)
    assert array.shape == np.empty(shape).shape
    assert array.dtype == np.dtype(dtype)
    assert array.ctypes.data % 16 == 0
    assert array.flags.c_contiguous
    assert array.flags.writeable


def test_it_is_full_of_nan() -> None:
    assert np.isnan(empty((3, 5), np.float32)).all()
    assert np.isnan(empty(3, np.float16)).all()
    assert (empty(3, np.int32) == -1).all()


def test_zeros_and_copies() -> None:
    assert (zeros((2, 3), np.int64) == 0).all()
    values = np.arange(6.0).reshape(2, 3)
    copy = asarray(values.T, np.float32)
    assert copy.dtype == np.float32
    np.testing.assert_array_equal(copy, values.T)
    assert copy.flags.c_contiguous


def test_python_objects_are_refused() -> None:
    with pytest.raises(TypeError, match="a kernel knows no Python objects"):
        empty(3, object)


def test_views_are_guarded_and_other_arrays_are_not() -> None:
    array = empty((4, 4))
    assert is_guarded(array[1:, 2:])
    assert is_guarded(array.reshape(-1).view(np.int32))
    assert is_guarded(empty(0))
    assert not is_guarded(np.empty(4))


@pytest.mark.parametrize(("size", "slack"), [(4, 0), (5, 12), (1024, 0), (1027, 4)])
def test_beyond_the_slack_lies_a_page_that_cannot_be_touched(size: int, slack: int) -> None:
    code = f"""
import ctypes
from tests.emulator import empty
array = empty({size}, "f4")
end = array.ctypes.data + array.nbytes
ctypes.memset(end, 0, {slack})
print("alive", flush=True)
ctypes.string_at(end + {slack}, 1)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "alive\n", done.stderr
    assert done.returncode == -signal.SIGSEGV


@pytest.mark.parametrize(("offset", "side"), [(12, "after"), (15, "after"), (-1, "before"), (-200, "before")])
def test_a_byte_written_beside_an_array_is_seen_once(offset: int, side: str) -> None:
    array = zeros(3)
    check_margins("kernel")
    ctypes.memset(array.ctypes.data + offset, 0, 1)
    with pytest.raises(EmulatorError, match=f"^kernel: wrote {side} an array of 12 bytes, outside of it$"):
        check_margins("kernel")
    check_margins("kernel")


def test_memory_is_given_back() -> None:
    def mapped() -> int:
        return Path("/proc/self/maps").read_text().count("\n")

    gc.collect()
    before = mapped()
    for _ in range(200):
        view = empty(PAGE)[1:]
    del view
    assert mapped() < before + 100


def test_a_view_keeps_the_memory() -> None:
    view = asarray(np.arange(5.0))[3:]
    gc.collect()
    assert view.tolist() == [3.0, 4.0]

"""`FakeNvml`: pynvml on a library of our own instead of the driver's."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["BUS_ID", "FakeNvml"]

BUS_ID = "0000:07:00.0"
WHAT = ("utilisation", "memory", "power", "energy", "temperature", "clock", "throttles", "init", "handle")
SOURCE = Path(__file__).with_name("fake_nvml.c")


class FakeNvml:
    """One GPU at `BUS_ID` whose measures are set by name, in NVML's units, and whose functions can be made to fail."""

    def __init__(self, library: Path, patch: pytest.MonkeyPatch) -> None:
        pynvml = pytest.importorskip("pynvml")
        self._library = ctypes.CDLL(str(library))
        self._library.fake_set.argtypes = [ctypes.c_int, ctypes.c_ulonglong]
        patch.setattr(pynvml, "nvmlLib", None)
        patch.setattr(pynvml, "_nvmlLib_refcount", 0)
        patch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        patch.setattr(pynvml, "CDLL", lambda name: self._library)
        self._library.fake_forget()
        for what in WHAT:
            self.fail(what, 0)
        self.set(utilisation=87, memory=3 << 30, power=312_500, energy=5_000_000)
        self.set(temperature=61, clock=1410, throttles=0)

    def set(self, **values: int) -> None:
        """Measures from now on."""
        for what, value in values.items():
            self._library.fake_set(WHAT.index(what), value)

    def fail(self, what: str, code: int) -> None:
        """What a function returns from now on; 0 for success."""
        self._library.fake_fail(WHAT.index(what), code)

    @property
    def users(self) -> int:
        """How often it was initialised and not yet shut down."""
        return int(self._library.fake_users())


def build(folder: Path) -> Path:
    """Compile the library, or skip the test that needs it."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no gcc to compile the fake NVML with")
    library = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(SOURCE)], check=True)
    return library

"""Arrays as a GPU's libraries hand them over, on the emulated device, and a watch over what leaves it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends import cuda_backend
from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.estimators import base, held_out, inputs, solvers
from tests.conftest import ops_or_skip

__all__ = ["DeviceArray", "Watch", "given", "install"]


class DeviceArray(np.ndarray):
    """Memory of the emulated device, which is the host's with another name."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.ctypes.data, False),
            "version": 3,
        }


class Given:
    """What the user hands over: it can be read on the device, and by the host only on purpose, with `get`."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.memory = np.array(array).view(DeviceArray)
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim
        self.gets = 0

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self.memory.__cuda_array_interface__

    def __len__(self) -> int:
        return len(self.memory)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def get(self) -> np.ndarray[Any, Any]:
        """A copy on the host."""
        self.gets += 1
        return np.array(self.memory)


def given(array: Any) -> Given:
    """The array on the device."""
    return Given(np.asarray(array))


@dataclass
class Watch:
    """How many values came from the device at once, at most."""

    sizes: list[int] = field(default_factory=lambda: [0])


class StrictNumPy:
    """NumPy, but no function takes an array of the device."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(np, name)
        if not callable(value) or isinstance(value, type):
            return value

        def call(*arguments: Any, **settings: Any) -> Any:
            for argument in arguments:
                parts = argument if isinstance(argument, (list, tuple)) else [argument]
                if any(isinstance(part, (DeviceArray, Given)) for part in parts):
                    raise TypeError(f"np.{name} was given an array of the device")
            return value(*arguments, **settings)

        return call


def install(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Let "cuda" be the emulated device for estimators, whose own code may not read its arrays on the host."""
    emulated, watch = ops_or_skip("cuda-emulated"), Watch()

    def as_array(array: Any) -> Array:
        return array.memory if isinstance(array, Given) else emulated.as_array(array)

    def to_device(array: Any) -> Array:
        there = as_array(array)
        return there if isinstance(there, DeviceArray) else np.array(there).view(DeviceArray)

    def to_host(array: Array) -> np.ndarray[Any, Any]:
        watch.sizes.append(array.size)
        return np.array(array)

    ops: Ops = replace(emulated, as_array=as_array, to_device=to_device, to_host=to_host)
    monkeypatch.setattr(cuda_backend, "cuda_ops", lambda index: ops)
    monkeypatch.setattr(cuda_backend, "make_current", lambda index: None)
    for module in (base, held_out, inputs, solvers):
        monkeypatch.setattr(module, "np", StrictNumPy())
    return watch

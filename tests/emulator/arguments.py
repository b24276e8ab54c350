"""The arguments of a launch, checked against the kernel's parameters as its compiler saw them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["PackedArguments", "Parameter", "pack", "parse_signature"]

# What the kernel's side calls a kind, and the kinds of NumPy's types that have the same bits.
_NUMPY_KINDS = {"f": "f", "i": "i", "u": "u", "b": "b"}


@dataclass(frozen=True)
class Parameter:
    """One parameter: `kind` and `size` are those of the value or of what the pointer points to."""

    type_name: str
    is_pointer: bool
    is_constant: bool
    kind: str
    size: int

    def accepts(self, dtype: np.dtype[Any]) -> bool:
        """Whether elements of this type have the parameter's bits."""
        if self.kind == "void":
            return True
        if self.kind == "bfloat16":  # NumPy knows the type from ml_dtypes alone: its bits will do
            return dtype.name == "bfloat16" or (dtype.itemsize == 2 and dtype.kind in "uV")
        if self.kind == "half":
            return dtype.itemsize == 2 and dtype.kind in "fuV" and dtype.name != "bfloat16"
        if self.kind == "struct":
            return dtype.itemsize == self.size and dtype.kind == "V"
        return dtype.itemsize == self.size and dtype.kind in _NUMPY_KINDS[self.kind]


@dataclass(frozen=True)
class PackedArguments:
    """The addresses of the arguments' values; `kept` are those values, which must outlive the launch."""

    addresses: ctypes.Array[ctypes.c_void_p]
    arrays: tuple[np.ndarray[Any, Any], ...]
    kept: tuple[object, ...]


def parse_signature(text: str) -> tuple[Parameter, ...]:
    """From what the shared object says, a line for each parameter."""
    parameters = []
    for line in text.splitlines():
        pointer, constant, kind, size, name = line.split("|", 4)
        parameters.append(Parameter(name, pointer == "*", constant == "const", kind, int(size)))
    return tuple(parameters)


def pack(kernel: str, parameters: Sequence[Parameter], arguments: Sequence[Any]) -> PackedArguments:
    """Raises TypeError where an argument is not what the kernel takes."""
    if len(arguments) != len(parameters):
        raise TypeError(f"{kernel} takes {len(parameters)} arguments, but {len(arguments)} were given")
    kept: list[Any] = []
    arrays: list[np.ndarray[Any, Any]] = []
    addresses = (ctypes.c_void_p * max(1, len(arguments)))()
    for index, (parameter, argument) in enumerate(zip(parameters, arguments, strict=True)):
        place = f"{kernel}: argument {index} ({parameter.type_name})"
        if parameter.is_pointer:
            pointer = ctypes.c_void_p(_pointer(place, parameter, argument))
            if isinstance(argument, np.ndarray):
                arrays.append(argument)
            kept.append(pointer)
            addresses[index] = ctypes.addressof(pointer)
        else:
            value = _value(place, parameter, argument)
            kept.append(value)
            addresses[index] = value.ctypes.data
    return PackedArguments(addresses, tuple(arrays), tuple(kept))


def _pointer(place: str, parameter: Parameter, argument: Any) -> int | None:
    if argument is None:
        return None
    if not isinstance(argument, np.ndarray):
        raise TypeError(f"{place} takes an array or None, but {_shown(argument)} was given")
    fits = parameter.accepts(argument.dtype)
    if parameter.kind == "struct":  # float4* into an array of float32, say
        fits = argument.nbytes % parameter.size == 0
    if not fits:
        raise TypeError(f"{place} takes an array of that type, but one of {argument.dtype} was given")
    if not argument.flags.c_contiguous:
        given = f"one of shape {argument.shape} with strides {argument.strides}"
        raise TypeError(f"{place} takes a C-contiguous array, but {given} was given")
    if not (parameter.is_constant or argument.flags.writeable):
        raise TypeError(f"{place} takes an array that can be written to, but a read-only one was given")
    return int(argument.ctypes.data)


def _value(place: str, parameter: Parameter, argument: Any) -> np.ndarray[Any, Any]:
    """The value as the 0-dimensional array that holds its bytes."""
    if isinstance(argument, np.ndarray):
        raise TypeError(f"{place} takes a value, but {_shown(argument)} was given; use a NumPy scalar")
    if isinstance(argument, int) and not isinstance(argument, bool):
        return _integer(place, parameter, argument)
    value = np.asarray(argument)  # a Python float is 8 bytes here as for CuPy
    if not parameter.accepts(value.dtype):
        raise TypeError(f"{place} takes a value of that type, but {_shown(argument)} was given")
    return value


def _integer(place: str, parameter: Parameter, argument: int) -> np.ndarray[Any, Any]:
    """CuPy sends 8 bytes, of which the kernel reads as many as it wants: right where the number fits into those."""
    if parameter.kind not in "iu":
        raise TypeError(f"{place} takes a value of that type, but {_shown(argument)} was given")
    dtype = np.dtype(f"{parameter.kind}{parameter.size}")
    if not np.iinfo(dtype).min <= argument <= np.iinfo(dtype).max:
        raise TypeError(f"{place} takes a value of that type, but {argument} does not fit into it")
    return np.asarray(argument, dtype)


def _shown(argument: Any) -> str:
    if isinstance(argument, np.ndarray):
        return f"an array of {argument.dtype}"
    size = f" ({np.asarray(argument).dtype})" if isinstance(argument, (bool, int, float)) else ""
    return f"{argument!r} of type {type(argument).__name__}{size}"

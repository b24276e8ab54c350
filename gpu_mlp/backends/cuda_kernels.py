"""The sources of `cuda/*.cu`: found in a checkout or a wheel, expanded, compiled on first use, checked and launched.

A kernel's parameter list in its source is the one description of its arguments: types are checked against it, and
shapes by the axes that end a pointer's name (`f_bo` is (B, O)); the sizes that close the list (`long long B, int O`)
are read off the arrays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gpu_mlp.backends.base import Array
from gpu_mlp.errors import DeviceError, ShapeError

__all__ = [
    "FLOATS",
    "HALVES",
    "Compiler",
    "Kernel",
    "KernelLibrary",
    "Launch",
    "c_type",
    "kernel_source",
    "numpy_type",
    "parse_kernels",
]

# The compute types that kernels are compiled for, and those of factors that are rounded.
FLOATS = ("float", "double")
HALVES = ("bf16", "fp16")

_NUMPY_TYPES: Mapping[str, Any] = {
    "float": np.float32,
    "double": np.float64,
    "int": np.int32,
    "unsigned": np.uint32,
    "long long": np.int64,
    "fp16": np.float16,
    "unsigned long long": np.uint64,
}

_C_TYPES = {np.dtype(each): name for name, each in _NUMPY_TYPES.items()}


@cache
def numpy_type(name: str) -> Any:
    """What NumPy calls a type of a kernel's source. Raises DeviceError for bf16 where ml_dtypes is not installed."""
    if name != "bf16":
        return np.dtype(_NUMPY_TYPES[name])
    try:
        from ml_dtypes import bfloat16
    except ImportError as error:
        raise DeviceError(
            f"precision 'bf16' needs the bfloat16 of ml_dtypes, which cannot be imported ({error}); "
            "pip install ml_dtypes"
        ) from error
    return np.dtype(bfloat16)


_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"\n', re.MULTILINE)
_KERNEL = re.compile(
    r"(?:template <(?P<template>[^>]*)>|extern \"C\")\s*__global__ void\s*(?:__launch_bounds__\([\d, ]+\))?\s*"
    r"(?P<name>\w+)\((?P<parameters>[^)]*)\)"
)
_PARAMETER = re.compile(r"^(?:const )?(?P<type>[\w ]+?)(?P<pointer>\*?) (?P<name>\w+)$")


def c_type(array: Array) -> str:
    """What C calls the type of an array's elements. Raises ShapeError for one that no kernel takes."""
    name = "bf16" if array.dtype.name == "bfloat16" else _C_TYPES.get(array.dtype)
    if name is None:
        raise ShapeError(
            f"an array of {array.dtype} was given to a kernel; give {', '.join(map(str, _C_TYPES))}"
        )
    return name


class Launch(Protocol):
    """A compiled kernel, as CuPy's RawModule and the emulator of the tests hand it out."""

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], /) -> Any: ...


# Compiles (file name, expanded source, name) to a kernel; a template's name carries its arguments.
Compiler = Callable[[str, str, str], Launch]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel: its C type or the template's name for it, and the axes of an array."""

    name: str
    type: str
    pointer: bool

    @property
    def axes(self) -> str:
        """ "bo" of `dl_df_bo`, "" of `loss`."""
        return self.name.rpartition("_")[2] if self.pointer and "_" in self.name else ""


@dataclass(frozen=True)
class KernelDeclaration:
    """A kernel as its source declares it."""

    name: str
    template: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    sizes: tuple[Parameter, ...]


def kernel_folder() -> Path:
    """`gpu_mlp/_cuda` of a wheel, or `cuda` of a checkout."""
    package = Path(__file__).parents[1]
    for folder in (package / "_cuda", package.parent / "cuda"):
        if (folder / "packs.cuh").is_file():
            return folder
    raise DeviceError(
        f"the CUDA kernels are neither in {package / '_cuda'} nor in {package.parent / 'cuda'}; install gpu_mlp again"
    )


@cache
def kernel_source(file: str) -> str:
    """The source with its headers pasted in, each once: CuPy's cache looks at the source alone."""
    folder, pasted = kernel_folder(), set()

    def expanded(name: str) -> str:
        try:
            text = (folder / name).read_text(encoding="utf-8")
        except OSError as error:
            raise DeviceError(
                f"the CUDA source {folder / name} cannot be read ({error.strerror}); install gpu_mlp again"
            ) from error
        lines: list[str] = [f'#line 1 "{name}"\n']
        for number, line in enumerate(text.splitlines(keepends=True), 1):
            include = _INCLUDE.match(line)
            if include is None:
                lines.append("\n" if line.startswith("#pragma once") else line)
            elif include[1] not in pasted:
                pasted.add(include[1])
                lines += [expanded(include[1]), f'#line {number + 1} "{name}"\n']
        return "".join(lines)

    return expanded(file)


@cache
def parse_kernels(file: str) -> Mapping[str, KernelDeclaration]:
    """Every kernel that the file itself declares, by name."""
    declarations = {}
    for match in _KERNEL.finditer(kernel_source(file)):
        parameters = [_parameter(text.strip()) for text in match["parameters"].split(",")]
        split = next((i for i, each in enumerate(parameters) if each.name.isupper()), len(parameters))
        template = tuple(each.split()[-1] for each in (match["template"] or "").split(",") if each)
        declarations[match["name"]] = KernelDeclaration(
            match["name"], template, tuple(parameters[:split]), tuple(parameters[split:])
        )
    return declarations


def _parameter(text: str) -> Parameter:
    match = _PARAMETER.match(" ".join(text.split()))
    assert match is not None, f"a kernel's parameter {text!r} is written in a way that cannot be read"
    return Parameter(match["name"], match["type"], match["pointer"] == "*")


class Kernel:
    """One compiled kernel that checks what it is given: `kernel(grid, block, *arguments)`, without the sizes."""

    def __init__(self, declaration: KernelDeclaration, name: str, launch: Launch, device: Any) -> None:
        arguments = name.partition("<")[2].rpartition(">")[0].split(", ")
        types = dict(zip(declaration.template, arguments, strict=False))
        self.name = name
        self._launch = launch
        self._device = device
        self._checks: list[tuple[Parameter, Any]] = [
            (each, numpy_type(types.get(each.type, each.type))) for each in declaration.parameters
        ]
        self._sizes = [(size.name.lower(), numpy_type(size.type).type) for size in declaration.sizes]

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], *arguments: Any) -> None:
        """Launch it. Raises ShapeError for an array that is not what the source says; nothing is launched then."""
        if len(arguments) != len(self._checks):
            raise ShapeError(
                f"kernel {self.name} was given {len(arguments)} arguments, but takes {len(self._checks)}"
            )
        sizes: dict[str, int] = {}
        values = [
            self._checked(parameter, dtype, argument, sizes)
            for (parameter, dtype), argument in zip(self._checks, arguments, strict=True)
        ]
        values += [convert(sizes[axis]) for axis, convert in self._sizes]
        self._launch(grid, block, tuple(values))

    def _checked(self, parameter: Parameter, dtype: Any, argument: Any, sizes: dict[str, int]) -> Any:
        if not parameter.pointer:
            return dtype.type(argument)
        if not self._device.holds(argument):
            raise ShapeError(
                f"{parameter.name} of kernel {self.name} is a {type(argument).__module__}.{type(argument).__name__}"
                f"{self._device.place_of(argument)}, but must be an array on {self._device.name}; "
                "was `ops.to_device` forgotten?"
            )
        if argument.dtype != dtype or not argument.flags.c_contiguous:
            order = "" if argument.flags.c_contiguous else ", not C-contiguous"
            raise ShapeError(
                f"{parameter.name} of kernel {self.name} is {argument.dtype}{order}, "
                f"but must be C-contiguous {dtype}"
            )
        axes = parameter.axes
        if len(axes) != argument.ndim or any(
            sizes.setdefault(axis, size) != size for axis, size in zip(axes, argument.shape, strict=True)
        ):
            expected = ", ".join(f"{axis.upper()}={sizes.get(axis, '?')}" for axis in axes)
            raise ShapeError(
                f"{parameter.name} of kernel {self.name} has shape {argument.shape}, but must be ({expected})"
            )
        return argument


class ArrayPlace(Protocol):
    """Where a backend's arrays lie."""

    name: str

    def holds(self, argument: Any) -> bool:
        """Whether this is an array that a kernel may be handed."""

    def place_of(self, argument: Any) -> str:
        """For an error: " on cuda:1", or "" for what lies on no device."""


class KernelLibrary:
    """The kernels of one device, each compiled when it is first asked for."""

    def __init__(self, compiler: Compiler, place: ArrayPlace, multiprocessors: int) -> None:
        self.multiprocessors = multiprocessors
        self._compiler = compiler
        self._place = place
        self._kernels: dict[tuple[str, str], Kernel] = {}

    def get(self, file: str, name: str) -> Kernel:
        """`get("activation.cu", "bias_activation<float, activation::relu>")`"""
        kernel = self._kernels.get((file, name))
        if kernel is None:
            declaration = parse_kernels(file)[name.partition("<")[0]]
            launch = self._compiler(file, kernel_source(file), name)
            kernel = self._kernels[file, name] = Kernel(declaration, name, launch, self._place)
        return kernel

"""`Module` and `Function`: kernels compiled for the CPU, launched with the signature of CuPy's."""

from __future__ import annotations

import ctypes
import hashlib
import math
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tests.emulator.arguments import pack, parse_signature
from tests.emulator.compiler import MODES, RUNTIME, address_sanitizer_is_loaded, kernel_library
from tests.emulator.errors import EmulatorError
from tests.emulator.memory import check_margins, is_guarded
from tests.emulator.native import LaunchConfig, Statistics, runtime
from tests.emulator.translate import extern_c_kernels, translate

__all__ = ["MODE_VARIABLE", "ORDERS", "Function", "Module"]

MODE_VARIABLE = "GPU_MLP_EMULATOR_MODE"
ORDERS = ("forward", "reverse", "random", "warps")
DEFAULT_DYNAMIC_SHARED = 48 << 10
LARGEST_DYNAMIC_SHARED = 227 << 10
SIGNATURE_BYTES = 16384
EXPORTS_OF = "names of"  # a kernel's file, in the place of the file that exports its kernels
HEADER_SUFFIXES = (".cuh", ".h", ".hpp")


class Module:
    """The kernels of one source text.

    source: CUDA C++17, with what it includes pasted in (`#line` directives are honoured) or in `include_dirs`.
    filename: what messages call it.
    names: the template instances to compile, as `bias_activation<float, relu, false>`; kernels declared
        extern "C" need not be named.
    mode: "fast", "check" or "asan" (see `compiler.MODES`); by default that of GPU_MLP_EMULATOR_MODE, or "fast".
    include_dirs: folders whose headers the source may include.
    enable_cooperative_groups: whether launches are cooperative where the call does not say.

    Raises EmulatorError where g++ refuses the source.
    """

    def __init__(
        self,
        source: str,
        *,
        filename: str = "kernel.cu",
        names: Sequence[str] = (),
        mode: str | None = None,
        include_dirs: Sequence[str | Path] = (),
        enable_cooperative_groups: bool = False,
    ) -> None:
        self.mode = mode or os.environ.get(MODE_VARIABLE) or "fast"
        if self.mode not in MODES:
            raise ValueError(f"the mode is {self.mode!r}; choose one of {', '.join(MODES)}")
        if self.mode == "asan" and not address_sanitizer_is_loaded():
            raise EmulatorError(
                "the mode asan needs a process started with LD_PRELOAD=$(g++ -print-file-name=libasan.so)"
            )
        self.filename = filename
        self.enable_cooperative_groups = enable_cooperative_groups
        self._exports = {name: name for name in extern_c_kernels(source)}
        self._exports |= {name: _alias(name) for name in names}
        exports = "".join(f"CUDA_EMULATOR_EXPORT({alias}, {name})\n" for name, alias in self._exports.items())
        code = f'{translate(source, filename)}\n#line 1 "{EXPORTS_OF} {filename}"\n{exports}'
        self.path = kernel_library(code, filename, _headers(include_dirs), self.mode)
        runtime()
        self._library = ctypes.CDLL(str(self.path))

    def get_function(self, name: str) -> Function:
        """The kernel of this name, written as in `names`."""
        alias = self._exports.get(name)
        if alias is None:
            known = ", ".join(self._exports) or "none"
            raise EmulatorError(f"{self.filename} has no kernel {name}; there are: {known}")
        entry = ctypes.cast(self._library[f"emulator_entry_{alias}"], ctypes.c_void_p).value
        assert entry is not None
        signature = ctypes.create_string_buffer(SIGNATURE_BYTES)
        self._library[f"emulator_signature_{alias}"](signature)
        return Function(self, name, entry, signature.value.decode())

    def locate(self, message: str) -> str:
        """The message with its machine addresses replaced by lines of the source."""
        return re.sub(
            r"\[pc (0x[0-9a-f]+)\]", lambda match: self._lines(int(match[1], 16)) or match[0], message
        )

    def _lines(self, address: int) -> str | None:
        offset = self._file_offset(address)
        if offset is None:
            return None
        # The address is the one to return to, so the access stands before it.
        command = ["addr2line", "-s", "-i", "-e", str(self.path), hex(offset - 1)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = re.sub(r" \(discriminator \d+\)", "", done.stdout).split("\n")
        foreign = _runtime_files() | {f"{EXPORTS_OF} {self.filename}", "??"}
        own = [line for line in lines if line and line.rsplit(":", 1)[0] not in foreign]
        return f"[{' <- '.join(own[:2])}]" if own else None

    def _file_offset(self, address: int) -> int | None:
        for line in Path("/proc/self/maps").read_text().splitlines():
            span, _, offset, _, _, *path = line.split(maxsplit=5)
            low, high = (int(bound, 16) for bound in span.split("-"))
            if path == [str(self.path)] and low <= address < high:
                return address - low + int(offset, 16)
        return None


class Function:
    """One kernel. `statistics` tells what its last launch did."""

    def __init__(self, module: Module, name: str, entry: int, signature: str) -> None:
        self.name = name
        self.parameters = parse_signature(signature)
        self.statistics: Statistics | None = None
        self._module = module
        self._entry = entry
        self._max_dynamic_shared = DEFAULT_DYNAMIC_SHARED

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        """As CuPy's: how much dynamic shared memory a launch may ask for, 48 KiB until it is set."""
        return self._max_dynamic_shared

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, size: int) -> None:
        if not 0 <= size <= LARGEST_DYNAMIC_SHARED:
            raise ValueError(
                f"a block has at most {LARGEST_DYNAMIC_SHARED} bytes of shared memory, not {size}"
            )
        self._max_dynamic_shared = int(size)

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: Sequence[Any],
        shared_mem: int = 0,
        *,
        cooperative: bool | None = None,
        blocks: tuple[int, int] | None = None,
        order: str = "random",
        seed: int = 0,
        preemption: float = 0.0,
        timeout: float = 60.0,
    ) -> None:
        """Run the kernel; when this returns, every block has ended.

        args: NumPy arrays for pointers, NumPy scalars for values, with the bits that the kernel reads. Arrays
            made by `memory` are guarded; others are as large as the array that owns their memory.
        blocks: number of the first block that runs, counted along x first, and how many do; all where None. For
            sizes at which nobody can wait for all of them.
        order: how threads take turns: "forward", "reverse", "random", or whole "warps" at random.
        seed: of everything random in the launch.
        preemption: in mode "check", the chance that a thread gives way at a memory access.
        timeout: seconds of processor time, after which the launch is ended.

        Raises TypeError for arguments that the kernel does not take, EmulatorError for what it does wrong.
        """
        packed = pack(self.name, self.parameters, args)
        if order not in ORDERS:
            raise ValueError(f"the order is {order!r}; choose one of {', '.join(ORDERS)}")
        checked = self._module.mode == "check"
        whole = math.prod(_three("grid", grid))
        first, count = blocks or (0, whole)
        if not 0 <= first < first + count <= whole:
            raise ValueError(
                f"{count} blocks from number {first} on were asked for, but the grid has {whole}"
            )
        config = LaunchConfig(
            grid=_three("grid", grid),
            block=_three("block", block),
            dynamic_shared_bytes=int(shared_mem),
            largest_dynamic_shared_bytes=self._max_dynamic_shared,
            seed=seed + 1,
            first_block=first,
            block_count=count,
            preemption=preemption if checked else 0.0,
            order=ORDERS.index(order),
            cooperative=self._module.enable_cooperative_groups if cooperative is None else cooperative,
            check_accesses=checked,
            timeout_seconds=timeout,
        )
        with _registered(packed.arrays):
            self.statistics, message = runtime().launch(self._entry, packed.addresses, config)
        if message:
            raise EmulatorError(f"{self.name}: {self._module.locate(message)}")
        check_margins(self.name)


def _alias(name: str) -> str:
    """A C name for a template instance."""
    return "instance_" + hashlib.sha256(name.encode()).hexdigest()[:16]


def _headers(folders: Sequence[str | Path]) -> dict[str, str]:
    """The translated headers by name; where two folders have one of the same name, that of the first."""
    headers: dict[str, str] = {}
    for folder in folders:
        for path in sorted(Path(folder).iterdir()):
            if path.suffix in HEADER_SUFFIXES and path.name not in headers:
                headers[path.name] = f'#line 1 "{path.name}"\n{translate(path.read_text(), path.name)}'
    return headers


def _runtime_files() -> set[str]:
    return {path.name for path in RUNTIME.glob("**/*.*")}


def _three(what: str, sizes: Sequence[int]) -> tuple[int, int, int]:
    if not 1 <= len(sizes) <= 3 or any(not 0 < int(size) < 1 << 32 for size in sizes):
        raise ValueError(f"the {what} is {tuple(sizes)}; give one to three positive numbers")
    x, y, z = (*(int(size) for size in sizes), 1, 1)[:3]
    return x, y, z


@contextmanager
def _registered(arrays: Sequence[np.ndarray[Any, Any]]) -> Iterator[None]:
    """Make arrays from elsewhere known while a launch runs, so that races on them are seen."""
    spans: dict[int, tuple[int, str]] = {}
    for array in arrays:
        if not is_guarded(array):
            owner = _owner(array)
            low, high = np.lib.array_utils.byte_bounds(owner)
            if owner.size:
                spans[low] = (high - low, f"{owner.dtype}{list(owner.shape)}")
    for start, (size, name) in spans.items():
        runtime().register(start, size, 0, size, name)
    try:
        yield
    finally:
        for start in spans:
            runtime().unregister(start)


def _owner(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array

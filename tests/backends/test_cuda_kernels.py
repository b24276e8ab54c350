"""Sources found, expanded and read; arguments checked before a launch; every kernel in the list and on the map."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends import cuda_kernels
from gpu_mlp.backends.cuda_kernels import (
    KernelLibrary,
    c_type,
    kernel_folder,
    kernel_source,
    parse_kernels,
)
from gpu_mlp.backends.fused import INSTANTIATIONS
from gpu_mlp.errors import DeviceError, ShapeError
from tests.backends.emulated import EmulatedPlace

RELU = "bias_activation<float, activation::relu>"


class Launches(list[tuple[Any, ...]]):
    """A compiler whose kernels only write down how they were launched."""

    def __call__(self, file: str, source: str, name: str) -> Any:
        return lambda *launch: self.append(launch)


@pytest.fixture
def launches() -> Launches:
    return Launches()


def kernel(launches: Launches, file: str = "activation.cu", name: str = RELU) -> Callable[..., None]:
    return KernelLibrary(launches, EmulatedPlace(), 1).get(file, name)


def arrays(dtype: str = "float32") -> list[Any]:
    """beta (5,), f and h (3, 5)."""
    return [np.zeros(shape, dtype) for shape in (5, (3, 5), (3, 5))]


def test_sizes_are_read_off_the_arrays_and_sent_in_the_types_of_c(launches: Launches) -> None:
    given = arrays()
    kernel(launches)((2, 1), (256, 1), *given)
    grid, block, (beta, f, h, rows, outputs) = launches[0]
    assert (grid, block) == ((2, 1), (256, 1))
    assert all(sent is own for sent, own in zip((beta, f, h), given, strict=True))
    assert (rows, type(rows)) == (3, np.int64)
    assert (outputs, type(outputs)) == (5, np.int32)


def test_numbers_are_sent_in_the_type_of_the_instantiation(launches: Launches) -> None:
    """CuPy would send a Python float as 8 bytes."""
    for float_type, dtype in (("float", np.float32), ("double", np.float64)):
        clip = kernel(launches, "norm.cu", f"clip_coefficient<{float_type}>")
        clip((1,), (256,), np.zeros(3, dtype), np.zeros((), dtype), np.zeros((), dtype), 0.5)
        *_, largest, parts = launches[-1][2]
        assert (largest, type(largest)) == (0.5, dtype)
        assert (parts, type(parts)) == (3, np.int32)


class Elsewhere:
    """An array of another library."""


def sliced() -> Any:
    return np.zeros((3, 10), np.float32)[:, ::2]


@pytest.mark.parametrize(
    ("place", "wrong", "message"),
    [
        (0, np.zeros(5, np.float64), "beta_o of kernel .* is float64, but must be C-contiguous float32"),
        (1, np.zeros((3, 5), np.int32), "f_bo of kernel .* is int32, but must be C-contiguous float32"),
        (1, sliced(), "f_bo .* is float32, not C-contiguous, but must be C-contiguous float32"),
        (2, np.zeros((3, 4), np.float32), r"h_bo .* has shape \(3, 4\), but must be \(B=3, O=5\)"),
        (2, np.zeros((3, 5, 1), np.float32), r"h_bo .* has shape \(3, 5, 1\), but must be \(B=3, O=5\)"),
        (0, np.zeros((), np.float32), r"beta_o .* has shape \(\), but must be \(O=\?\)"),
        (1, [0.0] * 15, "f_bo .* is a builtins.list, but must be an array on the emulator"),
        (1, Elsewhere(), r"Elsewhere, but must be an array on the emulator; was `ops.to_device` forgotten\?"),
    ],
)
def test_a_wrong_array_is_named_and_nothing_is_launched(
    launches: Launches, place: int, wrong: Any, message: str
) -> None:
    given = arrays()
    given[place] = wrong
    with pytest.raises(ShapeError, match=message):
        kernel(launches)((1,), (256,), *given)
    assert not launches


def test_a_wrong_number_of_arguments_is_named(launches: Launches) -> None:
    with pytest.raises(ShapeError, match="was given 2 arguments, but takes 3"):
        kernel(launches)((1,), (256,), *arrays()[:2])
    assert not launches


def test_a_type_without_kernels_is_named() -> None:
    with pytest.raises(
        ShapeError, match="an array of complex64 was given to a kernel; give float32, float64"
    ):
        c_type(np.zeros(3, np.complex64))


def test_a_kernel_is_compiled_once() -> None:
    compiled = []

    def compiler(file: str, source: str, name: str) -> Any:
        compiled.append((file, name))
        return lambda *launch: None

    library = KernelLibrary(compiler, EmulatedPlace(), 1)
    assert library.get("activation.cu", RELU) is library.get("activation.cu", RELU)
    assert compiled == [("activation.cu", RELU)]


def test_headers_are_pasted_once_with_their_lines() -> None:
    source = kernel_source("activation.cu")
    assert '#include "' not in source
    assert "#pragma once" not in source
    for header in ("activations.cuh", "maths.cuh", "packs.cuh", "philox.cuh"):
        assert source.count(f'#line 1 "{header}"') == 1
    # After a header the count of the file itself goes on where its next line stands.
    own = (kernel_folder() / "activation.cu").read_text().splitlines()
    for number, name in re.findall(r'#line (\d+) "(activation\.cu)"\n', source)[1:]:
        following = source.partition(f'#line {number} "{name}"\n')[2].splitlines()[0]
        assert following in (
            own[int(number) - 1],
            *(f'#line 1 "{header}.cuh"' for header in ("halves", "packs", "philox")),
        )


FILES = sorted(path.name for path in kernel_folder().glob("*.cu"))


@pytest.mark.parametrize("file", FILES)
def test_every_kernel_is_read_listed_and_on_the_map(file: str) -> None:
    written = set(
        re.findall(r"(\w+)\(", "".join(re.findall(r"__global__ void.*?\)", _plain(file), re.DOTALL)))
    )
    assert set(parse_kernels(file)) == written
    assert {name.partition("<")[0] for name in INSTANTIATIONS[file]} == written
    assert len(set(INSTANTIATIONS[file])) == len(INSTANTIATIONS[file])
    page = (kernel_folder() / "README.md").read_text()
    assert file in page
    for name in written - {"rmsprop", "rmsprop_momentum", "sgd_momentum", "adagrad", "adam"}:
        assert f"`{name}`" in page, f"{name} is missing in cuda/README.md"


def _plain(file: str) -> str:
    """The file's own text without launch bounds."""
    return re.sub(r"__launch_bounds__\([^)]*\)\s*", "", (kernel_folder() / file).read_text())


def test_no_other_file_is_asked_for() -> None:
    assert sorted(INSTANTIATIONS) == FILES


def test_an_installation_without_kernels_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cuda_kernels, "__file__", str(tmp_path / "gpu_mlp" / "backends" / "cuda_kernels.py"))
    with pytest.raises(DeviceError, match=r"kernels are neither in .*_cuda nor in .*cuda; install"):
        kernel_folder()


def test_a_source_that_is_missing_is_a_sentence() -> None:
    with pytest.raises(DeviceError, match=r"the CUDA source .*nothing.cu cannot be read \(No such file"):
        kernel_source("nothing.cu")

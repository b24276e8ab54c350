"""Every kernel that the backend can ask for, compiled for every architecture: it fits, and moves 16 bytes at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from gpu_mlp.backends.cuda_kernels import kernel_folder, kernel_source, parse_kernels
from gpu_mlp.backends.fused import INSTANTIATIONS
from tests.cuda.builds import ARCHITECTURES, Resources, build, build_source
from tests.cuda.compiler import CompileError, unavailable_reason

NEEDS_NVRTC = pytest.mark.skipif(unavailable_reason() is not None, reason=str(unavailable_reason()))

_KERNEL = re.compile(r"__global__ void\s*(?:__launch_bounds__\([^)]*\))?\s*(\w+)\(")


def packs_of(source: str) -> dict[str, tuple[int, int]]:
    """How many loads and stores of a pack every kernel makes: those in its body, or of all arrays of an optimizer."""
    parts = _KERNEL.split(source)
    return {name: _packs(body) for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def _packs(body: str) -> tuple[int, int]:
    if "update_each(" in body:
        parameters = body.partition(")")[0]
        return len(re.findall(r"T\* ", parameters)), len(re.findall(r"(?<!const )T\* ", parameters))
    if "  gather(" in body:
        return 1, 1
    return body.count("load<COUNT>("), body.count("store(")


# Kernels that read float32 and write a half type.
NARROWS = re.compile(r"^to_factors|<float, (bf16|fp16)>$")


def faults(source: str, kernels: Mapping[str, Resources]) -> Iterator[str]:
    """Everything that is wrong with the kernels of a source."""
    packs = packs_of(source)
    for name, needs in kernels.items():
        if needs.spilled:
            yield f"{name} spills: {needs.spilled} bytes of stores and loads"
        if needs.stack:
            yield f"{name} keeps {needs.stack} bytes of every thread in memory"
        allowed = min(255, 65536 // needs.threads // 8 * 8)
        if needs.registers > allowed:
            yield f"{name} takes {needs.registers} registers, but a block of {needs.threads} has {allowed} for each"
        loads, stores = packs[name.partition("<")[0]]
        if "activation_gradient" in name and "identity" in name:
            loads -= 1  # its gradient does not look at f
        if NARROWS.search(name):
            stores = 0  # four numbers of two bytes
        if needs.wide_loads < loads or needs.wide_stores < stores:
            yield (
                f"{name} has {needs.wide_loads} loads and {needs.wide_stores} stores of 16 bytes, "
                f"but must have {loads} and {stores}"
            )


@NEEDS_NVRTC
@pytest.mark.parametrize("file", INSTANTIATIONS)
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_kernel_compiles_and_fits(file: str, arch: int) -> None:
    kernels = build(file, arch).kernels
    assert tuple(kernels) == INSTANTIATIONS[file]
    assert list(faults(kernel_source(file), kernels)) == []


def test_every_kernel_of_every_file_is_instantiated() -> None:
    assert set(INSTANTIATIONS) == {path.name for path in kernel_folder().glob("*.cu")}
    for file, names in INSTANTIATIONS.items():
        assert {name.partition("<")[0] for name in names} == set(parse_kernels(file)), file


def test_packs_are_counted() -> None:
    assert packs_of(kernel_source("optimizer.cu"))["adam"] == (4, 3)
    assert packs_of(kernel_source("rows.cu"))["gather_rows"] == (1, 1)
    assert packs_of(kernel_source("rows.cu"))["gather_batch"] == (1, 1)
    assert packs_of(kernel_source("norm.cu")) == {
        "squares": (1, 0),
        "clip_coefficient": (0, 0),
        "scale": (1, 1),
        "penalize": (2, 1),
        "add_penalty": (0, 0),
        "unscale": (1, 1),
        "adjust_scale": (0, 0),
    }


# ---- what must be seen


def changed(file: str, right: str, wrong: str) -> str:
    """The source with a mistake."""
    source = kernel_source(file)
    assert right in source
    return source.replace(right, wrong)


@NEEDS_NVRTC
def test_a_spill_is_seen() -> None:
    source = changed("optimizer.cu", "__launch_bounds__(256, 1)", "__launch_bounds__(1024, 2)")
    kernels = build_source("optimizer.cu", source, ["adam<double>"], 90).kernels
    (fault, *_) = faults(source, kernels)
    assert fault.startswith("adam<double> spills: ")
    assert kernels["adam<double>"].threads == 1024


@NEEDS_NVRTC
def test_local_memory_is_seen() -> None:
    source = """
extern "C" __global__ void __launch_bounds__(256, 1) pick(float* x_n, const int* at_n) {
  float mine[64];
  for (int i = 0; i < 64; ++i) mine[at_n[i]] = x_n[i];
  x_n[threadIdx.x] = mine[at_n[threadIdx.x]];
}
"""
    kernels = build_source("pick.cu", source, ["pick"], 90).kernels
    assert list(faults(source, kernels)) == ["pick keeps 256 bytes of every thread in memory"]


@NEEDS_NVRTC
def test_a_pack_that_is_moved_number_by_number_is_seen() -> None:
    source = changed("optimizer.cu", "struct alignas(COUNT * sizeof(T)) Pack", "struct Pack")
    kernels = build_source("optimizer.cu", source, ["adam<float>", "adam<double>"], 80).kernels
    assert list(faults(source, kernels)) == [
        f"{name} has 0 loads and 0 stores of 16 bytes, but must have 4 and 3" for name in kernels
    ]


@NEEDS_NVRTC
def test_a_mistake_in_the_source_is_seen_with_its_line() -> None:
    source = changed("norm.cu", "sum += partial_p[p];", "sum += partial_p[q];")
    with pytest.raises(
        CompileError, match=r'refuses norm.cu for sm_120:\nnorm.cu\(16\): error: .*"q" is undefined'
    ):
        build_source("norm.cu", source, ["clip_coefficient<float>"], 120)


@NEEDS_NVRTC
@pytest.mark.parametrize("name", ["adam<flaot>", "adma<float>"])
def test_a_misspelt_instantiation_is_seen(name: str) -> None:
    with pytest.raises(CompileError, match=rf"refuses optimizer.cu for sm_75:\n(.*\n)*.*{name}"):
        build_source("optimizer.cu", kernel_source("optimizer.cu"), [name], 75)


@NEEDS_NVRTC
def test_inline_assembly_that_the_architecture_lacks_is_seen() -> None:
    source = """
extern "C" __global__ void wait() { asm volatile("cp.async.wait_all;"); }
"""
    assert build_source("wait.cu", source, ["wait"], 80).kernels
    with pytest.raises(CompileError, match=r"refuses wait.cu for sm_75:\n.*requires .target sm_80"):
        build_source("wait.cu", source, ["wait"], 75)


@NEEDS_NVRTC
def test_a_store_that_the_compiler_leaves_out_is_seen() -> None:
    """As NVRTC 13.5 does with a pack of pointers that one generic lambda takes from another."""
    source = changed("optimizer.cu", "(store(state.from, state.pack), ...);", "")
    kernels = build_source("optimizer.cu", source, ["adam<float>"], 90).kernels
    assert list(faults(source, kernels)) == [
        "adam<float> has 4 loads and 1 stores of 16 bytes, but must have 4 and 3"
    ]


@NEEDS_NVRTC
def test_a_kernel_that_nobody_asks_for_is_seen() -> None:
    with pytest.raises(
        CompileError, match="holds kernels that no instantiation asks for: load_clock, set_clock"
    ):
        build_source("rows.cu", kernel_source("rows.cu"), ["row_shares<float>"], 90)


def test_too_many_registers_are_seen() -> None:
    source = kernel_source("loss.cu")
    fits = Resources(threads=1024, registers=64, shared=0, stack=0, spilled=0, wide_loads=0, wide_stores=0)
    assert list(faults(source, {"mean_loss<float>": fits})) == []
    (fault,) = faults(source, {"mean_loss<float>": replace(fits, registers=65)})
    assert fault == "mean_loss<float> takes 65 registers, but a block of 1024 has 64 for each"

"""`__shared__` becomes C++, line for line, and extern "C" kernels are found."""

from __future__ import annotations

import pytest

from tests.emulator import EmulatorError
from tests.emulator.translate import extern_c_kernels, translate


def static(name: str, declaration: str) -> str:
    """What a static variable becomes."""
    return (
        f"struct shared_{name} {{ {declaration}; }}; "
        f"auto& {name} = cuda_emulator::shared_variable<shared_{name}>().value;"
    )


STATIC = {
    "__shared__ float total;": static("total", "float value"),
    "__shared__ float tile[8][TILE + 1];": static("tile", "float value[8][TILE + 1]"),
    "static __shared__ int n;": static("n", "int value"),
    "__shared__ unsigned long long n[2];": static("n", "unsigned long long value[2]"),
    "__shared__ volatile float flags[4];": static("flags", "volatile float value[4]"),
    "__shared__ const float* rows[4];": static("rows", "const float* value[4]"),
    "__shared__ typename Traits<T, 3>::Pair pair;": static("pair", "typename Traits<T, 3>::Pair value"),
    "__shared__ __align__(16) float t[4];": static("t", "__align__(16) float value[4]"),
    "__shared__ alignas(16) T t[4];": static("t", "alignas(16) T value[4]"),
    "__shared__ float a[2], b, c[f<1, 2>()];": " ".join(
        [static("a", "float value[2]"), static("b", "float value"), static("c", "float value[f<1, 2>()]")]
    ),
}


@pytest.mark.parametrize("source", STATIC)
def test_a_static_declaration(source: str) -> None:
    assert translate(f"  {source} x = 1;", "a.cu") == f"  {STATIC[source]} x = 1;"


@pytest.mark.parametrize("alignment", ["", "__align__(16) ", "alignas(16) "])
def test_a_dynamic_declaration(alignment: str) -> None:
    source = f"extern __shared__ {alignment}unsigned char bytes[];"
    assert translate(source, "a.cu") == (
        "unsigned char* bytes = cuda_emulator::dynamic_shared_memory<unsigned char>();"
    )


def test_lines_keep_their_numbers() -> None:
    source = "a;\n__shared__ float\n  tile[2]\n  [3];\nb;"
    translated = translate(source, "a.cu")
    assert "value[2] [3]" in translated
    assert translated.count("\n") == source.count("\n")
    assert translated.splitlines()[4] == "b;"


@pytest.mark.parametrize(
    "source",
    [
        "// __shared__ float tile[2];",
        "/* __shared__ float\n tile[2]; */",
        'const char* text = "__shared__ float tile[2];";',
        "int my__shared__ = 2;",
    ],
)
def test_what_is_no_declaration_stays(source: str) -> None:
    assert translate(source, "a.cu") == source


@pytest.mark.parametrize("declaration", ["__shared__ float t[2] = {};", "__shared__ struct { int a; } t;"])
def test_what_is_not_understood_is_refused(declaration: str) -> None:
    with pytest.raises(EmulatorError, match=r"a\.cu:2: this __shared__ declaration is not understood"):
        translate(f"\n{declaration}", "a.cu")
    with pytest.raises(EmulatorError, match=r"b\.cuh:41: this __shared__ declaration is not understood"):
        translate(f'\n#line 40 "b.cuh"\n\n{declaration}', "a.cu")


def test_a_dynamic_array_with_a_size_is_refused() -> None:
    with pytest.raises(EmulatorError, match=r"extern __shared__ t\[2\]: dynamic .* declared with \[\]"):
        translate("extern __shared__ float t[2];", "a.cu")


def test_kernels_with_c_names_are_found_in_their_order() -> None:
    source = """
    extern "C" __global__ void first(int a) {}
    // extern "C" __global__ void in_a_comment(int a) {}
    extern "C" __global__ void __launch_bounds__((32) * 4, 2)
        second (float* x) {}
    __global__ void has_a_cpp_name() {}
    extern "C" {
      __device__ float helper() { if (true) { return 1; } }
      __global__ __launch_bounds__(32) void third() { { } }
    }
    template <class T> __global__ void instance(T x) {}
    extern "C" __global__ void fourth() {}
    """
    assert extern_c_kernels(source) == ["first", "second", "third", "fourth"]

"""An argument has the bits that the kernel reads, or a TypeError says what the kernel takes there and what came."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tests.emulator import Function, Module, empty

pytestmark = pytest.mark.usefixtures("emulator")

SOURCE = """
#include <cuda_bf16.h>
#include <cuda_fp16.h>
template <class T> __global__ void takes(T argument, int* marker) { *marker = 1; }
"""
TYPES = (
    *(
        "const float*",
        "float*",
        "double*",
        "int*",
        "unsigned*",
        "long long*",
        "unsigned char*",
        "bool*",
        "void*",
    ),
    *("__half*", "__nv_bfloat16*", "float4*"),
    *("float", "double", "int", "unsigned", "long long", "unsigned long long", "size_t", "bool", "__half"),
)
NAMES = tuple(f"takes<{name}>" for name in TYPES)


def taking(type_name: str) -> Function:
    """A kernel with one argument of the type."""
    return Module(SOURCE, filename="takes.cu", names=NAMES).get_function(f"takes<{type_name}>")


def launch(type_name: str, argument: Any) -> None:
    """Fails unless the kernel ran."""
    marker = np.zeros(1, np.int32)
    taking(type_name)((1,), (1,), (argument, marker))
    assert marker[0] == 1


def array(dtype: str, n: int = 4) -> Any:
    return np.zeros(n, dtype)


ACCEPTED: list[tuple[str, Any]] = [
    ("const float*", array("f4")), ("float*", array("f4")), ("double*", array("f8")), ("int*", array("i4")),
    ("unsigned*", array("u4")), ("long long*", array("i8")), ("unsigned char*", array("u1")), ("bool*", array("?")),
    ("void*", array("f8")), ("__half*", array("f2")), ("__half*", array("u2")), ("__nv_bfloat16*", array("u2")),
    ("__nv_bfloat16*", array("V2")), ("float4*", array("f4")), ("float4*", array("V16")), ("float*", None),
    ("float*", array("f4", 0)), ("float*", np.zeros((2, 3), "f4")), ("float*", np.zeros((), "f4")),
    ("float", np.float32(1)), ("double", np.float64(1)), ("double", 1.0), ("int", np.int32(1)), ("int", 1), ("int", -1),
    ("unsigned", np.uint32(1)), ("unsigned", 1), ("long long", np.int64(1)), ("long long", 1 << 40),
    ("unsigned long long", np.uint64(1)), ("unsigned long long", (1 << 64) - 1), ("size_t", np.uint64(1)),
    ("bool", True), ("bool", np.bool_(False)), ("__half", np.float16(1)),
]  # fmt: skip


@pytest.mark.parametrize(("type_name", "argument"), ACCEPTED, ids=lambda value: repr(value)[:40])
def test_what_has_the_right_bits_is_taken(type_name: str, argument: Any) -> None:
    launch(type_name, argument)


REFUSED: list[tuple[str, Any, str]] = [
    ("float*", array("f8"), "takes an array of that type, but one of float64 was given"),
    ("float*", array("i4"), "takes an array of that type, but one of int32 was given"),
    ("int*", array("u4"), "takes an array of that type, but one of uint32 was given"),
    ("int*", array("i8"), "takes an array of that type, but one of int64 was given"),
    ("bool*", array("u1"), "takes an array of that type, but one of uint8 was given"),
    ("__half*", array("f4"), "takes an array of that type, but one of float32 was given"),
    ("__nv_bfloat16*", array("f2"), "takes an array of that type, but one of float16 was given"),
    ("float4*", array("f4", 5), "takes an array of that type, but one of float32 was given"),
    ("float*", array("f4", 8)[::2], r"takes a C-contiguous array, but one of shape \(4,\) with strides \(8,\)"),
    ("float*", np.broadcast_to(np.zeros((), "f4"), 4), "takes a C-contiguous array"),
    ("float*", [1.0, 2.0], r"takes an array or None, but \[1.0, 2.0\] of type list was given"),
    ("float*", 0, r"takes an array or None, but 0 of type int \(int64\) was given"),
    ("float", 1.0, r"takes a value of that type, but 1.0 of type float \(float64\) was given"),
    ("float", 1, r"takes a value of that type, but 1 of type int \(int64\) was given"),
    ("float", np.float64(1), r"takes a value of that type, but np.float64\(1.0\) of type float64"),
    ("double", np.float32(1), r"takes a value of that type, but np.float32\(1.0\) of type float32"),
    ("int", np.int64(1), r"takes a value of that type, but np.int64\(1\) of type int64"),
    ("int", 1.0, "takes a value of that type, but 1.0 of type float"),
    ("int", True, r"takes a value of that type, but True of type bool \(bool\)"),
    ("int", 1 << 31, "takes a value of that type, but 2147483648 does not fit into it"),
    ("unsigned", -1, "takes a value of that type, but -1 does not fit into it"),
    ("long long", np.int32(1), r"takes a value of that type, but np.int32\(1\) of type int32"),
    ("float", array("f4", 1), "takes a value, but an array of float32 was given; use a NumPy scalar"),
    ("bool", np.int8(1), "takes a value of that type"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("type_name", "argument", "message"),
    REFUSED,
    ids=lambda value: str(value)[:40] if isinstance(value, str) else "",
)
def test_what_has_not_is_refused(type_name: str, argument: Any, message: str) -> None:
    shown = {"size_t": "unsigned long", "unsigned": "unsigned int", "long long": "long long int"}.get(
        type_name, type_name
    )
    place = re.escape(f"takes<{type_name}>: argument 0 ({shown})")
    with pytest.raises(TypeError, match=f"^{place} {message}"):
        launch(type_name, argument)


def test_a_read_only_array_is_no_output() -> None:
    frozen = array("f4")
    frozen.flags.writeable = False
    launch("const float*", frozen)
    with pytest.raises(
        TypeError, match="takes an array that can be written to, but a read-only one was given"
    ):
        launch("float*", frozen)


def test_arguments_are_counted() -> None:
    with pytest.raises(TypeError, match=r"^takes<int> takes 2 arguments, but 1 were given$"):
        taking("int")((1,), (1,), (np.int32(1),))


def test_bfloat16_of_ml_dtypes_is_taken() -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    launch("__nv_bfloat16*", np.zeros(4, bfloat16))
    launch("__nv_bfloat16*", empty(4, bfloat16))
    with pytest.raises(TypeError, match="but one of bfloat16 was given"):
        launch("__half*", np.zeros(4, bfloat16))


def test_values_arrive_whole() -> None:
    source = """
    extern "C" __global__ void keep(long long a, unsigned b, double c, bool d, float e, double* out) {
      out[0] = a; out[1] = b; out[2] = c; out[3] = d; out[4] = e;
    }"""
    out = empty(5, np.float64)
    arguments = (
        np.int64(-(1 << 40)),
        np.uint32(0xFFFFFFFF),
        np.float64(0.1),
        np.bool_(True),
        np.float32(0.5),
    )
    Module(source).get_function("keep")((1,), (1,), (*arguments, out))
    assert out.tolist() == [-(2.0**40), 2.0**32 - 1, 0.1, 1.0, 0.5]

"""Planned matrix products by cuBLASLt, through the bindings of nvmath-python.

CuPy's own products cannot be captured in a CUDA graph; these can: a plan is made once for a shape, a type, an alignment
and an epilogue, has its own workspace, and a product is then one call on the current stream.

cuBLASLt reads memory column by column, so a row-major matrix (r, c) is handed over as the (c, r) matrix that is its
transpose:

    f^T = Omega h^T             (O, B): A = omega, transposed, B = h
    (dL/dOmega)^T = h^T dL/df   (I, O): A = h, B = dl_df, transposed
    (dL/dh)^T = Omega^T (dL/df)^T   (I, B): A = omega, B = dl_df
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeAlias

import numpy as np

from gpu_mlp.backends.base import Array
from gpu_mlp.errors import DeviceError

__all__ = ["WORKSPACE_BYTES", "LtProducts", "Timer", "import_cublaslt"]

logger = logging.getLogger("gpu_mlp")

# What Hopper's fastest algorithms ask for.
WORKSPACE_BYTES = 32 << 20
CANDIDATES = 8
TIMED_CANDIDATES = 4

# Seconds on the device that a call takes.
Timer: TypeAlias = Callable[[Callable[[], None]], float]
LARGEST_ALIGNMENT = 256

# Values of cudaDataType_t and cublasComputeType_t, which the bindings take as numbers.
_DATA_TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}
_STRICT = {"float32": 68, "float64": 70, "float16": 68, "bfloat16": 68}
_TF32 = 77
# Those that add beta, by the activation that comes after.
_EPILOGUES = {"identity": "BIAS", "relu": "RELU_BIAS"}


@cache
def import_cublaslt() -> Any:
    """The module `nvmath.bindings.cublasLt`, or None, with a line in the log, where it cannot be imported."""
    try:
        from nvmath.bindings import cublasLt
    except ImportError as error:
        logger.warning(
            "matrix products go through CuPy and steps are not captured, since nvmath-python cannot be imported (%s); "
            "pip install nvmath-python",
            error,
        )
        return None
    return cublasLt


@dataclass(frozen=True)
class _Problem:
    """D (m, n) = op(A) op(B) over k, column-major with no gaps between columns."""

    m: int
    n: int
    k: int
    transposed_a: bool
    transposed_b: bool
    factors: np.dtype[Any]  # the type of A and B
    result: np.dtype[Any]  # that of D
    tf32: bool
    alignments: tuple[int, int, int]
    epilogue: str


class _Plan:
    """The descriptors of one problem and the algorithm that cuBLASLt thinks fastest."""

    def __init__(self, lt: Any, handle: int, problem: _Problem, workspace_bytes: int) -> None:
        self._lt = lt
        factors, result = problem.factors.name, problem.result.name
        # alpha and beta of D = alpha A B + beta C, in the type that is computed in.
        scalars = "float64" if factors == "float64" else "float32"
        compute = _TF32 if problem.tf32 and factors == "float32" else _STRICT[factors]
        self.descriptor = lt.matmul_desc_create(compute, _DATA_TYPES[scalars])
        self._set("TRANSA", int(problem.transposed_a))
        self._set("TRANSB", int(problem.transposed_b))
        self._set("EPILOGUE", int(lt.Epilogue[problem.epilogue]))
        if problem.epilogue != "DEFAULT":
            self._set("BIAS_DATA_TYPE", _DATA_TYPES[result])
        self._bias = 0

        def layout(dtype: str, rows: int, columns: int, transposed: bool) -> int:
            if transposed:
                rows, columns = columns, rows
            descriptor: int = lt.matrix_layout_create(_DATA_TYPES[dtype], rows, columns, rows)
            return descriptor

        self.a = layout(factors, problem.m, problem.k, problem.transposed_a)
        self.b = layout(factors, problem.k, problem.n, problem.transposed_b)
        self.d = layout(result, problem.m, problem.n, False)
        self._scalars = np.array([1, 0], scalars)
        self.one = self._scalars.ctypes.data
        self.zero = self.one + self._scalars.itemsize
        self.algorithms = self._candidates(handle, problem.alignments, workspace_bytes)
        start, size = self.algorithms.ctypes.data, self.algorithms.itemsize
        self.addresses = [start + i * size for i in range(len(self.algorithms))]
        self.fastest = start

    def _set(self, name: str, value: int) -> None:
        attribute = self._lt.MatmulDescAttribute[name]
        box = np.array([value], self._lt.get_matmul_desc_attribute_dtype(attribute))
        self._lt.matmul_desc_set_attribute(self.descriptor, attribute, box.ctypes.data, box.nbytes)

    def _candidates(self, handle: int, alignments: tuple[int, int, int], workspace_bytes: int) -> Any:
        """The algorithms that can do it, likeliest fastest first."""
        lt = self._lt
        preference = lt.matmul_preference_create()
        a, b, d = alignments
        settings = {
            "MAX_WORKSPACE_BYTES": workspace_bytes,
            "MIN_ALIGNMENT_A_BYTES": a,
            "MIN_ALIGNMENT_B_BYTES": b,
            "MIN_ALIGNMENT_C_BYTES": d,
            "MIN_ALIGNMENT_D_BYTES": d,
        }
        for name, value in settings.items():
            attribute = lt.MatmulPreferenceAttribute[name]
            box = np.array([value], lt.get_matmul_preference_attribute_dtype(attribute))
            lt.matmul_preference_set_attribute(preference, attribute, box.ctypes.data, box.nbytes)
        found = np.zeros(CANDIDATES, lt.matmul_heuristic_result_dtype)
        count = np.zeros(1, np.int32)
        layouts = (self.a, self.b, self.d, self.d)
        try:
            lt.matmul_algo_get_heuristic(
                handle,
                self.descriptor,
                *layouts,
                preference,
                CANDIDATES,
                found.ctypes.data,
                count.ctypes.data,
            )
        except lt.cuBLASLtError:  # what is not supported at all
            count[0] = 0
        finally:
            lt.matmul_preference_destroy(preference)
        return found[: int(count[0])]

    def point_at_bias(self, pointer: int) -> None:
        """Where the epilogue reads beta or writes its gradient."""
        if pointer != self._bias:
            self._set("BIAS_POINTER", pointer)
            self._bias = pointer


class LtProducts:
    """The products of a layer by cuBLASLt, with the bias, ReLU and the bias gradient as epilogues where it has them.

    Args:
        lt: the bindings.
        workspace: memory of its own, 32 MiB: one product at a time may use it, so one stream.
        pointer: the address of an array.
        stream: the address of the current stream.
        timer: seconds that a call takes on the device. With one, the first few candidates for a product are tried on
            its own arrays and the fastest is kept; the choice, and so the last bits, may differ from run to run.
    """

    captures = True

    def __init__(
        self,
        lt: Any,
        workspace: Array,
        pointer: Callable[[Array], int],
        stream: Callable[[], int],
        timer: Timer | None = None,
    ) -> None:
        self._lt = lt
        self._handle = lt.create()
        self._workspace = workspace
        self._pointer = pointer
        self._stream = stream
        self._timer = timer
        self._plans: dict[_Problem, _Plan] = {}
        self._tf32 = False

    def in_precision(self, precision: str) -> LtProducts:
        """The same with tensor cores in TF32, or for factors of a half type, which say so themselves."""
        if precision != "tf32":
            return self
        products = copy(self)  # with the same handle, workspace and plans
        products._tf32 = True
        return products

    def forward(self, h: Array, omega: Array, f: Array, beta: Array, activation: str | None) -> str | None:
        """f = h Omega^T; or a[h Omega^T + beta] for identity and relu, and then the name of a."""
        size = (f.shape[1], f.shape[0], h.shape[1])
        # A half type would be rounded before beta is added, and after: any epilogue is better than none.
        wanted = (activation, "identity") if f.itemsize == 2 else (activation,)
        for name in wanted:
            epilogue = _EPILOGUES.get(name or "")
            if epilogue and self._multiply(
                size, omega, h, f, transposed_a=True, epilogue=epilogue, bias=beta
            ):
                return name
        self._plain(size, omega, h, f, transposed_a=True)
        return None

    def weights(self, dl_df: Array, h: Array, dl_domega: Array, dl_dbeta: Array) -> bool:
        """dL/dOmega = (dL/df)^T h; and dL/dbeta where cuBLASLt adds up, and then True."""
        size = (h.shape[1], dl_df.shape[1], h.shape[0])
        if self._multiply(size, h, dl_df, dl_domega, transposed_b=True, epilogue="BGRADB", bias=dl_dbeta):
            return True
        self._plain(size, h, dl_df, dl_domega, transposed_b=True)
        return False

    def below(self, dl_df: Array, omega: Array, dl_dh: Array) -> None:
        """dL/dh = dL/df Omega"""
        self._plain((omega.shape[1], dl_df.shape[0], omega.shape[0]), omega, dl_df, dl_dh)

    def _plain(
        self,
        size: tuple[int, int, int],
        a: Array,
        b: Array,
        d: Array,
        *,
        transposed_a: bool = False,
        transposed_b: bool = False,
    ) -> None:
        if not self._multiply(size, a, b, d, transposed_a=transposed_a, transposed_b=transposed_b):
            raise DeviceError(
                f"cuBLASLt has no algorithm for a product of {size[0]} x {size[2]} and {size[2]} x {size[1]} "
                f"of {a.dtype} in {d.dtype} on this device; update the driver and nvidia-cublas (tf32 and bf16 need a "
                "device of compute capability 8.0)"
            )

    def _multiply(
        self,
        size: tuple[int, int, int],
        a: Array,
        b: Array,
        d: Array,
        *,
        transposed_a: bool = False,
        transposed_b: bool = False,
        epilogue: str = "DEFAULT",
        bias: Array | None = None,
    ) -> bool:
        """Whether cuBLASLt has an algorithm for it; with one it is done."""
        pointers = tuple(map(self._pointer, (a, b, d)))
        alignments = tuple(map(_alignment, pointers))
        types = a.dtype, d.dtype
        problem = _Problem(*size, transposed_a, transposed_b, *types, self._tf32, alignments, epilogue)  # type: ignore[arg-type]
        plan = self._plans.get(problem)
        fresh = plan is None
        if plan is None:
            plan = self._plans[problem] = _Plan(self._lt, self._handle, problem, self._workspace.nbytes)
        if len(plan.algorithms) == 0:
            return False
        if bias is not None:
            plan.point_at_bias(self._pointer(bias))
        if fresh and self._timer is not None:
            candidates = plan.addresses[:TIMED_CANDIDATES]
            plan.fastest = min(candidates, key=partial(self._seconds, self._timer, plan, pointers))
        self._launch(plan, pointers, plan.fastest)
        return True

    def _seconds(self, timer: Timer, plan: _Plan, pointers: tuple[int, ...], algorithm: int) -> float:
        return timer(partial(self._launch, plan, pointers, algorithm))

    def _launch(self, plan: _Plan, pointers: tuple[int, ...], algorithm: int) -> None:
        at_a, at_b, at_d = pointers
        self._lt.matmul(
            self._handle,
            plan.descriptor,
            *(plan.one, at_a, plan.a, at_b, plan.b),
            *(plan.zero, at_d, plan.d, at_d, plan.d),
            algorithm,
            self._pointer(self._workspace),
            self._workspace.nbytes,
            self._stream(),
        )


def _alignment(pointer: int) -> int:
    """The largest power of two up to 256 that divides an address: what cuBLASLt may count on."""
    return min(pointer & -pointer, LARGEST_ALIGNMENT)

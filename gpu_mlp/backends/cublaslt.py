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
from collections.abc import Callable, Iterator
from copy import copy
from functools import cache, partial
from typing import Any, TypeAlias

import numpy as np

from gpu_mlp.backends.base import Array
from gpu_mlp.backends.cublaslt_plans import Beside, Plan, Problem
from gpu_mlp.backends.fused.products import NOTHING, Applied
from gpu_mlp.errors import DeviceError

__all__ = ["WORKSPACE_BYTES", "LtProducts", "Timer", "import_cublaslt"]

logger = logging.getLogger("gpu_mlp")

# What Hopper's fastest algorithms ask for.
WORKSPACE_BYTES = 32 << 20
TIMED_CANDIDATES = 4

# Seconds on the device that a call takes.
Timer: TypeAlias = Callable[[Callable[[], None]], float]
LARGEST_ALIGNMENT = 256


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
    leaves_signs = True

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
        self._plans: dict[Problem, Plan] = {}
        self._tf32 = False

    def in_precision(self, precision: str) -> LtProducts:
        """The same with tensor cores in TF32, or for factors of a half type, which say so themselves."""
        if precision != "tf32":
            return self
        products = copy(self)  # with the same handle, workspace and plans
        products._tf32 = True
        return products

    def forward(
        self,
        h: Array,
        omega: Array,
        beta: Array,
        f: Array,
        h_next: Array,
        activation: str | None,
        signs: Array | None,
    ) -> Applied:
        """f = h Omega^T, with the bias, the activation and its signs where there is an epilogue; see `Products`."""
        size = (f.shape[1], f.shape[0], h.shape[1])
        for epilogue, out, aux, applied in _forward_epilogues(f, h_next, activation, signs):
            if self._multiply(size, omega, h, out, transposed_a=True, epilogue=epilogue, bias=beta, aux=aux):
                return applied
        self._plain(size, omega, h, f, transposed_a=True)
        return NOTHING

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

    def below_activation(
        self, dl_df: Array, omega: Array, activation: str, of: Array, dl_df_below: Array
    ) -> bool:
        """dL/df_{k-1} = a'[f_{k-1}] * (dL/df Omega) where there is an epilogue; see `Products`."""
        size = (omega.shape[1], dl_df.shape[0], omega.shape[0])
        if activation == "gelu_tanh" and not _gelu_fits(of):
            return False
        epilogue = {"relu": "DRELU", "gelu_tanh": "DGELU"}[activation]
        return self._multiply(size, omega, dl_df, dl_df_below, epilogue=epilogue, aux=of)

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
        aux: Array | None = None,
    ) -> bool:
        """Whether cuBLASLt has an algorithm for it; with one it is done."""
        pointers = self._pointer(a), self._pointer(b), self._pointer(d)
        beside = Beside(*(0 if each is None else self._pointer(each) for each in (bias, aux)))
        alignments = tuple(_alignment(each) for each in (*pointers, *beside))
        types = a.dtype, d.dtype
        problem = Problem(
            *size, transposed_a, transposed_b, *types, self._tf32, alignments, epilogue, _leading(aux)
        )
        plan = self._plans.get(problem)
        fresh = plan is None
        if plan is None:
            plan = Plan(self._lt, self._handle, problem, self._workspace.nbytes, beside)
            self._plans[problem] = plan
        if len(plan.algorithms) == 0:
            return False
        plan.point(beside)
        if fresh and self._timer is not None:
            candidates = plan.addresses[:TIMED_CANDIDATES]
            plan.fastest = min(candidates, key=partial(self._seconds, self._timer, plan, pointers))
        self._launch(plan, pointers, plan.fastest)
        return True

    def _seconds(self, timer: Timer, plan: Plan, pointers: tuple[int, ...], algorithm: int) -> float:
        return timer(partial(self._launch, plan, pointers, algorithm))

    def _launch(self, plan: Plan, pointers: tuple[int, ...], algorithm: int) -> None:
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


def _forward_epilogues(
    f: Array, h_next: Array, activation: str | None, signs: Array | None
) -> Iterator[tuple[str, Array, Array | None, Applied]]:
    """Epilogue, output, what it leaves and what it then has done, the best first."""
    if activation == "relu":
        if signs is not None:
            yield "RELU_AUX_BIAS", f, signs, Applied("relu", signs=True)
        yield "RELU_BIAS", f, None, Applied("relu")
    elif activation == "gelu_tanh" and _gelu_fits(f):
        yield "GELU_AUX_BIAS", h_next, f, Applied("gelu_tanh")
    # A half type would be rounded before beta is added, and after: any epilogue is better than none.
    if activation == "identity" or f.itemsize == 2:
        yield "BIAS", f, None, Applied("identity")


def _gelu_fits(f: Array) -> bool:
    """cuBLASLt's GELU is only as exact as a half type, and wants columns of f that are a multiple of 8."""
    return f.itemsize == 2 and f.shape[1] % 8 == 0


def _leading(aux: Array | None) -> int:
    """In bits for signs, whose rows are whole bytes, else in numbers."""
    if aux is None:
        return 0
    return int(aux.shape[1]) * (8 if aux.dtype == np.uint8 else 1)


def _alignment(pointer: int) -> int:
    """The largest power of two up to 256 that divides an address: what cuBLASLt may count on; 0 for no address."""
    return min(pointer & -pointer, LARGEST_ALIGNMENT)

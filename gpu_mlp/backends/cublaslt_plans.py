"""What cuBLASLt must know of one product: its problem, the descriptors of that, and the algorithm thought fastest."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gpu_mlp.errors import DeviceError

__all__ = ["Beside", "Plan", "Problem"]

logger = logging.getLogger("gpu_mlp")

CANDIDATES = 8
# CUBLAS_STATUS_NOT_SUPPORTED
_NOT_SUPPORTED = 15

# Values of cudaDataType_t and cublasComputeType_t, which the bindings take as numbers.
_DATA_TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}
_STRICT = {"float32": 68, "float64": 70, "float16": 68, "bfloat16": 68}
_TF32 = 77


@dataclass(frozen=True)
class Problem:
    """D (m, n) = op(A) op(B) over k, column-major with no gaps between columns."""

    m: int
    n: int
    k: int
    transposed_a: bool
    transposed_b: bool
    factors: np.dtype[Any]  # the type of A and B
    result: np.dtype[Any]  # that of D
    tf32: bool
    alignments: tuple[int, ...]  # of A, B, D, and what stands beside them
    epilogue: str
    aux_leading: (
        int  # from one column of what an epilogue leaves to the next, in its own units; 0 for nothing
    )

    def __str__(self) -> str:
        sizes = f"{self.m} x {self.k} times {self.k} x {self.n}"
        return f"{sizes} of {self.factors} in {self.result} with epilogue {self.epilogue}"


class Beside(NamedTuple):
    """Addresses that an epilogue has beside the matrices; 0 for none."""

    bias: int  # of beta, or of its gradient
    aux: int  # of the signs, or of f


class Plan:
    """The descriptors of one problem and the algorithm that cuBLASLt thinks fastest.

    `beside` are addresses of the alignments that the problem says.
    """

    def __init__(self, lt: Any, handle: int, problem: Problem, workspace_bytes: int, beside: Beside) -> None:
        self._lt = lt
        factors, result = problem.factors.name, problem.result.name
        # alpha and beta of D = alpha A B + beta C, in the type that is computed in.
        scalars = "float64" if factors == "float64" else "float32"
        compute = _TF32 if problem.tf32 and factors == "float32" else _STRICT[factors]
        self.descriptor = lt.matmul_desc_create(compute, _DATA_TYPES[scalars])
        self._set("TRANSA", int(problem.transposed_a))
        self._set("TRANSB", int(problem.transposed_b))
        self._set("EPILOGUE", int(lt.Epilogue[problem.epilogue]))
        if "BIAS" in problem.epilogue or "BGRAD" in problem.epilogue:
            self._set("BIAS_DATA_TYPE", _DATA_TYPES[result])
        if problem.aux_leading:
            self._set("EPILOGUE_AUX_LD", problem.aux_leading)
        self._beside = Beside(0, 0)
        self.point(beside)  # before the heuristic, which reads their alignment off them

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
        self.algorithms = self._candidates(handle, problem, workspace_bytes)
        start, size = self.algorithms.ctypes.data, self.algorithms.itemsize
        self.addresses = [start + i * size for i in range(len(self.algorithms))]
        self.fastest = start

    def _set(self, name: str, value: int) -> None:
        attribute = self._lt.MatmulDescAttribute[name]
        box = np.array([value], self._lt.get_matmul_desc_attribute_dtype(attribute))
        self._lt.matmul_desc_set_attribute(self.descriptor, attribute, box.ctypes.data, box.nbytes)

    def _candidates(self, handle: int, problem: Problem, workspace_bytes: int) -> Any:
        """The algorithms that can do it, likeliest fastest first."""
        preference = self._preference(problem, workspace_bytes)
        found = np.zeros(CANDIDATES, self._lt.matmul_heuristic_result_dtype)
        count = np.zeros(1, np.int32)
        layouts = (self.a, self.b, self.d, self.d)
        try:
            self._lt.matmul_algo_get_heuristic(
                *(handle, self.descriptor, *layouts, preference),
                *(CANDIDATES, found.ctypes.data, count.ctypes.data),
            )
        except self._lt.cuBLASLtError as error:
            if error.status != _NOT_SUPPORTED:
                raise DeviceError(
                    f"cuBLASLt cannot plan {problem}: {error}; update the driver and nvidia-cublas"
                ) from error
            count[0] = 0
        finally:
            self._lt.matmul_preference_destroy(preference)
        algorithms = {0: "no algorithm", 1: "1 algorithm"}.get(int(count[0]), f"{count[0]} algorithms")
        logger.debug("%s for %s", algorithms, problem)
        return found[: int(count[0])]

    def _preference(self, problem: Problem, workspace_bytes: int) -> int:
        """What the heuristic may count on."""
        lt = self._lt
        preference: int = lt.matmul_preference_create()
        a, b, d, *_ = problem.alignments
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
        return preference

    def point(self, beside: Beside) -> None:
        """Where the epilogue reads beta or writes its gradient, or where it leaves and reads the signs or f."""
        for name, new, old in zip(
            ("BIAS_POINTER", "EPILOGUE_AUX_POINTER"), beside, self._beside, strict=True
        ):
            if new != old:
                self._set(name, new)
        self._beside = beside

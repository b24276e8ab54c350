"""A stand-in for `nvmath.bindings.cublasLt` that multiplies in NumPy what the descriptors say, column by column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import partial
from typing import Any

import numpy as np

from gpu_mlp.backends.base import Array
from tests.backends.cublaslt_arithmetic import (
    COMPUTE_TYPES,
    TF32,
    TYPES,
    Epilogue,
    Operation,
    check_pointers,
    multiply,
    read_memory,
)

# The types of A and B, and of D, that cuBLASLt multiplies in a compute type.
COMBINATIONS = {
    68: {(0, 0), (2, 2), (2, 0), (14, 14), (14, 0)},
    70: {(1, 1)},
    TF32: {(0, 0)},
}
ALGORITHM = 0x5EED


class cuBLASLtError(Exception):  # noqa: N801 the bindings' own name
    """What the bindings raise for a status."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"status {status}")


class MatmulDescAttribute(IntEnum):
    """cublasLtMatmulDescAttributes_t"""

    TRANSA = 3
    TRANSB = 4
    EPILOGUE = 7
    BIAS_POINTER = 8
    EPILOGUE_AUX_POINTER = 11
    EPILOGUE_AUX_LD = 12
    BIAS_DATA_TYPE = 26


class MatmulPreferenceAttribute(IntEnum):
    """cublasLtMatmulPreferenceAttributes_t"""

    MAX_WORKSPACE_BYTES = 1
    MIN_ALIGNMENT_A_BYTES = 5
    MIN_ALIGNMENT_B_BYTES = 6
    MIN_ALIGNMENT_C_BYTES = 7
    MIN_ALIGNMENT_D_BYTES = 8


@dataclass(frozen=True)
class Layout:
    """A matrix layout."""

    type: int
    rows: int
    columns: int
    leading: int

    def matrix(self, pointer: int) -> Array:
        """The memory as a (rows, columns) matrix whose columns are contiguous."""
        values = read_memory(pointer, TYPES[self.type], self.leading * self.columns)
        return values.reshape(self.columns, self.leading).T[: self.rows]


@dataclass
class FakeCublasLt:
    """The functions of the bindings; `missing` names epilogues for which there is no algorithm."""

    missing: frozenset[str] = frozenset()
    refusal: int = 0  # the status that the heuristic raises for them; 0 where it finds nothing
    candidates: int = 1
    calls: list[str] = field(default_factory=list)
    algorithms: list[int] = field(default_factory=list)  # the numbers of those that were run
    plans: int = 0
    objects: dict[int, Any] = field(default_factory=dict)
    preferences: list[dict[int, int]] = field(default_factory=list)
    # What is handed the work of a product, to do it now or, while a stream would capture, later.
    launch: Callable[[Callable[[], None]], Any] = field(default=lambda work: work())

    cuBLASLtError = cuBLASLtError  # noqa: N815 the bindings' own name
    Epilogue = Epilogue
    MatmulDescAttribute = MatmulDescAttribute
    MatmulPreferenceAttribute = MatmulPreferenceAttribute
    matmul_heuristic_result_dtype = np.dtype(
        [
            ("algo", "<u8", (8,)),
            ("workspace_size", "<u8"),
            ("state", "<i4"),
            ("waves_count", "<f4"),
            ("reserved", "<i4", (4,)),
        ]
    )

    def _new(self, value: Any) -> int:
        handle = 1000 + len(self.objects)
        self.objects[handle] = value
        return handle

    def create(self) -> int:
        """A handle."""
        return self._new("handle")

    def matmul_desc_create(self, compute_type: int, scale_type: int) -> int:
        """An operation."""
        assert COMPUTE_TYPES[compute_type] == TYPES[scale_type]
        return self._new(Operation(compute_type, scale_type))

    def get_matmul_desc_attribute_dtype(self, attribute: int) -> Any:
        """As the bindings say."""
        return {7: np.uint32, 8: np.int64, 11: np.int64, 12: np.int64}.get(int(attribute), np.int32)

    def matmul_desc_set_attribute(self, operation: int, attribute: int, pointer: int, size: int) -> None:
        """Read the value from memory."""
        dtype = np.dtype(self.get_matmul_desc_attribute_dtype(attribute))
        assert size == dtype.itemsize
        self.objects[operation].attributes[int(attribute)] = int(read_memory(pointer, dtype)[0])

    def matrix_layout_create(self, type_: int, rows: int, columns: int, leading: int) -> int:
        """A layout."""
        assert leading >= rows
        return self._new(Layout(type_, rows, columns, leading))

    def matmul_preference_create(self) -> int:
        """A preference."""
        return self._new({})

    def get_matmul_preference_attribute_dtype(self, attribute: int) -> Any:
        """As the bindings say."""
        return np.uint64 if attribute == 1 else np.uint32

    def matmul_preference_set_attribute(
        self, preference: int, attribute: int, pointer: int, size: int
    ) -> None:
        """Read the value from memory."""
        dtype = np.dtype(self.get_matmul_preference_attribute_dtype(attribute))
        assert size == dtype.itemsize
        self.objects[preference][int(attribute)] = int(read_memory(pointer, dtype)[0])

    def matmul_preference_destroy(self, preference: int) -> None:
        """Forget it."""
        self.preferences.append(self.objects[preference])
        self.objects[preference] = None

    def matmul_algo_get_heuristic(
        self,
        handle: int,
        operation: int,
        a: int,
        b: int,
        c: int,
        d: int,
        preference: int,
        wanted: int,
        results: int,
        count: int,
    ) -> None:
        """One algorithm, or none for an epilogue that is missing."""
        assert self.objects[handle] == "handle"
        self.plans += 1
        self._shapes(operation, a, b, d)
        description = self.objects[operation]
        epilogue = Epilogue(description.attributes[7])
        check_pointers(epilogue, description.attributes)
        found = epilogue.name not in self.missing
        if not found and self.refusal:
            raise cuBLASLtError(self.refusal)
        types = [self.objects[each].type for each in (a, b, d)]
        assert types[0] == types[1]
        assert (types[0], types[2]) in COMBINATIONS[description.compute_type]
        # A bias has the type of D, as cuBLASLt's table of supported types says.
        assert description.attributes.get(26, types[2]) == types[2]
        read_memory(count, np.int32)[0] = int(found)
        read_memory(count, np.int32)[0] *= min(self.candidates, wanted)
        for number in range(self.candidates):
            read_memory(results, self.matmul_heuristic_result_dtype, wanted)["algo"][number, 0] = (
                ALGORITHM + number
            )

    def _shapes(self, operation: int, a: int, b: int, d: int) -> tuple[bool, bool]:
        """Whether A and B are transposed; fails where the sizes of the product do not fit."""
        attributes = self.objects[operation].attributes
        transposed = bool(attributes[3]), bool(attributes[4])
        (m, k), (k_of_b, n) = (
            (each.columns, each.rows) if flip else (each.rows, each.columns)
            for each, flip in zip((self.objects[a], self.objects[b]), transposed, strict=True)
        )
        layout = self.objects[d]
        assert (m, n, k) == (layout.rows, layout.columns, k_of_b)
        return transposed

    def matmul(
        self,
        handle: int,
        operation: int,
        alpha: int,
        a: int,
        a_layout: int,
        b: int,
        b_layout: int,
        beta: int,
        c: int,
        c_layout: int,
        d: int,
        d_layout: int,
        algorithm: int,
        workspace: int,
        workspace_bytes: int,
        stream: int,
    ) -> None:
        """D = op(A) op(B) with its epilogue."""
        assert self.objects[handle] == "handle"
        self.algorithms.append(int(read_memory(algorithm, np.uint64)[0]) - ALGORITHM)
        assert 0 <= self.algorithms[-1] < self.candidates
        assert workspace
        assert workspace_bytes
        assert (c, c_layout) == (d, d_layout)
        transposed = self._shapes(operation, a_layout, b_layout, d_layout)
        description = self.objects[operation]
        scalar = TYPES[description.scale_type]
        assert (read_memory(alpha, scalar)[0], read_memory(beta, scalar)[0]) == (1, 0)
        factors = [self.objects[each].matrix(at) for each, at in ((a_layout, a), (b_layout, b))]
        left, right = (each.T if flip else each for each, flip in zip(factors, transposed, strict=True))
        self.calls.append(Epilogue(description.attributes[7]).name)
        # What is captured keeps the values that its descriptor has now.
        kept = replace(description, attributes=dict(description.attributes))
        self.launch(partial(multiply, kept, left, right, self.objects[d_layout].matrix(d)))

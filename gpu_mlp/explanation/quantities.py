"""What a walkthrough shows by name: arrays of a network's own forward and backward pass, as its notation lays them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.explanation.expressions import Expression, Product, SumOver, Transposed

__all__ = ["NOTATIONS", "Notation", "Quantity"]

NOTATIONS = ("columns", "rows")

Kind = Literal["given", "forward", "backward"]


@dataclass(frozen=True)
class Quantity:
    """Numbers with a name.

    values: a matrix as the notation has it; the loss is (1, 1). kind: given, or computed on the way up or down. step:
    the number of the step that computes it, None for what is given. sample_axis: along which the samples of the batch
    lie, None where there is none. unit_names: of a batch, what its units are called, where they have names.
    """

    key: str
    symbol: Expression
    name: str
    values: NDArray[Any]
    kind: Kind
    step: int | None
    sample_axis: int | None
    unit_names: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)"""
        rows, columns = self.values.shape
        return rows, columns


@dataclass(frozen=True)
class Notation:
    """Samples as columns, as books write them, or as rows, as code has them: each is the other, transposed.

    name: "columns" or "rows". batch: how many samples there are.
    """

    name: str
    batch: int

    @property
    def columns(self) -> bool:
        """Whether samples are columns."""
        return self.name == "columns"

    @property
    def sample_axis(self) -> int:
        """Along which samples lie."""
        return 1 if self.columns else 0

    def of_batch(self, values: NDArray[Any]) -> NDArray[Any]:
        """(B, D) as this notation has it."""
        return values.T if self.columns else values

    def of_vector(self, values: NDArray[Any]) -> NDArray[Any]:
        """(D,) as a matrix that can be added to a batch."""
        return values[:, np.newaxis] if self.columns else values[np.newaxis, :]

    def layer(self, omega: Expression, h: Expression) -> Expression:
        """Omega h, or h Omega^T"""
        return Product(omega, h) if self.columns else Product(h, Transposed(omega))

    def back(self, omega: Expression, dl_df: Expression) -> Expression:
        """Omega^T dL/df, or dL/df Omega"""
        return Product(Transposed(omega), dl_df) if self.columns else Product(dl_df, omega)

    def outer(self, dl_df: Expression, h: Expression) -> Expression:
        """dL/df h^T, or dL/df^T h"""
        return Product(dl_df, Transposed(h)) if self.columns else Product(Transposed(dl_df), h)

    def over_batch(self, dl_df: Expression) -> Expression:
        """Its sum over the samples, of which one needs none."""
        return dl_df if self.batch == 1 else SumOver("b", dl_df)

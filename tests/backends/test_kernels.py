"""Every kernel on odd sizes against float64; whole numbers bit for bit; and sizes past 2^31."""

from __future__ import annotations

import pytest

from gpu_mlp.backends.base import ACTIVATION_NAMES, Ops
from tests.backends.kernel_checks import (
    check_layers,
    check_losses,
    check_norm,
    check_optimizers,
    check_penalty,
    check_rows,
)

DTYPES = ("float32", "float64")


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_layers_agree_with_float64(ops: Ops, dtype: str, name: str) -> None:
    check_layers(ops, dtype, [name])


@pytest.mark.parametrize("dtype", DTYPES)
def test_losses_agree_with_float64(ops: Ops, dtype: str) -> None:
    check_losses(ops, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_optimizers_agree_with_float64(ops: Ops, dtype: str) -> None:
    check_optimizers(ops, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_clipping_agrees_with_float64(ops: Ops, dtype: str) -> None:
    check_norm(ops, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_penalties_agree_with_float64(ops: Ops, dtype: str) -> None:
    check_penalty(ops, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_mini_batches_agree_with_float64(ops: Ops, dtype: str) -> None:
    check_rows(ops, dtype)

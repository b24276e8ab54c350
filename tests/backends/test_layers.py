"""One layer forward and backward: exact with whole numbers, and with one dropout mask in both directions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.backends.records import Dropout, LayerBelow, LayerScratch
from gpu_mlp.backends.reference import allocate_philox
from tests.backends.guards import GuardedMemory


def scratch_of(ops: Ops, memory: GuardedMemory, batch: int, width: int) -> LayerScratch:
    """Guarded scratch memory of a layer."""
    values, mask = (memory(batch, width, dtype=dtype) for dtype in ("float32", bool))
    return LayerScratch(values, mask, ops.xp.ones(batch, "float32"))


@pytest.mark.parametrize("width", [1, 2, 31, 33, 129])
@pytest.mark.parametrize("batch", [1, 2, 32, 127])
def test_a_layer_of_any_shape_is_the_equation(
    ops: Ops, memory: GuardedMemory, width: int, batch: int
) -> None:
    """f = h Omega^T + beta with whole numbers, which no order of summation can round."""
    rng = np.random.default_rng([width, batch])
    inputs: dict[str, Any] = {
        "h": rng.integers(-4, 5, (batch, 7)),
        "omega": rng.integers(-4, 5, (width, 7)),
        "beta": rng.integers(-4, 5, width),
    }
    device = {name: ops.to_device(array.astype("float32")) for name, array in inputs.items()}
    f, h_next = (memory(batch, width, dtype="float32") for _ in range(2))
    scratch = scratch_of(ops, memory, batch, width)
    ops.layer_forward(**device, activation="relu", f=f, h_next=h_next, scratch=scratch, dropout=None)
    expected = inputs["h"] @ inputs["omega"].T + inputs["beta"]
    np.testing.assert_array_equal(ops.to_host(f), expected)
    np.testing.assert_array_equal(ops.to_host(h_next), np.maximum(expected, 0))


@pytest.mark.parametrize("width", [1, 2, 31, 33, 129])
@pytest.mark.parametrize("batch", [1, 2, 32, 127])
def test_a_backward_layer_of_any_shape_is_the_equations(
    ops: Ops, memory: GuardedMemory, width: int, batch: int
) -> None:
    rng = np.random.default_rng([width, batch, 1])
    dl_df, omega = rng.integers(-4, 5, (batch, 7)), rng.integers(-4, 5, (7, width))
    f = rng.integers(-2, 3, (batch, width))
    h = np.maximum(f, 0)
    below = LayerBelow(
        f=ops.to_device(f.astype("float32")),
        h=ops.to_device(h.astype("float32")),
        activation="relu",
        dl_dh=memory(batch, width, dtype="float32"),
        dl_df=memory(batch, width, dtype="float32"),
        scratch=scratch_of(ops, memory, batch, width),
        traced=True,
    )
    dl_domega, dl_dbeta = memory(7, width, dtype="float32"), memory(7, dtype="float32")
    ops.layer_backward(
        ops.to_device(dl_df.astype("float32")),
        below.h,
        ops.to_device(omega.astype("float32")),
        scratch_of(ops, memory, batch, 7),
        dl_domega,
        dl_dbeta,
        below,
    )
    np.testing.assert_array_equal(ops.to_host(dl_domega), dl_df.T @ h)
    np.testing.assert_array_equal(ops.to_host(dl_dbeta), dl_df.sum(axis=0))
    np.testing.assert_array_equal(ops.to_host(below.dl_dh), dl_df @ omega)
    np.testing.assert_array_equal(ops.to_host(below.dl_df), (dl_df @ omega) * (f > 0))


def dropout_of(ops: Ops, memory: GuardedMemory, shape: tuple[int, int], **settings: Any) -> Dropout:
    """Dropout whose outputs are guarded; rate 0.5, so that kept units are doubled."""
    return Dropout(
        **{"rate": 0.5, "key": (1, 2), "layer": 3, "step": 7} | settings,
        kept=memory(*shape, dtype="float32"),
        multiplier=memory(*shape, dtype="float32"),
        scratch=allocate_philox(ops.xp, shape[0] * shape[1]),
    )


def forward_with(
    ops: Ops, memory: GuardedMemory, dropout: Dropout, h: Array
) -> tuple[Array, Array, LayerScratch]:
    """A layer that passes its input on: f, h_{k+1} and the scratch it used."""
    batch, width = h.shape
    f, h_next = (memory(batch, width, dtype="float32") for _ in range(2))
    scratch = scratch_of(ops, memory, batch, width)
    one, zero = ops.xp.eye(width, dtype="float32"), ops.xp.zeros(width, "float32")
    ops.layer_forward(ops.to_device(h), one, zero, "identity", f, h_next, scratch, dropout)
    return f, h_next, scratch


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (5, 7), (31, 33), (127, 2)])
def test_dropout_zeroes_or_doubles_and_leaves_h_itself(
    ops: Ops, memory: GuardedMemory, shape: tuple[int, int]
) -> None:
    h = np.random.default_rng(0).integers(1, 9, shape).astype("float32")
    dropout = dropout_of(ops, memory, shape)
    _, h_next, _ = forward_with(ops, memory, dropout, h)
    np.testing.assert_array_equal(ops.to_host(h_next), h)
    multiplier = np.array(ops.to_host(dropout.kept)) / h
    assert set(np.unique(multiplier)) <= {0.0, 2.0}


@pytest.mark.parametrize("redrawn", [False, True])
def test_the_mask_is_the_same_forward_and_backward(ops: Ops, memory: GuardedMemory, redrawn: bool) -> None:
    """Also where the reference draws it anew in the backward pass, as a kernel does."""
    shape = (31, 33)
    rng = np.random.default_rng(0)
    h = rng.integers(1, 9, shape).astype("float32")
    dropout = dropout_of(ops, memory, shape)
    f, h_next, scratch = forward_with(ops, memory, dropout, h)
    mask = np.array(ops.to_host(dropout.kept)) / h
    if redrawn:
        dropout.multiplier[...] = np.nan
        dropout.drawn_step = -1
    dl_df = rng.integers(1, 9, shape).astype("float32")
    below = LayerBelow(
        f=f,
        h=h_next,
        activation="identity",
        dl_dh=memory(*shape, dtype="float32"),
        dl_df=memory(*shape, dtype="float32"),
        scratch=scratch,
        dropout=dropout,
    )
    one = ops.xp.eye(33, dtype="float32")
    dl_domega, dl_dbeta = memory(33, 33, dtype="float32"), memory(33, dtype="float32")
    ops.layer_backward(ops.to_device(dl_df), dropout.kept, one, scratch, dl_domega, dl_dbeta, below)
    np.testing.assert_array_equal(ops.to_host(below.dl_df), dl_df * mask)
    np.testing.assert_array_equal(ops.to_host(dl_domega), dl_df.T @ (h * mask))


def mask_of(ops: Ops, memory: GuardedMemory, **settings: Any) -> Array:
    """Which units of a 31 x 33 layer stay."""
    dropout = dropout_of(ops, memory, (31, 33), **settings)
    forward_with(ops, memory, dropout, np.ones((31, 33), "float32"))
    return np.array(ops.to_host(dropout.kept)) > 0


def test_masks_differ_by_step_layer_and_seed_and_are_otherwise_the_same(
    ops: Ops, memory: GuardedMemory
) -> None:
    first = mask_of(ops, memory)
    np.testing.assert_array_equal(first, mask_of(ops, memory))
    for other in ({"step": 8}, {"layer": 4}, {"key": (2, 2)}, {"key": (1, 3)}, {"step": 7 + 2**31}):
        # Independent masks of rate 0.5 agree in half of 1023 places, within six standard deviations.
        assert abs((first == mask_of(ops, memory, **other)).mean() - 0.5) < 6 * 0.5 / 1023**0.5


def test_a_step_draws_its_mask_once_and_the_next_step_a_new_one(ops: Ops, memory: GuardedMemory) -> None:
    dropout = dropout_of(ops, memory, (31, 33))
    h = np.ones((31, 33), "float32")
    masks = []
    for step in (7, 7, 8):
        dropout.step = step
        forward_with(ops, memory, dropout, h)
        masks.append(np.array(ops.to_host(dropout.kept)))
    np.testing.assert_array_equal(masks[0], masks[1])
    assert (masks[0] != masks[2]).any()


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.9])
def test_the_share_of_kept_units_and_their_scale(ops: Ops, memory: GuardedMemory, rate: float) -> None:
    """Over 200 x 200 units: the share within five standard deviations, the mean kept by the scale."""
    shape = (200, 200)
    dropout = dropout_of(ops, memory, shape, rate=rate)
    forward_with(ops, memory, dropout, np.ones(shape, "float32"))
    multiplier = np.array(ops.to_host(dropout.kept))
    kept = multiplier > 0
    deviation = (rate * (1 - rate) / kept.size) ** 0.5
    assert abs(kept.mean() - (1 - rate)) < 5 * deviation
    np.testing.assert_allclose(multiplier[kept], 1 / (1 - rate), rtol=1e-6)
    assert abs(multiplier.mean() - 1) < 5 * deviation / (1 - rate)
    # No row or column is favoured.
    for axis in (0, 1):
        assert np.abs(kept.mean(axis=axis) - (1 - rate)).max() < 6 * deviation * 200**0.5


def test_nearly_everything_may_be_dropped_or_kept(ops: Ops, memory: GuardedMemory) -> None:
    """Thresholds at the ends of 32 bits."""
    assert mask_of(ops, memory, rate=1e-12).all()
    assert not mask_of(ops, memory, rate=1 - 1e-12).any()

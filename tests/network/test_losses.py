"""The losses as public functions: what they accept, return and refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from gpu_mlp.backends.base import LOSS_NAMES, Array, Ops
from gpu_mlp.errors import ConfigError, ShapeError
from gpu_mlp.network import losses
from tests.network.random_networks import random_loss, random_targets
from tests.network.torch_networks import mean_loss


@pytest.mark.parametrize("name", LOSS_NAMES)
def test_value_and_gradient_agree_with_autograd(ops: Ops, name: str) -> None:
    rng = np.random.default_rng([*name.encode()])
    loss = random_loss(rng, name)
    f, y, weight = rng.normal(size=(31, 5)), random_targets(rng, name, 31, 5), rng.random(31)
    parameters = {
        "huber": {"delta": loss.huber_delta},
        "quantile": {"quantile": loss.quantile},
        "softmax_cross_entropy": {"label_smoothing": loss.label_smoothing},
    }.get(name, {})
    for w in (None, weight):
        value, dl_df = getattr(losses, name)(ops.to_device(f), y, sample_weight=w, **parameters)
        outputs = torch.tensor(f, requires_grad=True)
        expected = mean_loss(loss, outputs, torch.tensor(y), None if w is None else torch.tensor(w))
        expected.backward()  # type: ignore[no-untyped-call]
        assert outputs.grad is not None
        assert value.shape == ()
        assert float(value) == pytest.approx(expected.item(), rel=1e-13)
        np.testing.assert_allclose(ops.to_host(dl_df), outputs.grad.numpy(), rtol=1e-12, atol=1e-15)


def test_squared_error_is_the_mean_of_the_sums_over_outputs() -> None:
    """Not the mean over both, as torch.nn.MSELoss has it."""
    loss, dl_df = losses.squared_error([[1.0, 2.0], [3.0, 5.0]], [[0.0, 0.0], [0.0, 0.0]])
    assert float(loss) == (1 + 4 + 9 + 25) / 2
    np.testing.assert_array_equal(dl_df, [[1.0, 2.0], [3.0, 5.0]])


def test_the_type_of_the_outputs_decides() -> None:
    f32, f64 = (losses.huber(np.ones((2, 3), dtype), np.zeros((2, 3))) for dtype in ("float32", "float64"))
    assert f32[0].dtype == f32[1].dtype == np.float32
    assert f64[0].dtype == f64[1].dtype == np.float64
    assert losses.huber([[1], [2]], [[0], [0]])[1].dtype == np.float64


def test_inputs_are_left_as_they_were() -> None:
    rng = np.random.default_rng(0)
    for name in LOSS_NAMES:
        f, y, weight = rng.normal(size=(7, 3)), random_targets(rng, name, 7, 3), rng.random(7)
        copies = f.copy(), y.copy(), weight.copy()
        getattr(losses, name)(f, y, sample_weight=weight)
        for array, copy in zip((f, y, weight), copies, strict=True):
            np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("labels", [[0, 1, 2], np.array([0, 1, 2], np.uint8), torch.tensor([0, 1, 2])])
def test_labels_may_be_any_whole_numbers(labels: Any) -> None:
    f = np.arange(9.0).reshape(3, 3)
    value, dl_df = losses.softmax_cross_entropy(f, labels)
    same, gradient = losses.softmax_cross_entropy(f, np.eye(3))
    assert float(value) == float(same)
    np.testing.assert_array_equal(dl_df, gradient)


def test_weights_that_are_all_zero_give_zero() -> None:
    for name in LOSS_NAMES:
        y = random_targets(np.random.default_rng(0), name, 3, 2)
        value, dl_df = getattr(losses, name)(np.ones((3, 2)), y, sample_weight=np.zeros(3))
        assert float(value) == 0.0
        assert not dl_df.any()


def test_only_the_proportion_of_weights_matters() -> None:
    """From the smallest to the largest sums that float32 holds."""
    rng = np.random.default_rng(1)
    f, y = rng.normal(size=(5, 2)).astype("float32"), rng.normal(size=(5, 2))
    weight = rng.random(5)
    expected = float(losses.squared_error(f, y, sample_weight=weight)[0])
    for scale in (1e-30, 1e-6, 1e6, 1e30):
        value, _ = losses.squared_error(f, y, sample_weight=scale * weight)
        assert float(value) == pytest.approx(expected, rel=1e-6)


F, Y = np.zeros((4, 3)), np.zeros((4, 3))


def refused(call: Callable[[], Any], kind: type[Exception], *said: str) -> None:
    """It raises one line with these words."""
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for part in said:
        assert part in message


def planted(value: float) -> Array:
    """Targets with one value in them."""
    y = Y.copy()
    y[2, 1] = value
    return y


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: losses.squared_error(np.zeros(4), Y), ("(4,)", "(batch, outputs)")),
        (lambda: losses.squared_error(F, np.zeros((4, 2))), ("(4, 2)", "(batch, 3)")),
        (lambda: losses.squared_error(F, np.zeros(4)), ("(4,)", "(batch, 3)")),
        (lambda: losses.squared_error(F, np.zeros((3, 3))), ("3 rows", "have 4")),
        (lambda: losses.squared_error(F[:0], Y[:0]), ("no rows",)),
        (lambda: losses.squared_error(F, planted(np.nan)), ("NaN",)),
        (lambda: losses.squared_error(F, planted(-np.inf)), ("infinity",)),
        (lambda: losses.poisson(F, planted(-2.0)), ("-2", "at least 0")),
        (lambda: losses.binary_cross_entropy(F, planted(1.5)), ("1.5", "from 0 to 1")),
        (lambda: losses.binary_cross_entropy(F, planted(-0.5)), ("-0.5", "from 0 to 1")),
        (lambda: losses.softmax_cross_entropy(F, planted(0.5)), ("sum to 1",)),
        (lambda: losses.softmax_cross_entropy(F, [0, 1, 2, 3]), ("0 to 3", "0 to 2")),
        (lambda: losses.softmax_cross_entropy(F, [0, -1, 2, 1]), ("-1 to 2", "0 to 2")),
        (lambda: losses.softmax_cross_entropy(F, [0, 1]), ("2 rows", "have 4")),
        (lambda: losses.softmax_cross_entropy(F, [0.0, 1.0, 2.0, 0.0]), ("float64", "whole numbers 0 to 2")),
        (lambda: losses.softmax_cross_entropy(F, ["a", "b", "c", "a"]), ("<U1", "whole numbers")),
        (lambda: losses.squared_error(F, Y, sample_weight=np.ones(3)), ("(3,)", "(4,)")),
        (lambda: losses.squared_error(F, Y, sample_weight=["a"] * 4), ("<U1", "numbers")),
        (lambda: losses.squared_error(F.astype(object), Y), ("object",)),
        (lambda: losses.squared_error(F.astype(str), Y), ("<U",)),
        (lambda: losses.squared_error(torch.zeros(4, 3, requires_grad=True), Y), ("detach",)),
    ],
)
def test_arrays_that_do_not_fit_are_refused(call: Callable[[], Any], said: tuple[str, ...]) -> None:
    refused(call, ShapeError, *said)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: losses.huber(F, Y, delta=0.0), "huber_delta is 0.0"),
        (lambda: losses.quantile(F, Y, quantile=1.0), "quantile is 1.0"),
        (lambda: losses.quantile(F, Y, quantile=0.0), "quantile is 0.0"),
        (lambda: losses.softmax_cross_entropy(F, Y, label_smoothing=1.0), "label_smoothing is 1.0"),
        (lambda: losses.softmax_cross_entropy(F, Y, label_smoothing=-0.1), "label_smoothing is -0.1"),
    ],
)
def test_parameters_out_of_range_are_refused(call: Callable[[], Any], said: str) -> None:
    refused(call, ConfigError, said)


def test_the_module_offers_every_loss_by_its_name() -> None:
    assert set(LOSS_NAMES) <= set(losses.__all__)

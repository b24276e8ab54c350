"""Training steps with rounded factors: against the equations written out, PyTorch's autocast, and float32."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from gpu_mlp.backends.base import ROUNDED_PRECISIONS, Array, Ops
from gpu_mlp.backends.reference.precisions import rounding
from gpu_mlp.config import TrainingConfig
from gpu_mlp.errors import ConfigError
from gpu_mlp.learning.loss_scaling import FIRST_SCALE
from gpu_mlp.learning.optimizers import SGD, Adam
from gpu_mlp.learning.steps.training_step import TrainingStep
from gpu_mlp.learning.training import train
from gpu_mlp.network.network import Network
from tests.learning.test_backends_agree import BATCH, digits, losses_on_digits

HALVES = {"bf16": ml_dtypes.bfloat16, "fp16": np.float16}


def rounded(precision: str, values: Array) -> Array:
    """By the type's own library; TF32 has none."""
    values = values.astype(np.float32)
    if precision == "tf32":
        rounding(np, "tf32")(values)
        return values
    with np.errstate(over="ignore"):
        return values.astype(HALVES[precision]).astype(np.float32)


def problem(rows: int = 24) -> tuple[Network, Array, Array]:
    rng = np.random.default_rng(5)
    net = Network((6, 9, 5, 3), activation=("relu", "tanh"), seed=2, device="cpu")
    net.biases = [rng.normal(size=width) for width in (9, 5, 3)]
    return net, rng.normal(size=(rows, 6)).astype(np.float32), rng.normal(size=(rows, 3)).astype(np.float32)


def by_hand(precision: str, net: Network, x: Array, y: Array, scale: float) -> tuple[float, list[Array]]:
    """Loss and gradients, every equation written out."""

    def r(values: Array) -> Array:
        return rounded(precision, values)

    omega = [r(each) for each in net.weights]
    beta = [r(net.biases[0]), r(net.biases[1]), np.array(net.biases[2])]
    h0 = r(x)
    f0 = r(h0 @ omega[0].T + beta[0])
    h1 = r(np.maximum(f0, 0))
    f1 = r(h1 @ omega[1].T + beta[1])
    h2 = r(np.tanh(f1))
    f2 = h2 @ omega[2].T + beta[2]
    loss = float(np.mean(np.sum((f2 - y) ** 2, axis=1)))
    dl_df2 = r(scale * 2 * (f2 - y) / len(x))
    dl_df1 = r(r(dl_df2 @ omega[2]) * (1 - h2**2))
    dl_df0 = r(r(dl_df1 @ omega[1]) * (h1 > 0))
    pairs = ((dl_df0, h0), (dl_df1, h1), (dl_df2, h2))
    gradients = [dl_df.T @ h for dl_df, h in pairs] + [dl_df.sum(axis=0) for dl_df, _ in pairs]
    return loss, [each / scale for each in gradients]


@pytest.mark.parametrize("precision", ROUNDED_PRECISIONS)
def test_a_step_is_the_equations_with_rounded_factors(precision: str) -> None:
    net, x, y = problem()
    scale = FIRST_SCALE if precision == "fp16" else 1.0
    loss, expected = by_hand(precision, net, x, y, scale)
    step = TrainingStep(net, loss="squared_error", optimizer=SGD(1e-9), batch_size=24, precision=precision)
    assert float(step(x, y)) == pytest.approx(loss, rel=1e-5)
    for actual, wanted in zip((*step.gradients.weights, *step.gradients.biases), expected, strict=True):
        # One unit of the precision, where a sum in another order is rounded to another neighbour.
        np.testing.assert_allclose(actual, wanted, rtol=4e-3, atol=4e-3 * abs(wanted).max())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_gradients_are_as_near_to_float32_as_torchs_autocast(precision: str) -> None:
    net, x, y = problem(256)

    def distance(gradients: list[Array]) -> float:
        flat = np.concatenate([each.ravel() for each in gradients])
        return float(np.linalg.norm(flat - exact) / np.linalg.norm(exact))

    def own(precision: str) -> list[Array]:
        step = TrainingStep(
            net, loss="squared_error", optimizer=SGD(1e-30), batch_size=256, precision=precision
        )
        step(x, y)
        return [np.array(each) for each in (*step.gradients.weights, *step.gradients.biases)]

    exact = np.concatenate([each.ravel() for each in own("float32")])
    weights = [torch.tensor(np.array(each), requires_grad=True) for each in (*net.weights, *net.biases)]
    with torch.autocast("cpu", dtype={"bf16": torch.bfloat16, "fp16": torch.float16}[precision]):
        h = torch.relu(torch.nn.functional.linear(torch.tensor(x), weights[0], weights[3]))
        h = torch.tanh(torch.nn.functional.linear(h, weights[1], weights[4]))
        f = torch.nn.functional.linear(h, weights[2], weights[5])
    ((f.float() - torch.tensor(y)) ** 2).sum(1).mean().backward()  # type: ignore[no-untyped-call]
    torchs = distance([each.grad.numpy() for each in weights if each.grad is not None])
    assert 0.0 < distance(own(precision)) < 1.5 * torchs < 0.02


TOLERANCES = {"tf32": 2e-3, "bf16": 1.5e-2, "fp16": 2e-3}


@pytest.mark.parametrize("precision", ROUNDED_PRECISIONS)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_digits_follow_numpys_losses_and_float32s(ops: Ops, precision: str, optimizer: str) -> None:
    """50 steps with dropout and clipping; after them a rounding has gone its own way, but not far."""
    settings: dict[str, Any] = {
        "optimizer": optimizer,
        "learning_rate": 0.1 if optimizer == "sgd" else 3e-3,
        "dropout": 0.2,
        "precision": precision,
    }
    expected = losses_on_digits("cpu", **settings)
    assert expected[-1] < 0.85 * expected[0]
    tolerance = TOLERANCES[precision]
    np.testing.assert_allclose(losses_on_digits(ops.device, **settings), expected, rtol=tolerance)
    exact = losses_on_digits("cpu", **settings | {"precision": "float32"})
    assert np.any(exact != expected)
    np.testing.assert_allclose(expected, exact, rtol=3 * tolerance)


def fp16_step(ops: Ops, **settings: Any) -> TrainingStep:
    net = Network((4, 8, 2), activation="relu", seed=1, device=ops.device)
    return TrainingStep(net, loss="squared_error", batch_size=4, precision="fp16", **settings)


def test_a_step_that_overflows_changes_nothing_but_the_scale(ops: Ops) -> None:
    step = fp16_step(ops, optimizer=Adam(0.01), clip_norm=1.0)
    assert step.loss_scale is not None
    x, y = np.ones((4, 4), np.float32), np.full((4, 2), 100.0, np.float32)
    before = ops.to_host(step.network.parameters.flat).copy()
    seen = []
    for _ in range(12):
        step(x, y)
        seen.append(
            (float(step.loss_scale.scale), np.any(ops.to_host(step.network.parameters.flat) != before))
        )
        if seen[-1][1]:
            break
        assert not any(ops.to_host(array).any() for array in step.optimizer.arrays.values())
    *skipped, good = seen
    assert len(skipped) >= 2
    assert [scale for scale, _ in skipped] == [FIRST_SCALE / 2**n for n in range(1, len(skipped) + 1)]
    assert good == (skipped[-1][0], True)
    assert np.isfinite(ops.to_host(step.gradients.flat)).all()
    assert 0.0 < float(step.gradient_norm) < np.inf


def test_a_skipped_step_counts_for_adams_bias_correction_and_leaves_what_overflowed(ops: Ops) -> None:
    step = fp16_step(ops, optimizer=Adam(0.01))
    assert step.loss_scale is not None
    x, y = np.full((4, 4), 100.0, np.float32), np.full((4, 2), 1000.0, np.float32)
    before = ops.to_host(step.network.parameters.flat).copy()
    for number in range(1, 20):
        step(x, y)
        assert step.optimizer.step == number
        if not int(step.loss_scale.skip):
            break
        assert not np.isfinite(ops.to_host(step.gradients.flat)).all()
    assert number >= 3
    change = np.abs(ops.to_host(step.network.parameters.flat) - before).max()
    # The first gradient of all, corrected as the one of step `number`: (1 - beta) g / (1 - beta^number).
    mean, square = 0.1 / (1 - 0.9**number), 0.001 / (1 - 0.999**number)
    assert change == pytest.approx(0.01 * mean / np.sqrt(square), rel=1e-3)


def test_gradients_that_half_precision_would_lose_arrive(ops: Ops) -> None:
    """Below 3e-8 every number is rounded to 0 in half precision; here all gradients are."""
    net = Network((4, 8, 2), activation="relu", seed=1, device=ops.device)
    x = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    y = ops.to_host(net(x, precision="fp16")) - np.float32(2.0**-26) * np.sign(ops.to_host(net(x)))
    gradients = {}
    for scale in (1.0, FIRST_SCALE):
        step = TrainingStep(net, loss="squared_error", optimizer=SGD(1e-30), batch_size=4, precision="fp16")
        assert step.loss_scale is not None
        step.loss_scale.scale[...] = scale
        step(x, y)
        gradients[scale] = ops.to_host(step.gradients.weights[0])
    assert not gradients[1.0].any()
    assert gradients[FIRST_SCALE].any()


def test_training_in_half_precision_learns_the_digits(ops: Ops) -> None:
    x, labels = digits()
    net = Network((64, 32, 10), seed=1, device=ops.device)
    config = TrainingConfig(epochs=6, batch_size=BATCH, precision="fp16", learning_rate=3e-3)
    history = train(net, x[:640], labels[:640], config, validation=(x[640:], labels[640:]))
    assert history.epochs[-1].validation_metric is not None
    assert history.epochs[-1].validation_metric > 0.7


@pytest.mark.parametrize("precision", ROUNDED_PRECISIONS)
def test_a_network_predicts_in_a_precision(ops: Ops, precision: str) -> None:
    net = Network((6, 9, 3), activation="gelu", seed=3, device=ops.device)
    x = np.random.default_rng(0).normal(size=(33, 6)).astype(np.float32)
    exact, inexact = ops.to_host(net(x)), ops.to_host(net(x, precision=precision))
    assert inexact.dtype == np.float32
    assert np.any(exact != inexact)
    np.testing.assert_allclose(inexact, exact, atol=0.03)
    np.testing.assert_array_equal(ops.to_host(net(x)), exact)


@pytest.mark.parametrize(
    ("dtype", "precision", "message"),
    [
        (
            "float32",
            "float64",
            "precision is 'float64', but the network has dtype float32; give it that dtype",
        ),
        (
            "float64",
            "float32",
            "precision is 'float32', but the network has dtype float64; give it that dtype",
        ),
        (
            "float64",
            "bf16",
            "precision 'bf16' rounds float32, but the network has dtype float64; use float32",
        ),
        ("float32", "bfloat16", "precision 'bfloat16' is unknown"),
    ],
)
def test_a_precision_that_does_not_fit_is_refused(dtype: Any, precision: str, message: str) -> None:
    net = Network((3, 2), dtype=dtype, device="cpu")
    with pytest.raises(ConfigError, match=message):
        TrainingStep(net, loss="squared_error", precision=precision)
    with pytest.raises(ConfigError, match=message):
        net(np.ones((2, 3)), precision=precision)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_networks_own_type_may_be_named(dtype: Any) -> None:
    results = []
    for precision in ("auto", dtype):
        net = Network((3, 4, 2), dtype=dtype, seed=1, device="cpu")
        step = TrainingStep(net, loss="squared_error", batch_size=2, precision=precision)
        results.append(float(step(np.ones((2, 3)), np.zeros((2, 2)))))
    assert results[0] == results[1]

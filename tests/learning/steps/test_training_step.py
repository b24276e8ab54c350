"""`TrainingStep`: what one step does, that it repeats to the bit, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends.base import LOSS_NAMES, Array, Ops
from gpu_mlp.config import Loss
from gpu_mlp.errors import ConfigError, GpuMlpError, ShapeError
from gpu_mlp.learning.optimizers import SGD, Adagrad, Adam, AdamW, Lion, Optimizer, RMSprop
from gpu_mlp.learning.steps import TrainingStep
from gpu_mlp.network.network import Network
from tests.network.random_networks import evaluate, random_problem, random_targets

OPTIMIZERS: tuple[Optimizer, ...] = (
    SGD(0.1),
    SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    RMSprop(momentum=0.5),
    Adagrad(),
    Adam(0.01),
    AdamW(0.01),
    Lion(0.001, weight_decay=0.1),
)


def batch_of(rng: np.random.Generator, sizes: tuple[int, ...], loss: str, rows: int) -> tuple[Array, Array]:
    """Inputs and targets."""
    return rng.normal(size=(rows, sizes[0])), random_targets(rng, loss, rows, sizes[-1])


@pytest.mark.parametrize("loss", LOSS_NAMES)
def test_a_step_is_forward_loss_backward_and_update(ops: Ops, loss: str) -> None:
    """With SGD at rate 1 the parameters move by exactly the gradient."""
    rng = np.random.default_rng([ord(letter) for letter in loss])
    for _ in range(3):
        problem = random_problem(rng, "tanh", loss)
        net = Network(problem.sizes, activation=problem.activations, dtype="float64", device=ops.device)
        net.set_parameters(problem.weights, problem.biases)
        step = TrainingStep(net, loss=problem.loss, optimizer=SGD(1.0), batch_size=len(problem.x))
        value = step(problem.x, problem.y, problem.sample_weight)
        expected = evaluate(problem)
        assert value.shape == ()
        assert float(value) == pytest.approx(float(expected.loss), rel=1e-12)
        for k, omega in enumerate(problem.weights):
            np.testing.assert_allclose(
                ops.to_host(net.weights[k]), omega - expected.gradients.weights[k], rtol=1e-11, atol=1e-13
            )
            np.testing.assert_allclose(
                ops.to_host(net.biases[k]),
                problem.biases[k] - expected.gradients.biases[k],
                rtol=1e-11,
                atol=1e-13,
            )


def ten_steps(ops: Ops, optimizer: Optimizer, **settings: Any) -> Array:
    """The parameters after ten steps on batches of 33, 33, ..., 31 rows."""
    net = Network((3, 17, 7, 4), activation="gelu", seed=3, device=ops.device)
    step = TrainingStep(net, loss="softmax_cross_entropy", optimizer=optimizer, batch_size=33, **settings)
    rng = np.random.default_rng(0)
    for i in range(10):
        x, y = batch_of(rng, (3, 4), "binary_cross_entropy", 31 if i % 3 == 2 else 33)
        step(x, np.argmax(y, axis=1))
    parameters: Array = np.array(ops.to_host(net.parameters.flat))
    return parameters


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_same_seed_gives_the_same_bits(ops: Ops, optimizer: Optimizer) -> None:
    settings = {"dropout": 0.3, "seed": 7, "clip_norm": 0.5}
    first = ten_steps(ops, optimizer, **settings)
    assert first.tobytes() == ten_steps(ops, optimizer, **settings).tobytes()
    assert first.tobytes() != ten_steps(ops, optimizer, **settings | {"seed": 8}).tobytes()


def test_the_loss_of_a_step_stays_what_it_was(ops: Ops) -> None:
    """Losses may be kept and read later, since reading waits for the device."""
    net = Network((3, 5, 2), device=ops.device)
    step = TrainingStep(net, loss="squared_error", optimizer=SGD(0.1), batch_size=8)
    x, y = batch_of(np.random.default_rng(0), (3, 2), "squared_error", 8)
    kept = [step(x, y) for _ in range(5)]
    values = [float(loss) for loss in kept]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 5


def test_clipping_limits_the_step_and_reports_the_norm_before(ops: Ops) -> None:
    net = Network((3, 5, 2), dtype="float64", device=ops.device)
    before = np.array(ops.to_host(net.parameters.flat))
    step = TrainingStep(net, loss="squared_error", optimizer=SGD(1.0), batch_size=4, clip_norm=0.01)
    step(np.ones((4, 3)), 100 * np.ones((4, 2)))
    moved = np.linalg.norm(ops.to_host(net.parameters.flat) - before)
    assert moved == pytest.approx(0.01, rel=1e-6)
    assert float(step.gradient_norm) > 100
    assert float((step.gradients.flat**2).sum()) == pytest.approx(0.01**2, rel=1e-6)


def test_the_learning_rate_may_change_between_steps(ops: Ops) -> None:
    net = Network((3, 2), dtype="float64", device=ops.device)
    step = TrainingStep(net, loss="squared_error", optimizer=SGD(1.0), batch_size=4)
    assert step.learning_rate == 1.0
    step.learning_rate = 0.0
    before = np.array(ops.to_host(net.parameters.flat))
    step(np.ones((4, 3)), np.ones((4, 2)))
    np.testing.assert_array_equal(ops.to_host(net.parameters.flat), before)
    step.learning_rate = 0.1
    step(np.ones((4, 3)), np.ones((4, 2)))
    assert np.any(ops.to_host(net.parameters.flat) != before)


def test_the_default_optimizer_is_adam() -> None:
    step = TrainingStep(Network((3, 2), device="cpu"), loss="squared_error")
    assert step.optimizer.optimizer == Adam()


def test_a_smaller_batch_leaves_no_trace_in_the_full_ones(ops: Ops) -> None:
    """Each batch size has its own memory: the full batch computes the same before and after."""
    net = Network((3, 5, 2), dtype="float64", device=ops.device)
    step = TrainingStep(net, loss="squared_error", optimizer=SGD(1e-30), batch_size=7)
    x, y = batch_of(np.random.default_rng(0), (3, 2), "squared_error", 7)
    before = float(step(x, y))
    small = float(step(x[:2], y[:2]))
    one = float(step(x[:1], y[:1]))
    assert float(step(x, y)) == before
    assert len({before, small, one}) == 3


def test_rows_of_weight_zero_and_rows_that_are_not_there_are_the_same(ops: Ops) -> None:
    def trained(x: Array, y: Array, weight: Any) -> Array:
        net = Network((3, 5, 2), dtype="float64", device=ops.device)
        step = TrainingStep(net, loss="huber", optimizer=SGD(0.1), batch_size=len(x))
        for _ in range(5):
            step(x, y, weight)
        return np.array(ops.to_host(net.parameters.flat))

    x, y = batch_of(np.random.default_rng(0), (3, 2), "huber", 9)
    weight = np.array([1.0] * 5 + [0.0] * 4)
    np.testing.assert_allclose(trained(x, y, weight), trained(x[:5], y[:5], None), rtol=1e-12, atol=1e-14)


def test_a_batch_of_nothing_but_weight_zero_changes_nothing(ops: Ops) -> None:
    net = Network((3, 5, 2), dtype="float64", device=ops.device)
    before = np.array(ops.to_host(net.parameters.flat))
    step = TrainingStep(net, loss="squared_error", optimizer=SGD(0.1), batch_size=4)
    loss = step(np.ones((4, 3)), np.ones((4, 2)), np.zeros(4))
    assert float(loss) == 0.0
    np.testing.assert_array_equal(ops.to_host(net.parameters.flat), before)


@pytest.mark.parametrize("loss", ["squared_error", "softmax_cross_entropy"])
@pytest.mark.parametrize("weighted", [False, True])
def test_gathered_rows_train_as_given_rows_do(ops: Ops, loss: str, weighted: bool) -> None:
    """`run_rows` picks its rows out of the whole table on the device."""
    rng = np.random.default_rng(1)
    x, y = batch_of(rng, (3, 4), loss, 29)
    weight = rng.random(29) if weighted else None
    index = rng.permutation(29)[:11]
    results = []
    for gathered in (False, True):
        net = Network((3, 7, 4), dtype="float64", device=ops.device)
        step = TrainingStep(net, loss=loss, optimizer=Adam(0.01), batch_size=11, dropout=0.5)
        if gathered:
            table = [None if array is None else ops.to_device(array) for array in (x, y, weight)]
            value = ops.xp.full((), np.nan)
            step.run_rows(*table, ops.to_device(index), value)  # type: ignore[arg-type]
        else:
            value = step(x[index], y[index], None if weight is None else weight[index])
        results.append((float(value), ops.to_host(net.parameters.flat).tobytes()))
    assert results[0] == results[1]


X, Y = np.zeros((4, 3)), np.zeros((4, 2))
REFUSED: dict[str, tuple[Any, Any, Any, str]] = {
    "inputs too narrow": (X[:, :2], Y, None, "(4, 2)"),
    "inputs not a table": (X[0], Y, None, "(3,)"),
    "text": (np.full((4, 3), "a"), Y, None, "<U1"),
    "objects": (X.astype(object), Y, None, "object"),
    "complex": (X.astype(complex), Y, None, "complex128"),
    "targets too wide": (X, np.zeros((4, 3)), None, "(4, 3)"),
    "one number a row for two outputs": (X, np.zeros(4), None, "(4,)"),
    "object targets": (X, Y.astype(object), None, "object"),
    "text targets": (X, np.full((4, 2), "a"), None, "<U1"),
    "complex targets": (X, Y.astype(complex), None, "complex128"),
    "fewer targets than rows": (X, Y[:3], None, "3 rows"),
    "more rows than the batch": (np.zeros((5, 3)), np.zeros((5, 2)), None, "batch_size is 4"),
    "no rows": (X[:0], Y[:0], None, "no rows"),
    "weights of another length": (X, Y, np.ones(3), "(3,)"),
    "weights in a column": (X, Y, np.ones((4, 1)), "(4, 1)"),
    "text weights": (X, Y, np.full(4, "a"), "<U1"),
    "ragged inputs": ([[1.0, 2.0, 3.0], [1.0]], Y[:2], None, "rows"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_arrays_that_do_not_fit_are_refused_in_one_line(case: str) -> None:
    x, y, weight, said = REFUSED[case]
    net = Network((3, 2), device="cpu")
    before = net.parameters.flat.copy()
    step = TrainingStep(net, loss="squared_error", batch_size=4)
    with pytest.raises(GpuMlpError) as caught:
        step(x, y, weight)
    message = str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert said in message
    assert "\n" not in message
    np.testing.assert_array_equal(net.parameters.flat, before)


@pytest.mark.parametrize("labels", [np.array([0.0, 1.0]), np.array(["a", "b"]), np.array([None, 1])])
def test_labels_that_are_not_whole_numbers_are_refused(labels: Array) -> None:
    step = TrainingStep(Network((3, 2), device="cpu"), loss="softmax_cross_entropy")
    with pytest.raises(ShapeError, match="whole numbers 0 to 1") as caught:
        step(np.zeros((2, 3)), labels)
    assert str(labels.dtype) in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"loss": "squared"}, "did you mean 'squared_error'"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 2.5}, "batch_size is 2.5"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"dropout": -0.1}, "dropout is -0.1"),
        ({"clip_norm": 0.0}, "clip_norm is 0.0"),
        ({"clip_norm": float("nan")}, "clip_norm is nan"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**64}, f"seed is {2**64}"),
        ({"seed": 0.5}, "seed is 0.5"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainingStep(Network((3, 4, 2), device="cpu"), **{"loss": "huber", "dropout": 0.1} | settings)
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_loss_keeps_its_parameters() -> None:
    """delta 0.1 gives another gradient than the default of 1."""
    problem = random_problem(np.random.default_rng(0), "tanh", "huber")
    ends = set()
    for loss in (Loss("huber"), Loss("huber", huber_delta=0.1)):
        net = Network(problem.sizes, activation="tanh", device="cpu")
        TrainingStep(net, loss=replace(loss), optimizer=SGD(0.1))(problem.x, problem.y)
        ends.add(net.parameters.flat.tobytes())
    assert len(ends) == 2

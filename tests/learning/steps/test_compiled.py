"""The compiled step: the layerwise step's numbers for every activation, loss, optimizer and option; and its calls."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends import numpy_compiled
from gpu_mlp.backends.base import ACTIVATION_NAMES, COMPILED_ACTIVATIONS, LOSS_NAMES, Array
from gpu_mlp.config import Loss
from gpu_mlp.learning.optimizers import SGD, Adagrad, Adam, AdamW, Lion, Optimizer, RMSprop
from gpu_mlp.learning.steps import TrainingStep
from gpu_mlp.learning.steps.layerwise import LayerwiseStep
from gpu_mlp.network.network import Network
from tests.network.random_networks import random_targets

pytest.importorskip("numba", reason="Numba is not installed")

from gpu_mlp.learning.steps import compiled
from gpu_mlp.learning.steps.compiled import MOST_STEPS_A_CALL, CompiledStep

TOLERANCE = {"float64": 1e-12, "float32": 2e-5}
SIZES = (5, 7, 6, 3)
BATCH = 13
OPTIMIZERS: list[Optimizer] = [
    SGD(0.05),
    SGD(0.05, momentum=0.9, dampening=0.1, weight_decay=0.1),
    SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.1, decoupled_weight_decay=True),
    RMSprop(0.01),
    RMSprop(0.01, momentum=0.9, weight_decay=0.1),
    Adagrad(0.05, learning_rate_decay=0.1, weight_decay=0.1),
    Adam(0.01, weight_decay=0.1),
    Adam(0.01, epsilon=0.1, epsilon_hat=True),
    AdamW(0.01),
    Lion(0.001),
]
LOSSES = [
    *map(Loss, LOSS_NAMES),
    Loss("huber", huber_delta=0.1),
    Loss("quantile", quantile=0.9),
    Loss("softmax_cross_entropy", label_smoothing=0.2),
    Loss("squared_error", factor=0.5, reported=0.25),
]


@dataclass(frozen=True)
class Way:
    """How a step is computed, whatever its size."""

    narrow: bool
    parts: int
    by_outputs: bool = False
    rows_at_once: int = compiled.ROWS_AT_ONCE


WAYS = {
    "narrow": Way(narrow=True, parts=1),
    "narrow in parts": Way(narrow=True, parts=3, rows_at_once=5),
    "wide": Way(narrow=False, parts=1),
    "wide in parts": Way(narrow=False, parts=3, rows_at_once=5),
    "by outputs": Way(narrow=False, parts=3, by_outputs=True),
}


@pytest.fixture(params=WAYS)
def every_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Way:
    """Parts may be more than the rows or outputs are."""
    way = WAYS[request.param]
    monkeypatch.setattr(compiled, "is_narrow", lambda layout: way.narrow)
    monkeypatch.setattr(compiled, "step_parts", lambda layout, rows: way.parts)
    monkeypatch.setattr(compiled, "takes_gradients_by_outputs", lambda layout, rows: way.by_outputs)
    monkeypatch.setattr(compiled, "ROWS_AT_ONCE", way.rows_at_once)
    return way


class Pair:
    """One step of each kind on equal networks."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        sizes: tuple[int, ...] = SIZES,
        *,
        batch: int = BATCH,
        loss: Loss | None = None,
        activation: Any = "relu",
        optimizer: Optimizer | None = None,
        dtype: Any = "float64",
        **settings: Any,
    ) -> None:
        self.loss = Loss("squared_error") if loss is None else loss
        self.dtype = dtype
        self.steps = []
        rng = np.random.default_rng(7)
        biases = [rng.normal(size=width) for width in sizes[1:]]
        for is_compiled in (True, False):
            monkeypatch.setattr(numpy_compiled, "has_numba", lambda answer=is_compiled: answer)
            network = Network(sizes, activation=activation, seed=3, dtype=dtype, device="cpu")
            network.biases = biases
            step = TrainingStep(
                network, loss=self.loss, optimizer=optimizer or Adam(0.01), batch_size=batch, **settings
            )
            step.room_for(batch)
            self.steps.append(step)
        assert isinstance(self.steps[0].room_for(batch)[1], CompiledStep)
        assert isinstance(self.steps[1].room_for(batch)[1], LayerwiseStep)

    def batch(self, seed: int, rows: int) -> tuple[Array, Array, Array]:
        """Labels where the loss takes those."""
        rng = np.random.default_rng(seed)
        sizes = self.steps[0].network.layer_sizes
        x = rng.normal(size=(rows, sizes[0])).astype(self.dtype)
        if self.loss.name == "softmax_cross_entropy":
            y = rng.integers(0, sizes[-1], rows)
        else:
            y = random_targets(rng, self.loss.name, rows, sizes[-1]).astype(self.dtype)
        return x, y, rng.uniform(0.0, 2.0, rows).astype(self.dtype)

    def check(self, *batches: tuple[Array, Array, Array | None]) -> None:
        """The same losses, gradients, parameters and state after the batches."""
        results = []
        for step in self.steps:
            losses = [float(step(*each)) for each in batches]
            state = list(step.optimizer.arrays.values())
            norm = step.gradient_norm
            results.append(
                [np.array(losses), step.gradients.flat, step.network.parameters.flat, norm, *state]
            )
        tolerance = TOLERANCE[self.dtype]
        for found, plain in zip(*results, strict=True):
            np.testing.assert_allclose(found, plain, rtol=10 * tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("activation", COMPILED_ACTIVATIONS)
@pytest.mark.usefixtures("every_way")
def test_every_activation(activation: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(monkeypatch, activation=activation, dtype=dtype)
    pair.check(*((*pair.batch(i, BATCH)[:2], None) for i in range(4)))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.usefixtures("every_way")
def test_every_loss(loss: Loss, weighted: bool, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(monkeypatch, loss=loss, dtype=dtype)
    batches = [pair.batch(i, rows) for i, rows in enumerate((BATCH, 7, BATCH, 1))]
    pair.check(*(each if weighted else (*each[:2], None) for each in batches))


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.usefixtures("every_way")
def test_probabilities_as_targets(smoothing: float, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(monkeypatch, loss=Loss("softmax_cross_entropy", label_smoothing=smoothing))
    rng = np.random.default_rng(5)
    x, _, weights = pair.batch(0, BATCH)
    pair.check(*((x, rng.dirichlet(np.ones(3), BATCH), weights) for _ in range(3)))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.usefixtures("every_way")
def test_every_optimizer(optimizer: Optimizer, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(monkeypatch, optimizer=optimizer, activation="tanh", dtype=dtype)
    pair.check(*(pair.batch(i, BATCH) for i in range(5)))


@pytest.mark.parametrize("clip_norm", [None, 0.05, 1e6])
@pytest.mark.parametrize("l2_penalty", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.usefixtures("every_way")
def test_penalty_and_clipping(
    clip_norm: float | None, l2_penalty: float, weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Pair(monkeypatch, clip_norm=clip_norm, l2_penalty=l2_penalty)
    batches = [pair.batch(i, rows) for i, rows in enumerate((BATCH, 5, BATCH))]
    pair.check(*(each if weighted else (*each[:2], None) for each in batches))


@pytest.mark.parametrize("sizes", [(1, 1), (3, 2), (1, 31, 1), (33, 127, 129, 2), (2, *[3] * 12, 2)], ids=str)
@pytest.mark.parametrize("batch", [1, 32, 129])
@pytest.mark.usefixtures("every_way")
def test_odd_sizes(sizes: tuple[int, ...], batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(monkeypatch, sizes, batch=batch, activation="tanh")
    pair.check(*(pair.batch(i, batch) for i in range(2)))


@pytest.mark.usefixtures("every_way")
def test_layers_of_several_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(monkeypatch, (5, 7, 6, 8, 3), activation=("silu", "relu", "gelu_tanh"))
    pair.check(*(pair.batch(i, BATCH) for i in range(3)))


@pytest.mark.usefixtures("every_way")
def test_weights_that_sum_to_zero_train_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(monkeypatch, optimizer=SGD(0.1), l2_penalty=0.5)
    x, y, weights = pair.batch(0, BATCH)
    pair.check((x, y, 0.0 * weights), (x, y, weights))


@pytest.mark.usefixtures("every_way")
def test_a_label_out_of_range_is_a_target_of_zeros_and_no_memory_is_touched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair = Pair(monkeypatch, loss=Loss("softmax_cross_entropy"))
    x, y, _ = pair.batch(0, BATCH)
    y[:4] = [3, -1, 2**62, -(2**62)]
    pair.check((x, y, None))


@pytest.mark.usefixtures("every_way")
def test_a_number_that_is_not_finite_goes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(monkeypatch, optimizer=SGD(0.1))
    x, y, _ = pair.batch(0, BATCH)
    x[2, 1] = np.nan
    with np.errstate(all="ignore"):
        losses = [float(step(x, y)) for step in pair.steps]
    assert np.isnan(losses).all()
    assert [step.room_for(BATCH)[1].finite_layers() for step in pair.steps] == [[False] * 3] * 2


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "squared_error"])
@pytest.mark.usefixtures("every_way")
def test_steps_of_an_epoch_are_its_single_steps_bit_for_bit(
    loss: str, weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many go into a call: here fewer than one call takes, more, and a last batch of its own size."""
    pair = Pair(monkeypatch, loss=Loss(loss), clip_norm=0.5, l2_penalty=0.1)
    many, one = pair.steps[0], Pair(monkeypatch, loss=Loss(loss), clip_norm=0.5, l2_penalty=0.1).steps[0]
    monkeypatch.setattr(numpy_compiled, "has_numba", lambda: True)
    rows = BATCH * (MOST_STEPS_A_CALL + 3) + 5
    x, y, weights = pair.batch(1, rows)
    order = np.random.default_rng(2).permutation(rows)
    steps = MOST_STEPS_A_CALL + 4
    rates = list(np.linspace(0.01, 0.02, steps))
    losses, told = np.empty(steps), []
    table = (x, y, weights if weighted else None)
    many.run_steps(table, order, rates, losses, told.append)
    for i, rate in enumerate(rates):
        one.learning_rate = rate
        here = order[i * BATCH : (i + 1) * BATCH]
        assert float(one(x[here], y[here], weights[here] if weighted else None)) == losses[i]
    assert many.network.parameters.flat.tobytes() == one.network.parameters.flat.tobytes()
    assert many.optimizer.step == one.optimizer.step == steps
    assert told == [MOST_STEPS_A_CALL, MOST_STEPS_A_CALL + 3, steps]


def test_who_has_enough_is_asked_between_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Pair(monkeypatch).steps[0]
    x, y = np.zeros((BATCH, 5)), np.zeros((BATCH, 3))
    steps = 2 * MOST_STEPS_A_CALL
    losses = np.full(steps, -1.0)
    step.run_steps((x, y, None), np.tile(np.arange(BATCH), steps), [0.01] * steps, losses, lambda done: True)
    assert step.optimizer.step == MOST_STEPS_A_CALL
    assert (losses[:MOST_STEPS_A_CALL] >= 0.0).all()
    assert (losses[MOST_STEPS_A_CALL:] == -1.0).all()


@pytest.mark.parametrize("how", ["read-only", "unaligned"])
@pytest.mark.usefixtures("every_way")
def test_rows_as_they_come(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of other libraries may not be written to, or begin at an odd address."""
    pair = Pair(monkeypatch)
    arrays = pair.batch(0, BATCH)
    given = [
        np.frombuffer(b"." + each.tobytes(), each.dtype, offset=1).reshape(each.shape) for each in arrays
    ]
    if how == "read-only":
        given = [each.copy() for each in arrays]
        for each in given:
            each.flags.writeable = False
    assert all(not each.flags.writeable for each in given)
    step, other = pair.steps
    losses = np.empty(2)
    step.run_steps((given[0], given[1], given[2]), np.tile(np.arange(BATCH), 2), [0.01] * 2, losses, print)
    expected = [float(other(*arrays)) for _ in range(2)]
    np.testing.assert_allclose(losses, expected, rtol=1e-12)
    np.testing.assert_allclose(float(step(*given)), float(other(*arrays)), rtol=1e-12)


@pytest.mark.parametrize(
    "optimizer", [SGD(0.1, momentum=0.5), RMSprop(alpha=0.5, momentum=0.5), Adam(), Lion(beta2=0.5)], ids=str
)
def test_a_state_without_gradients_becomes_zero_and_no_number_that_is_slow(optimizer: Optimizer) -> None:
    """Of units that died: a decay would end at numbers below the normal ones, some of which decay no further."""
    network = Network((2, 3, 1), device="cpu")
    step = TrainingStep(network, loss="squared_error", optimizer=optimizer, batch_size=2)
    step(np.ones((2, 2)), np.zeros((2, 1)))
    network.weights[0][...] = 0.0
    network.biases[0][...] = -1e30
    tiny = np.finfo(np.float32).tiny
    for _ in range(1500):
        step(np.zeros((2, 2)), np.zeros((2, 1)))
    first = next(iter(step.optimizer.arrays.values()))
    assert (first[:6] == 0.0).all()  # of the dead units' weights
    assert not any(((state != 0.0) & (abs(state) < tiny)).any() for state in step.optimizer.arrays.values())


@pytest.mark.usefixtures("every_way")
def test_integers_have_the_bits_of_the_layerwise_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums of whole numbers are exact in every order."""
    pair = Pair(monkeypatch, optimizer=SGD(1.0), dtype="float32", batch=16)
    rng = np.random.default_rng(0)
    for step in pair.steps:
        rng = np.random.default_rng(0)
        step.network.weights = [rng.integers(-2, 3, each.shape) for each in step.network.weights]
        step.network.biases = [rng.integers(-2, 3, each.shape) for each in step.network.biases]
    x, y = rng.integers(-3, 4, (16, 5)), rng.integers(-3, 4, (16, 3))
    found, plain = ((float(step(x, y)), step.network.parameters.flat) for step in pair.steps)
    assert found[0] == plain[0]
    np.testing.assert_array_equal(found[1], plain[1])


@pytest.mark.parametrize("activation", sorted(set(ACTIVATION_NAMES) - set(COMPILED_ACTIVATIONS)))
def test_other_activations_dropout_and_precisions_are_layerwise(activation: str) -> None:
    plain = Network(SIZES, device="cpu")
    for network, settings in (
        (Network(SIZES, activation=activation, device="cpu"), {}),
        (plain, {"dropout": 0.5}),
        (plain, {"precision": "bf16"}),
    ):
        step = TrainingStep(network, loss="squared_error", batch_size=4, **settings)  # type: ignore[arg-type]
        assert isinstance(step.room_for(4)[1], LayerwiseStep)


def test_without_numba_steps_are_layerwise_and_the_log_says_why() -> None:
    code = """
import logging, sys
sys.modules["numba"] = None
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
import gpu_mlp
step = gpu_mlp.TrainingStep(gpu_mlp.Network((3, 2), device="cpu"), loss="squared_error", batch_size=4)
print(type(step.room_for(4)[1]).__name__)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told, name = result.stdout.strip().splitlines()
    assert told.startswith("steps on the CPU take a pass for each operation, since Numba cannot be imported")
    assert name == "LayerwiseStep"


def test_a_package_without_numba_in_use_does_not_import_it() -> None:
    code = "import sys, gpu_mlp, gpu_mlp.model; print('numba' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_the_formulas_are_looked_up_where_they_are_named() -> None:
    from gpu_mlp.backends.compiled import losses, optimizers

    assert {*losses.EACH_OUTPUT, "softmax_cross_entropy"} == set(LOSS_NAMES)
    assert set(optimizers._RULES) == {each.primitive for each in OPTIMIZERS}
    known = {name for each in OPTIMIZERS for name in each.constants()}
    assert known == set(optimizers.CONSTANT_NAMES)

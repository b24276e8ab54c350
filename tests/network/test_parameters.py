"""The flat buffer and its views, and the initialisers by their variances, bounds and orthogonality."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats

from gpu_mlp.backends.base import ACTIVATION_NAMES, Ops
from gpu_mlp.config import INITIALIZER_NAMES, NetworkConfig
from gpu_mlp.errors import ConfigError, ShapeError
from gpu_mlp.network.network import Network
from gpu_mlp.network.parameters import ALIGNMENT, ParameterBuffer, ParameterLayout, initialize

FAN_IN, FAN_OUT = 211, 307
VARIANCES = {
    "he": 2 / FAN_IN,
    "glorot": 2 / (FAN_IN + FAN_OUT),
    "lecun": 1 / FAN_IN,
}


def one_layer(initializer: str, *, fan_in: int = FAN_IN, fan_out: int = FAN_OUT, seed: int = 0) -> Any:
    """Omega_0 of a network without hidden layers."""
    return initialize(NetworkConfig((fan_in, fan_out), initializer=initializer, seed=seed))[0]


@pytest.mark.parametrize("sizes", [(1, 1), (2, 4, 7, 3, 2), (31, 33, 127), (784, 512, 10)])
def test_views_do_not_overlap_and_start_on_aligned_places(ops: Ops, sizes: tuple[int, ...]) -> None:
    layout = ParameterLayout(sizes)
    buffer = ParameterBuffer(ops, layout, "float32")
    for number, view in enumerate((*buffer.weights, *buffer.biases), start=1):
        assert not bool(view.any())  # nobody wrote here before
        view[...] = number
    starts = (*layout.weight_offsets, *layout.bias_offsets)
    assert all(start % ALIGNMENT == 0 for start in (*starts, layout.size))
    shapes = [view.shape for view in (*buffer.weights, *buffer.biases)]
    assert shapes == [*zip(sizes[1:], sizes[:-1], strict=True), *((size,) for size in sizes[1:])]
    flat = ops.to_host(buffer.flat)
    counts = [int((flat == number).sum()) for number in range(1, len(shapes) + 1)]
    assert counts == [math.prod(shape) for shape in shapes]
    assert sum(counts) == layout.parameter_count <= layout.size == flat.size
    assert layout.layers == len(sizes) - 1


@pytest.mark.parametrize("initializer", [name for name in INITIALIZER_NAMES if "_" in name])
def test_the_variance_is_the_papers(initializer: str) -> None:
    """64,777 draws: a normal's sample variance is within 5 sqrt(2 / n), a uniform's closer still."""
    omega = one_layer(initializer)
    family, distribution = initializer.split("_")
    expected = VARIANCES[family]
    assert omega.shape == (FAN_OUT, FAN_IN)
    assert abs(omega.mean()) < 5 * math.sqrt(expected / omega.size)
    assert omega.var() == pytest.approx(expected, rel=5 * math.sqrt(2 / omega.size))
    if distribution == "uniform":
        limit = math.sqrt(3 * expected)
        assert np.abs(omega).max() <= limit
        assert np.abs(omega).max() > 0.999 * limit
        cdf = scipy.stats.uniform(-limit, 2 * limit).cdf
    else:
        assert np.abs(omega).max() > 3.5 * math.sqrt(expected)
        cdf = scipy.stats.norm(0, math.sqrt(expected)).cdf
    assert scipy.stats.kstest(omega.ravel(), cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("fan_out", "fan_in"), [(33, 33), (127, 31), (31, 127), (1, 33), (33, 1), (1, 1), (2, 3)]
)
def test_orthogonal_rows_or_columns_are_orthonormal(fan_out: int, fan_in: int) -> None:
    """The shorter side: columns of a tall matrix, rows of a wide one."""
    omega = one_layer("orthogonal", fan_in=fan_in, fan_out=fan_out)
    assert omega.shape == (fan_out, fan_in)
    gram = omega.T @ omega if fan_out >= fan_in else omega @ omega.T
    np.testing.assert_allclose(gram, np.eye(min(fan_in, fan_out)), atol=1e-13)


def test_orthogonal_matrices_are_uniform_over_the_group() -> None:
    """Haar measure: first entries are as often positive as negative, and their square has the mean 1 / n."""
    draws = [one_layer("orthogonal", fan_in=3, fan_out=3, seed=seed) for seed in range(1500)]
    entries = np.array([(omega[0, 0], omega[1, 2], omega[2, 2]) for omega in draws])
    assert np.abs((entries > 0).mean(axis=0) - 0.5).max() < 5 * 0.5 / math.sqrt(1500)
    assert np.abs((entries**2).mean(axis=0) - 1 / 3).max() < 5 * 0.3 / math.sqrt(1500)
    assert abs(np.mean([np.linalg.det(omega) for omega in draws])) < 5 / math.sqrt(1500)


@pytest.mark.parametrize("initializer", INITIALIZER_NAMES)
def test_the_same_seed_gives_the_same_bits_and_others_differ(initializer: str) -> None:
    settings = {"initializer": initializer, "device": "cpu"}
    flats = [
        Network((3, 31, 33, 2), seed=seed, **settings).parameters.flat
        for seed in (5, 5, 6, 5 + 2**16, 5 + 2**32, 2**64 - 1)
    ]
    assert flats[0].tobytes() == flats[1].tobytes()
    assert len({flat.tobytes() for flat in flats}) == 5


@pytest.mark.parametrize("initializer", INITIALIZER_NAMES)
def test_biases_start_at_zero(ops: Ops, initializer: str) -> None:
    net = Network((3, 31, 2), initializer=initializer, seed=1, device=ops.device)
    assert not any(bool(beta.any()) for beta in net.biases)
    assert all(bool(omega.any()) for omega in net.weights)


def test_layers_are_drawn_independently() -> None:
    weights = initialize(NetworkConfig((31, 31, 31), initializer="he_normal"))
    correlation = np.corrcoef(weights[0].ravel(), weights[1].ravel())[0, 1]
    assert abs(correlation) < 5 / 31


@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_auto_is_he_before_the_relu_family_and_glorot_elsewhere(activation: str) -> None:
    hidden, last = initialize(NetworkConfig((211, 307, 101), activation=activation, seed=3))
    relu_like = activation not in ("identity", "sigmoid", "tanh")
    assert hidden.var() == pytest.approx(2 / 211 if relu_like else 2 / (211 + 307), rel=0.03)
    assert bool(np.abs(hidden).max() > math.sqrt(6 / (211 + 307)) * 1.001) is relu_like  # normal has tails
    assert last.var() == pytest.approx(2 / (307 + 101), rel=0.03)
    assert np.abs(last).max() <= math.sqrt(6 / (307 + 101))


def test_auto_looks_at_each_layers_own_activation() -> None:
    first, second, _ = initialize(NetworkConfig((211, 307, 211, 1), activation=("tanh", "relu")))
    assert first.var() == pytest.approx(2 / (211 + 307), rel=0.03)
    assert second.var() == pytest.approx(2 / 307, rel=0.03)


def test_the_start_is_the_same_in_both_types_and_on_every_device(ops: Ops) -> None:
    """Drawn in float64 on the host, then rounded."""
    single, double = (
        Network((3, 7, 2), seed=9, dtype=dtype, device=ops.device) for dtype in ("float32", "float64")
    )
    host = initialize(NetworkConfig((3, 7, 2), seed=9))
    for k in range(2):
        np.testing.assert_array_equal(ops.to_host(double.weights[k]), host[k])
        np.testing.assert_array_equal(ops.to_host(single.weights[k]), host[k].astype("float32"))


def test_assigning_copies_and_checks(ops: Ops) -> None:
    net = Network((3, 4, 2), dtype="float64", device=ops.device)
    source = np.ones((4, 3))
    net.weights[0] = source
    source[...] = 5.0
    assert float(net.weights[0].max()) == 1.0
    net.biases = [np.full(4, 2.0), [3.0, 4.0]]
    assert ops.to_host(net.biases[1]).tolist() == [3.0, 4.0]
    net.weights[-1] = 7 * np.ones((2, 4))
    assert float(net.weights[1].min()) == 7.0
    assert [view.shape for view in net.weights[:]] == [(4, 3), (2, 4)]


def test_what_does_not_fit_is_refused_and_changes_nothing() -> None:
    net = Network((3, 4, 2), device="cpu")
    before = net.parameters.flat.copy()
    cases: list[tuple[Any, tuple[str, ...]]] = [
        (lambda: net.weights.assign([np.zeros((4, 3))]), ("weights has 2 layers", "given 1")),
        (
            lambda: net.weights.assign([np.zeros((4, 3)), np.zeros((4, 2))]),
            ("weights[1]", "(2, 4)", "(4, 2)"),
        ),
        (lambda: net.biases.assign([np.zeros(4), np.zeros((2, 1))]), ("biases[1]", "(2,)", "(2, 1)")),
        (lambda: net.weights.__setitem__(0, np.zeros((3, 4))), ("weights[0]", "(4, 3)", "(3, 4)")),
        (lambda: net.biases.__setitem__(-1, np.zeros(3)), ("biases[1]", "(2,)", "(3,)")),
        (lambda: net.biases.__setitem__(0, 1.0), ("biases[0]", "()")),
    ]
    for call, said in cases:
        with pytest.raises(ShapeError) as caught:
            call()
        message = str(caught.value)
        assert "\n" not in message
        for part in said:
            assert part in message
    np.testing.assert_array_equal(net.parameters.flat, before)
    with pytest.raises(IndexError):
        net.weights[2]


def test_an_unknown_initializer_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean 'he_normal'"):
        NetworkConfig((2, 2), initializer="he_norm")

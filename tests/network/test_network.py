"""`Network` as its users meet it: settings, inputs of every kind, batches of any size, refusals."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.config import NetworkConfig
from gpu_mlp.errors import ConfigError, ShapeError
from gpu_mlp.network import network as network_module
from gpu_mlp.network.network import Network


def test_it_says_what_it_is(ops: Ops) -> None:
    net = Network((2, 4, 7, 3, 2), activation=("relu", "tanh", "relu"), device=ops.device)
    assert net.layer_sizes == (2, 4, 7, 3, 2)
    assert net.activations == ("relu", "tanh", "relu")
    assert net.dtype == "float32"
    assert net.device == ops.device
    assert net.parameter_count == 2 * 4 + 4 + 4 * 7 + 7 + 7 * 3 + 3 + 3 * 2 + 2
    assert repr(net) == f"<Network 2-4-7-3-2, relu, tanh, 79 parameters, float32 on {ops.device}>"
    assert "linear" in repr(Network((2, 2), device=ops.device))


def test_from_config_makes_the_same_network(ops: Ops) -> None:
    config = NetworkConfig((3, 5, 2), "gelu", "lecun_normal", seed=4, dtype="float64")
    net = Network.from_config(config, ops.device)
    same = Network(
        (3, 5, 2), activation="gelu", initializer="lecun_normal", seed=4, dtype="float64", device=ops.device
    )
    assert net.config == same.config == config
    np.testing.assert_array_equal(ops.to_host(net.parameters.flat), ops.to_host(same.parameters.flat))


def test_sizes_may_be_a_list_and_numpys_integers() -> None:
    """As they come out of y.max() + 1."""
    net = Network([3, np.int64(5), np.int32(2)], activation=["tanh"], device="cpu")
    assert net.layer_sizes == (3, 5, 2)
    assert all(type(size) is int for size in net.layer_sizes)


@pytest.mark.parametrize("batch", [0, 1, 2, 31, 32, 33, 97])
def test_a_call_gives_the_output_of_any_number_of_rows(
    ops: Ops, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole chunks, a smaller last one, fewer rows than a chunk, none."""
    monkeypatch.setattr(network_module, "ROWS_AT_ONCE", 32)
    net = Network((3, 7, 2), activation="tanh", dtype="float64", device=ops.device)
    x = np.random.default_rng(0).normal(size=(batch, 3))
    output = net(x)
    assert output.shape == (batch, 2)
    np.testing.assert_allclose(
        ops.to_host(output), ops.to_host(net.forward(x).output), rtol=1e-13, atol=1e-15
    )


VALUES = np.arange(12.0).reshape(4, 3)


@pytest.mark.parametrize(
    "given",
    [
        VALUES,
        VALUES.astype("float32"),
        VALUES.astype("float16"),
        VALUES.astype("int8"),
        VALUES.astype("uint64"),
        np.asfortranarray(VALUES),
        np.repeat(VALUES, 2, axis=0)[::2],
        VALUES[::-1][::-1],
        VALUES.tolist(),
        torch.tensor(VALUES),
        torch.tensor(VALUES.T.copy()).T,
        VALUES.astype(">f8"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_inputs_of_any_kind_give_the_same_bits(given: Any, dtype: Any) -> None:
    net = Network((3, 7, 2), dtype=dtype, device="cpu")
    values = VALUES.astype(dtype)
    np.testing.assert_array_equal(net.forward(given).output, net.forward(values).output)
    np.testing.assert_array_equal(net(given), net(values))


def test_truth_values_are_numbers_too() -> None:
    net = Network((2, 1), device="cpu")
    np.testing.assert_array_equal(net(np.array([[True, False]])), net([[1.0, 0.0]]))


def test_an_array_of_the_right_kind_is_not_copied(ops: Ops) -> None:
    net = Network((3, 2), dtype="float64", device=ops.device)
    x = ops.to_device(VALUES)
    assert net.to_inputs(x) is x or net.to_inputs(x).base is x
    assert net.forward(x).h[0].ctypes.data == x.ctypes.data if ops.name == "numpy" else True


def test_cpu_tensors_are_read_without_a_copy() -> None:
    tensor = torch.tensor(VALUES)
    net = Network((3, 2), dtype="float64", device="cpu")
    assert net.to_inputs(tensor).ctypes.data == tensor.data_ptr()


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.zeros((4, 2)), ("(4, 2)", "(batch, 3)")),
        (np.zeros(3), ("(3,)", "(batch, 3)")),
        (np.zeros((1, 4, 3)), ("(1, 4, 3)",)),
        (1.0, ("()",)),
        ([[1.0, 2.0, 3.0], [1.0]], ("list", "same length")),
        (np.full((4, 3), "1.0"), ("<U3", "numbers")),
        (np.zeros((4, 3), object), ("object", "numbers")),
        (np.zeros((4, 3), complex), ("complex128", "numbers")),
        (np.zeros((4, 3), "datetime64[s]"), ("datetime64[s]",)),
        (torch.zeros(4, 3, requires_grad=True), ("Tensor", "detach")),
        (None, ("()",)),
        ("abc", ("()",)),
    ],
    ids=str,
)
@pytest.mark.parametrize("call", [Network.forward, Network.__call__], ids=["forward", "call"])
def test_inputs_that_do_not_fit_are_refused_in_one_line(
    call: Callable[[Network, Any], Any], x: Any, said: tuple[str, ...]
) -> None:
    with pytest.raises(ShapeError) as caught:
        call(Network((3, 2), device="cpu"), x)
    message = str(caught.value)
    assert "\n" not in message
    for part in said:
        assert part in message


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"layer_sizes": (3,)}, ("(3,)", "at least two", "such as (2, 4, 7, 3, 2)")),
        ({"layer_sizes": ()}, ("()",)),
        ({"layer_sizes": (3, 0, 2)}, ("(3, 0, 2)",)),
        ({"layer_sizes": (3, -1)}, ("(3, -1)",)),
        ({"layer_sizes": (3, 2.5)}, ("(3, 2.5)",)),
        ({"layer_sizes": (3, "2")}, ("(3, '2')",)),
        ({"activation": "rely"}, ("'rely'", "did you mean 'relu'")),
        ({"activation": "qqq"}, ("'qqq'", "choose one of identity, relu")),
        ({"activation": ("relu", "tanh")}, ("2 layers", "1 hidden layers")),
        ({"activation": ("tahn",)}, ("did you mean 'tanh'",)),
        ({"initializer": "he"}, ("'he'",)),
        ({"seed": -1}, ("seed is -1", "at least 0")),
        ({"seed": 1.5}, ("seed is 1.5", "whole")),
        ({"seed": 2**64}, (str(2**64),)),
        ({"dtype": "float16"}, ("'float16'", "float64")),
        ({"dtype": np.float32}, ("float32",)),
    ],
    ids=str,
)
def test_settings_that_do_not_fit_are_refused_in_one_line(
    settings: dict[str, Any], said: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as caught:
        Network(**{"layer_sizes": (3, 4, 2), "device": "cpu"} | settings)
    message = str(caught.value)
    assert "\n" not in message
    assert isinstance(caught.value, ValueError)
    for part in said:
        assert part in message


def test_set_parameters_copies_them_in(ops: Ops) -> None:
    rng = np.random.default_rng(0)
    net = Network((3, 5, 2), dtype="float64", device=ops.device)
    weights = [rng.normal(size=(5, 3)), torch.tensor(rng.normal(size=(2, 5)))]
    biases = [rng.normal(size=5).tolist(), rng.normal(size=2)]
    net.set_parameters(weights, biases)
    for mine, given in zip((*net.weights, *net.biases), (*weights, *biases), strict=True):
        np.testing.assert_array_equal(ops.to_host(mine), np.asarray(given))


def test_set_parameters_changes_nothing_where_one_does_not_fit() -> None:
    net = Network((3, 5, 2), device="cpu")
    before = net.parameters.flat.copy()
    good: list[Array] = [np.ones((5, 3)), np.ones((2, 5))]
    with pytest.raises(ShapeError):
        net.set_parameters(good, [np.ones(5), np.ones(3)])
    np.testing.assert_array_equal(net.parameters.flat, before)


def test_no_warning_reaches_the_user_at_ordinary_sizes() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = Network((3, 129, 2), activation="gelu", device="cpu")
        net.backward(net.forward(1e4 * np.ones((33, 3))), np.ones((33, 2)))

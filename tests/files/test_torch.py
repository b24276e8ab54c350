"""Networks to and from PyTorch: the same bits of weights, and outputs that agree."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import gpu_mlp
from gpu_mlp.backends.base import ACTIVATION_NAMES, Ops
from gpu_mlp.errors import ConfigError, ShapeError
from gpu_mlp.files.torch import from_torch, to_torch
from gpu_mlp.network.network import Network
from tests.data.refusals import refused
from tests.files.models import KINDS

X = np.random.default_rng(0).normal(size=(17, 5)) * 3


def check_agree(network: Network, module: Any) -> None:
    x = X[:, : network.layer_sizes[0]]
    expected = module(torch.tensor(x, dtype=getattr(torch, network.dtype))).detach().numpy()
    np.testing.assert_allclose(network.ops.to_host(network(x)), expected, rtol=1e-6, atol=1e-6)


def bits(network: Network) -> bytes:
    return bytes(network.ops.to_host(network.parameters.flat).tobytes())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_every_activation_goes_there_and_back(ops: Ops, activation: str, dtype: Any) -> None:
    network = Network((5, 7, 4, 3), activation=activation, dtype=dtype, device=ops.device, seed=1)
    network.biases[0][...] = 0.5
    module = to_torch(network)
    check_agree(network, module)
    again = from_torch(module, device=ops.device)
    assert again.activations == network.activations
    assert (again.dtype, again.device) == (dtype, ops.device)
    assert bits(again) == bits(network)
    assert bits(from_torch(module.state_dict(), activation, device=ops.device)) == bits(network)


def test_activations_of_their_own_and_linear_models() -> None:
    names = ("relu", "gelu_tanh", "softplus")
    network = Network((5, 7, 4, 3, 2), activation=names, device="cpu")
    assert from_torch(to_torch(network)).activations == names
    linear = Network((5, 2), device="cpu")
    assert [type(each).__name__ for each in to_torch(linear)] == ["Linear"]
    assert bits(from_torch(to_torch(linear))) == bits(linear)


def test_the_weights_are_copies() -> None:
    network = Network((5, 7, 3), device="cpu")
    before, module = bits(network), to_torch(network)
    with torch.no_grad():
        module[0].weight.zero_()
    assert bits(network) == before
    again = from_torch(module)
    with torch.no_grad():
        module[0].weight.fill_(9.0)
    assert not np.any(again.weights[0])


def test_a_model_file_is_loaded_by_pytorch(tmp_path: Path) -> None:
    model, rows = KINDS["text labels"]()
    gpu_mlp.save(model, tmp_path / "m.safetensors")
    module = to_torch(model)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    module.load_state_dict(load_file(tmp_path / "m.safetensors"))
    assert model.preparation is not None
    x = model.preparation.transform(gpu_mlp.data.read_table(rows), also_allowed=(model.target.name,))
    np.testing.assert_allclose(
        module(torch.tensor(x)).detach().numpy(), model.network(x), rtol=1e-6, atol=1e-6
    )
    network = from_torch(load_file(tmp_path / "m.safetensors"), model.network.activations)
    assert bits(network) == bits(model.network)


def test_what_pytorch_has_besides_is_understood() -> None:
    module = nn.Sequential(
        nn.Linear(5, 4, bias=False),
        nn.Dropout(0.5),
        nn.ReLU(),
        nn.Linear(4, 3),
        nn.Linear(3, 2),
        nn.Identity(),
    ).eval()
    network = from_torch(module)
    assert network.activations == ("relu", "identity")
    check_agree(network, module)
    named = nn.Sequential(OrderedDict(first=nn.Linear(5, 2)))
    check_agree(from_torch(named), named)
    nested = {f"model.layers.{name}": tensor for name, tensor in module.state_dict().items()}
    assert bits(from_torch(nested, ("relu", "identity"))) == bits(network)
    arrays = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    assert bits(from_torch(arrays, ("relu", "identity"))) == bits(network)


def linear(*sizes: int) -> list[Any]:
    return [nn.Linear(i, o) for i, o in pairwise(sizes)]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: nn.Sequential(nn.Conv1d(1, 1, 1)),
            ConfigError,
            "module 0 is a Conv1d without a Linear layer",
        ),
        (
            lambda: nn.Sequential(nn.Linear(5, 4), nn.Hardswish(), nn.Linear(4, 2)),
            ConfigError,
            "module 1 is Hardswish()",
        ),
        (
            lambda: nn.Sequential(nn.Linear(5, 4), nn.LeakyReLU(0.2), nn.Linear(4, 2)),
            ConfigError,
            "no equal of",
        ),
        (
            lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)),
            ConfigError,
            "BatchNorm1d",
        ),
        (
            lambda: nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Tanh()),
            ConfigError,
            "Tanh without a Linear layer",
        ),
        (lambda: nn.Sequential(nn.Linear(5, 4), nn.Softmax(1)), ConfigError, "no equal of"),
        (lambda: nn.Sequential(nn.Linear(5, 4), nn.ReLU()), ConfigError, "the last module is an activation"),
        (lambda: nn.Sequential(), ConfigError, "the last module is an activation"),
        (lambda: nn.Linear(5, 4), ConfigError, "a Linear is no sequence of modules"),
        (lambda: nn.Sequential(*linear(5, 4)).half(), ConfigError, "0.weight has type float16"),
        (
            lambda: nn.Sequential(nn.Linear(5, 4), nn.Linear(3, 2)),
            ShapeError,
            "layer 1 has a weight of shape (2, 3)",
        ),
        (lambda: nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 2).double()), ShapeError, "several types"),
    ],
)
def test_what_a_network_has_no_equal_of_is_refused(
    make: Callable[[], Any], error: type, message: str
) -> None:
    with refused(message, error=error):
        from_torch(make(), device="cpu")


@pytest.mark.parametrize(
    ("state", "activation", "error", "message"),
    [
        ({"0.weight": np.zeros((2, 3))}, None, ConfigError, "does not say its activations"),
        ({"0.running_mean": np.zeros(2)}, "relu", ConfigError, "has '0.running_mean'"),
        ({"weight": np.zeros((2, 3))}, "relu", ConfigError, "has 'weight'"),
        ({"0.bias": np.zeros(2)}, "relu", ConfigError, "lacks the weight"),
        ({}, "relu", ConfigError, "lacks the weight"),
        (
            {"a.0.weight": np.zeros((2, 3)), "b.1.weight": np.zeros((2, 2))},
            "relu",
            ConfigError,
            "several networks",
        ),
        ({"0.weight": np.zeros((2, 3)), "0.bias": np.zeros(3)}, "relu", ShapeError, "a bias of shape (3,)"),
        ({"0.weight": np.zeros((2, 3, 1))}, "relu", ShapeError, "must be (outputs, inputs)"),
        ({"0.weight": np.zeros((2, 3))}, "sine", ConfigError, "sine"),
    ],
)
def test_a_state_that_is_no_networks_is_refused(
    state: Any, activation: Any, error: type, message: str
) -> None:
    with refused(message, error=error):
        from_torch(state, activation, device="cpu")


def test_activations_are_not_given_twice() -> None:
    with refused("a Sequential says its activations itself", error=ConfigError):
        from_torch(to_torch(Network((2, 3), device="cpu")), "relu")

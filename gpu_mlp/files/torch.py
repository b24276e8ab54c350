"""Networks to and from PyTorch: `nn.Sequential` of Linear layers and activations, and its state_dict, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.config import NetworkConfig
from gpu_mlp.errors import ConfigError, ShapeError
from gpu_mlp.model import Model
from gpu_mlp.network.network import Network

__all__ = ["from_torch", "to_torch"]

# What each activation is in torch.nn, with the settings that make it the package's.
MODULES: dict[str, tuple[str, dict[str, Any]]] = {
    "identity": ("Identity", {}),
    "relu": ("ReLU", {}),
    "leaky_relu": ("LeakyReLU", {"negative_slope": 0.01}),
    "elu": ("ELU", {"alpha": 1.0}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "gelu": ("GELU", {"approximate": "none"}),
    "gelu_tanh": ("GELU", {"approximate": "tanh"}),
    "silu": ("SiLU", {}),
    "softplus": ("Softplus", {"beta": 1.0, "threshold": 20.0}),
}
# Which do nothing to a trained network's output.
SKIPPED = ("Dropout",)
DTYPES = ("float32", "float64")


def to_torch(model: Model | Network) -> Any:
    """A `torch.nn.Sequential` on the CPU with copies of the network's weights: Linear, activation, Linear, ...

    Its output is f_K, before softmax, logistic or exp; a model's preparation of a raw table is not part of it. The
    names of its state_dict are those of the tensors in a model file, "0.weight", "0.bias", "2.weight", ...
    """
    import torch

    network = model.network if isinstance(model, Model) else model
    layers: list[Any] = []
    for k, (omega, beta) in enumerate(zip(network.weights, network.biases, strict=True)):
        outputs, inputs = omega.shape
        linear = torch.nn.Linear(inputs, outputs, dtype=getattr(torch, network.dtype))
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(np.array(network.ops.to_host(omega))))
            linear.bias.copy_(torch.from_numpy(np.array(network.ops.to_host(beta))))
        layers.append(linear)
        if k < len(network.activations):
            name, settings = MODULES[network.activations[k]]
            layers.append(getattr(torch.nn, name)(**settings))
    return torch.nn.Sequential(*layers)


def from_torch(
    source: Any, activation: str | Sequence[str] | None = None, *, device: str = "auto"
) -> Network:
    """A network with copies of the weights of an `nn.Sequential`, or of a state_dict and the activations named.

    A Linear layer without bias gets one of zeros; Dropout is left out. Raises ConfigError for modules that the network
    has no equal of and for activations given twice or not at all, ShapeError for weights that do not fit each other.
    """
    if isinstance(source, Mapping):
        if activation is None:
            raise ConfigError(
                "a state_dict does not say its activations; give them, such as activation='relu'"
            )
        weights, biases = _of_state(source)
    else:
        if activation is not None:
            raise ConfigError(
                "a Sequential says its activations itself; leave activation out, or give its state_dict"
            )
        weights, biases, activation = _of_modules(source)
    sizes = _sizes(weights, biases)
    dtype: Any = weights[0].dtype.name
    names = activation if isinstance(activation, str) else tuple(activation)
    return Network.from_parameters(NetworkConfig(sizes, names, dtype=dtype), weights, biases, device)


def _of_modules(sequential: Any) -> tuple[list[NDArray[Any]], list[NDArray[Any]], list[str]]:
    """Weights, biases and activations of alternating modules."""
    weights: list[NDArray[Any]] = []
    biases: list[NDArray[Any]] = []
    names: list[str] = []
    try:
        modules = list(sequential)
    except TypeError:
        raise ConfigError(
            f"a {type(sequential).__name__} is no sequence of modules; give an nn.Sequential of Linear layers and "
            "activations, or its state_dict"
        ) from None
    for index, module in enumerate(modules):
        kind = type(module).__name__
        if kind == "Linear":
            if len(weights) > len(names):  # two in a row
                names.append("identity")
            weights.append(_array(f"{index}.weight", module.weight))
            zeros = np.zeros(len(weights[-1]), weights[-1].dtype)
            biases.append(zeros if module.bias is None else _array(f"{index}.bias", module.bias))
        elif kind not in SKIPPED:
            if len(names) >= len(weights):
                raise ConfigError(
                    f"module {index} is a {kind} without a Linear layer before it; give Linear layers with one "
                    "activation between two"
                )
            names.append(_activation(index, module))
    if len(names) == len(weights) and (not weights or names.pop() != "identity"):
        raise ConfigError(
            "the last module is an activation, but a network's output is its last Linear layer's; leave it out "
            "(the loss has the softmax, the logistic function or exp)"
        )
    return weights, biases, names


def _activation(index: int, module: Any) -> str:
    """The package's name of a module. Raises ConfigError where it has none."""
    kind = type(module).__name__
    for name, (theirs, settings) in MODULES.items():
        if kind == theirs and all(getattr(module, key) == value for key, value in settings.items()):
            return name
    asked = ", ".join(dict.fromkeys(theirs for theirs, _ in MODULES.values()))
    raise ConfigError(
        f"module {index} is {module!r:.80}, which the network has no equal of; use Linear, Dropout and, with PyTorch's "
        f"default settings, {asked}"
    )


def _of_state(state: Mapping[str, Any]) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Weights and biases in the order of their modules' numbers, whatever is before the numbers."""
    found: dict[tuple[str, int], dict[str, NDArray[Any]]] = {}
    for name, tensor in state.items():
        *_, number, kind = ("", *name.rsplit(".", 2))
        if kind not in ("weight", "bias") or not number.isdigit():
            raise ConfigError(
                f"the state_dict has {name!r}, but must have NUMBER.weight and NUMBER.bias as of an nn.Sequential of "
                "Linear layers; convert the module itself, or rename its tensors"
            )
        found.setdefault((name.removesuffix(f"{number}.{kind}"), int(number)), {})[kind] = _array(
            name, tensor
        )
    if len({prefix for prefix, _ in found}) > 1:
        raise ConfigError("the state_dict has several networks; give the tensors of one")
    layers = [found[key] for key in sorted(found)]
    if not layers or any("weight" not in layer for layer in layers):
        raise ConfigError(
            "the state_dict lacks the weight of a layer; give that of an nn.Sequential of Linear layers"
        )
    weights = [layer["weight"] for layer in layers]
    zeros = [np.zeros(len(weight), weight.dtype) for weight in weights]
    return weights, [layer.get("bias", zero) for layer, zero in zip(layers, zeros, strict=True)]


def _array(name: str, tensor: Any) -> NDArray[Any]:
    """Its values on the host. Raises ConfigError for another type than the network's two."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in DTYPES:
        raise ConfigError(
            f"{name} has type {dtype}, but a network has {' or '.join(DTYPES)}; convert the module first"
        )
    return np.array(tensor.detach().cpu().numpy() if hasattr(tensor, "detach") else tensor)


def _sizes(weights: Sequence[NDArray[Any]], biases: Sequence[NDArray[Any]]) -> tuple[int, ...]:
    """Layer sizes. Raises ShapeError where a layer does not fit the one before it."""
    if any(weight.ndim != 2 for weight in weights) or any(bias.ndim != 1 for bias in biases):
        raise ShapeError(
            "a layer's weight must be (outputs, inputs) and its bias (outputs,); give those of Linear layers"
        )
    if len({array.dtype for array in (*weights, *biases)}) > 1:
        raise ShapeError("the layers have several types; convert the module to one")
    sizes = (weights[0].shape[1], *(len(weight) for weight in weights))
    for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        if weight.shape[1] != sizes[k] or len(bias) != len(weight):
            raise ShapeError(
                f"layer {k} has a weight of shape {weight.shape} and a bias of shape {bias.shape}, but takes "
                f"{sizes[k]} inputs; give layers that fit each other"
            )
    return sizes

"""`save` and `load`: a model as one .safetensors file, its description in the metadata, and no pickle.

The tensors are named as in a `torch.nn.Sequential` of Linear layers and activations: "0.weight", "0.bias",
"2.weight", ... The metadata are `format` "gpu_mlp", `format_version`, one JSON document `model` and the
SHA-256 of all of it with the tensors.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from gpu_mlp.config import Loss, NetworkConfig, check_type
from gpu_mlp.data import Preparation, Target
from gpu_mlp.data.messages import first_line, shown_path
from gpu_mlp.errors import GpuMlpError, ModelFileError
from gpu_mlp.files.atomic_file import write_atomically
from gpu_mlp.files.safetensors_format import FormatError
from gpu_mlp.files.sealed_file import Kind, Tensors, seal, unseal
from gpu_mlp.model import Model
from gpu_mlp.network.network import Network
from gpu_mlp.network.parameters import ParameterLayout

__all__ = ["FORMAT_VERSION", "encode_model", "load", "save"]

FORMAT_VERSION = 1
KIND = Kind(
    "gpu_mlp", FORMAT_VERSION, "model", "the model.safetensors of a run folder", "train the model again"
)


def save(model: Model, path: str | Path) -> None:
    """Write the model to `path`, whole or not at all; a file that is there is replaced.

    Raises ModelFileError where the file cannot be written or the model's metadata are not plain data.
    """
    path = Path(path)
    check_type("model", model, Model, "a Model, such as Model(network, Loss('squared_error'))")
    content = encode_model(model, path)
    try:
        write_atomically(path, content)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise ModelFileError(
            f"{shown_path(path)} cannot be written ({reason}); "
            "choose a path in a folder that exists and can be written to"
        ) from None


def encode_model(model: Model, path: Path) -> bytes:
    """The bytes of the file that `save` writes to `path`.

    Raises ModelFileError where the model's metadata are not plain data.
    """
    network = model.network
    tensors = {}
    for k, (omega, beta) in enumerate(zip(network.weights, network.biases, strict=True)):
        tensors[f"{2 * k}.weight"] = network.ops.to_host(omega)
        tensors[f"{2 * k}.bias"] = network.ops.to_host(beta)
    try:
        return seal(KIND, tensors, _describe(model))
    except (TypeError, ValueError) as error:
        raise ModelFileError(
            f"{shown_path(path)} cannot be written: the model's description is not plain data "
            f"({first_line(error)}); remove it from model.metadata"
        ) from None
    except FormatError as error:
        raise ModelFileError(f"{shown_path(path)} {error}") from None


def load(path: str | Path, device: str = "auto") -> Model:
    """The model that `save` wrote, its network on `device`.

    Raises ModelFileError where the file is missing, damaged, written by something else or by a newer
    gpu_mlp, and DeviceError where the device cannot be used.
    """
    path = Path(path)
    try:
        document, tensors = unseal(KIND, path)
        return _model_from(document, tensors, device)
    except FormatError as error:
        message = str(error)
    except FileNotFoundError:
        message = "does not exist; check the path"
    except (OSError, ValueError) as error:
        if isinstance(error, GpuMlpError):
            raise
        message = f"cannot be read ({first_line(error)}); check the path and its permissions"
    raise ModelFileError(f"{shown_path(path)} {message}")


def _describe(model: Model) -> dict[str, Any]:
    """All of a model but its parameters, as plain data."""
    config = asdict(model.network.config)
    return {
        "network": {**config, "activation": list(model.network.activations)},
        "loss": asdict(model.loss),
        "preparation": None if model.preparation is None else model.preparation.to_dict(),
        "target": None if model.target is None else model.target.to_dict(),
        "ignored": list(model.ignored),
        "metadata": model.metadata,
    }


def _model_from(document: Any, tensors: Tensors, device: str) -> Model:
    try:
        network = document["network"]
        config = NetworkConfig(
            layer_sizes=tuple(network["layer_sizes"]),
            activation=tuple(network["activation"]),
            initializer=network["initializer"],
            seed=network["seed"],
            dtype=network["dtype"],
        )
        _check_tensors(config, tensors)
        loss = Loss(**document["loss"])
        preparation, target = document["preparation"], document["target"]
        model = Model(  # which checks that the parts fit together
            _network(config, tensors, "cpu"),
            loss,
            target=None if target is None else Target.from_dict(target),
            preparation=None if preparation is None else Preparation.from_dict(preparation),
            ignored=tuple(str(name) for name in document["ignored"]),
            metadata=dict(document["metadata"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise FormatError(
            f"describes a model that cannot be ({first_line(error)}); train the model again"
        ) from None
    if device != "cpu":
        model.network = _network(config, tensors, device)
    return model


def _check_tensors(config: NetworkConfig, tensors: Tensors) -> None:
    """Every name, shape and type that the architecture needs, and no other. Raises ValueError."""
    expected: dict[str, tuple[int, ...]] = {}
    for k, (rows, columns) in enumerate(ParameterLayout(config.layer_sizes).weight_shapes):
        expected |= {f"{2 * k}.weight": (rows, columns), f"{2 * k}.bias": (rows,)}
    if tensors.keys() != expected.keys():
        odd = sorted(tensors.keys() ^ expected.keys())
        raise ValueError(f"tensor {odd[0]} is missing or has no layer")
    for name, shape in expected.items():
        found = tensors[name]
        if found.shape != shape or found.dtype != config.dtype:
            raise ValueError(
                f"tensor {name} is {found.dtype} {found.shape}, but its layer is {config.dtype} {shape}"
            )


def _network(config: NetworkConfig, tensors: Tensors, device: str) -> Network:
    layers = range(len(config.layer_sizes) - 1)
    weights, biases = ([tensors[f"{2 * k}.{kind}"] for k in layers] for kind in ("weight", "bias"))
    return Network.from_parameters(config, weights, biases, device)

"""`save` and `load`: a model as one .safetensors file, its description in the metadata, and no pickle.

The tensors are named as in a `torch.nn.Sequential` of Linear layers and activations: "0.weight", "0.bias",
"2.weight", ... The metadata are `format` "gpu_mlp", `format_version`, one JSON document `model` and the
SHA-256 of all of it with the tensors.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.config import Loss, NetworkConfig, check_type
from gpu_mlp.data import Preparation, Target
from gpu_mlp.data.messages import first_line, shown_path
from gpu_mlp.errors import GpuMlpError, ModelFileError
from gpu_mlp.files.safetensors_format import Container, FormatError, encode, parse_json, read
from gpu_mlp.model import Model
from gpu_mlp.network.network import Network
from gpu_mlp.network.parameters import ParameterLayout

__all__ = ["FORMAT_VERSION", "encode_model", "load", "save", "temporary_path", "write_atomically"]

FORMAT = "gpu_mlp"
FORMAT_VERSION = 1

Tensors = Mapping[str, NDArray[Any]]


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
        document = json.dumps(_describe(model), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ModelFileError(
            f"{shown_path(path)} cannot be written: the model's description is not plain data "
            f"({first_line(error)}); remove it from model.metadata"
        ) from None
    metadata = {"format": FORMAT, "format_version": str(FORMAT_VERSION), "model": document}
    metadata["sha256"] = _checksum(tensors, metadata)
    try:
        return encode(tensors, metadata)
    except FormatError as error:
        raise ModelFileError(f"{shown_path(path)} {error}") from None


def load(path: str | Path, device: str = "auto") -> Model:
    """The model that `save` wrote, its network on `device`.

    Raises ModelFileError where the file is missing, damaged, written by something else or by a newer
    gpu_mlp, and DeviceError where the device cannot be used.
    """
    path = Path(path)
    try:
        container = read(path)
        _check_origin(container)
        document = parse_json(container.metadata["model"], "the description of the model")
        return _model_from(document, container.tensors, device)
    except FormatError as error:
        message = str(error)
    except FileNotFoundError:
        message = "does not exist; check the path"
    except (OSError, ValueError) as error:
        if isinstance(error, GpuMlpError):
            raise
        message = f"cannot be read ({first_line(error)}); check the path and its permissions"
    raise ModelFileError(f"{shown_path(path)} {message}")


def write_atomically(path: Path, content: bytes) -> None:
    """Write under a temporary name in the same folder, then rename: no reader ever sees half a file."""
    temporary = temporary_path(path)
    # Made with the permissions of any new file, which the umask then limits.
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def temporary_path(path: Path) -> Path:
    """A name beside `path` that nobody else uses."""
    return path.parent / f".{path.name[:50]}.{secrets.token_hex(8)}.tmp"


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


def _checksum(tensors: Tensors, metadata: Mapping[str, str]) -> str:
    """SHA-256 over the metadata, the tensors' names, types and shapes, and then their bytes, by name."""
    ordered = sorted(tensors.items())
    claims = [[name, tensor.dtype.str, list(tensor.shape)] for name, tensor in ordered]
    strings = {key: value for key, value in metadata.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps([strings, claims], sort_keys=True).encode("ascii"))
    for _, tensor in ordered:
        digest.update(np.ascontiguousarray(tensor, tensor.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def _check_origin(container: Container) -> None:
    """Refuse a file of another program, of a later version of this one, and one whose content has changed."""
    metadata = container.metadata
    if metadata.get("format") != FORMAT:
        raise FormatError(
            "is a safetensors file that gpu_mlp did not write; give the model.safetensors of a run folder"
        )
    version = metadata.get("format_version", "")
    if not (version.isascii() and version.isdigit()) or len(version) > 9 or int(version) < 1:
        raise FormatError("is damaged: it has no format version; copy it again, or train the model again")
    if int(version) > FORMAT_VERSION:
        raise FormatError(
            f"has format version {version}, but this gpu_mlp reads up to {FORMAT_VERSION}; upgrade gpu_mlp"
        )
    if metadata.get("sha256") != _checksum(container.tensors, metadata) or container.foreign:
        raise FormatError("is damaged: its checksum does not match its content; copy it again")
    if "model" not in metadata:
        raise FormatError("is damaged: it does not describe the model; train the model again")


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

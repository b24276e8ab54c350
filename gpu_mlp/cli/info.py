"""`gpu-mlp info`: versions, threads and devices, or what is in a model file."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from gpu_mlp import __version__
from gpu_mlp.backends.select import automatic_device
from gpu_mlp.backends.threads import processors
from gpu_mlp.cli.console import print_facts, print_json, print_metrics
from gpu_mlp.data.messages import listed
from gpu_mlp.errors import DeviceError
from gpu_mlp.files.model_file import load
from gpu_mlp.learning.progress import number
from gpu_mlp.metrics import METRIC_NAMES
from gpu_mlp.model import Model

__all__ = ["info"]

PACKAGES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "safetensors",
    "pyarrow",
    "matplotlib",
    "cupy-cuda12x",
    "cupy-cuda13x",
)


def info(
    model: Path | None = None,
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Show versions, processor threads and devices, or with a model what it is and how it was trained.

    Args:
        model: model.safetensors of a run folder.
        as_json: print one JSON object instead of lines.
    """
    if model is None:
        machine = _machine()
        if as_json:
            print_json(machine)
        else:
            print_facts(_machine_facts(machine), sys.stdout)
        return 0
    loaded = load(model, "cpu")
    if as_json:
        print_json({"file": str(model), **_description(loaded)})
        return 0
    print_facts(_model_facts(model, loaded), sys.stdout)
    metrics = loaded.metadata.get("metrics")
    if isinstance(metrics, dict):
        print()
        print_metrics(METRIC_NAMES, {part: _known(values) for part, values in metrics.items()})
    return 0


def _known(values: Any) -> dict[str, float]:
    """The metrics that are numbers: a file may say anything."""
    if not isinstance(values, dict):
        return {}
    return {key: value for key, value in values.items() if isinstance(value, (int, float))}


def _machine() -> dict[str, Any]:
    device, reason = automatic_device()
    return {
        "gpu_mlp": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "processors": processors(),
        "blas": _blas(),
        "device": device,
        "reason": reason,
        "cuda_devices": _cuda_devices(),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _blas() -> list[dict[str, Any]]:
    """The linear algebra libraries in use and their threads."""
    if find_spec("threadpoolctl") is None:
        return []
    import numpy.linalg  # noqa: F401
    from threadpoolctl import threadpool_info

    keys = ("internal_api", "version", "num_threads")
    return [
        {key: library.get(key) for key in keys}
        for library in threadpool_info()
        if library["user_api"] == "blas"
    ]


def _cuda_devices() -> list[str]:
    if find_spec("cupy") is None:
        return []
    from gpu_mlp.backends.cuda_backend import cuda_device_count, describe_device

    try:
        return [f"cuda:{index} {describe_device(index)}" for index in range(cuda_device_count())]
    except DeviceError:
        return []


def _machine_facts(machine: dict[str, Any]) -> list[tuple[str, str]]:
    installed = [f"{name} {found}" for name, found in machine["packages"].items() if found]
    missing = [name for name, found in machine["packages"].items() if not found]
    blas = [
        f"{library['internal_api']} {library['version']}, {library['num_threads']} threads"
        for library in machine["blas"]
    ]
    return [
        ("gpu_mlp", machine["gpu_mlp"]),
        ("Python", f"{machine['python']} on {machine['platform']}"),
        ("packages", ", ".join(installed)),
        ("not installed", ", ".join(missing) or "none of the optional ones"),
        ("processors", str(machine["processors"])),
        ("BLAS", "; ".join(blas) or "unknown"),
        ("device auto", f"{machine['device'] or 'none'} ({machine['reason']})"),
        ("CUDA devices", "; ".join(machine["cuda_devices"]) or "none that can be used"),
    ]


def _description(model: Model) -> dict[str, Any]:
    network, preparation = model.network, model.preparation
    return {
        "layer_sizes": list(network.layer_sizes),
        "activations": list(network.activations),
        "parameters": network.parameter_count,
        "dtype": network.dtype,
        "task": model.task,
        "loss": model.loss.name,
        "target": None if model.target is None else model.target.name,
        "classes": list(model.classes),
        "columns": [] if preparation is None else list(preparation.input_names),
        "inputs": [] if preparation is None else list(preparation.output_names),
        "ignored": list(model.ignored),
        "training": model.metadata,
    }


def _model_facts(path: Path, model: Model) -> list[tuple[str, str]]:
    network, preparation, summary = model.network, model.preparation, model.metadata
    facts = [
        ("file", str(path)),
        ("network", repr(network).strip("<>")),
        ("task", f"{model.task}, {model.loss.name}"),
    ]
    if model.target is not None:
        facts.append(("target", model.target.name))
    if model.classes:
        facts.append(("classes", listed(model.classes)))
    elif model.target is not None:
        facts.append(("units", f"mean {number(model.target.mean)}, scale {number(model.target.scale)}"))
    if preparation is not None:
        names = listed(preparation.input_names)
        facts.append(
            ("columns", f"{len(preparation.features)} that become {network.layer_sizes[0]} inputs: {names}")
        )
    if model.ignored:
        facts.append(("ignored", listed(model.ignored)))
    shown = ("table", "rows", "epochs", "best_epoch", "stopped", "seed", "created", "versions")
    return facts + [(key.replace("_", " "), _plain(summary[key])) for key in shown if key in summary]


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return str(value)

"""From a device name to its backend, loading CuPy only when a CUDA device is asked for or looked for."""

from __future__ import annotations

import logging
import os
import re
from functools import cache
from importlib.util import find_spec
from typing import Any

from gpu_mlp.backends.base import Ops
from gpu_mlp.errors import ConfigError, DeviceError

__all__ = ["DEVICE_VARIABLE", "automatic_device", "choose_device", "device_ops", "ops_of"]

logger = logging.getLogger("gpu_mlp")

DEVICE_VARIABLE = "GPU_MLP_DEVICE"


def device_ops(device: str = "auto") -> Ops:
    """The backend of "auto", "cpu", "cuda" or "cuda:N"; a CUDA device becomes this thread's current one.

    "auto" reads the environment variable GPU_MLP_DEVICE, then takes a CUDA device that works, else the CPU,
    and logs once what it chose and why. Raises ConfigError for an unknown name and DeviceError for a CUDA device that
    cannot be used: an explicit "cuda" never falls back.
    """
    source = ""
    if device == "auto" and os.environ.get(DEVICE_VARIABLE):
        device, source = os.environ[DEVICE_VARIABLE], f" (from the environment variable {DEVICE_VARIABLE})"
    if device == "auto":
        device, _ = choose_device()
    if device == "cpu":
        from gpu_mlp.backends.numpy_backend import numpy_ops

        return numpy_ops()
    match = re.fullmatch(r"cuda(?::(\d{1,4}))?", str(device))
    if match is None:
        raise ConfigError(f'device {device!r}{source} is unknown; choose "auto", "cpu", "cuda" or "cuda:N"')
    from gpu_mlp.backends.cuda_backend import cuda_ops, make_current

    index = int(match.group(1) or 0)
    try:
        ops = cuda_ops(index)
    except DeviceError as error:
        if source:
            raise DeviceError(f"{DEVICE_VARIABLE} is {device!r}: {error}") from error
        raise
    make_current(index)
    return ops


def automatic_device() -> tuple[str | None, str]:
    """The device that "auto" means here and now, None where it cannot be used, and the reason in a sentence."""
    if os.environ.get(DEVICE_VARIABLE, "") in ("", "auto"):
        return choose_device()
    try:
        return device_ops("auto").device, f"asked for by {DEVICE_VARIABLE}"
    except (ConfigError, DeviceError) as error:
        return None, str(error)


def ops_of(array: Any) -> Ops:
    """The backend on whose device an array lies: CUDA for anything with the CUDA array interface, else the CPU."""
    if hasattr(array, "__cuda_array_interface__"):
        device = getattr(array, "device", None)
        index = getattr(device, "id", getattr(device, "index", 0))
        return device_ops(f"cuda:{index or 0}")
    return device_ops("cpu")


@cache
def choose_device() -> tuple[str, str]:
    """The device that "auto" means on this machine, and the reason in a sentence; the current one stays current."""
    choice = "cpu"
    if find_spec("cupy") is None:
        reason = "CuPy is not installed"
    else:
        from gpu_mlp.backends.cuda_backend import cuda_ops, describe_device

        try:
            cuda_ops(0)
        except DeviceError as error:
            reason = str(error)
        else:
            choice, reason = "cuda:0", describe_device(0)
    logger.info("device auto is %s: %s", choice, reason)
    return choice, reason

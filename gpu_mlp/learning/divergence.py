"""Where a run stopped being finite: the epoch is put back to its start, and the error names step and layer."""

from __future__ import annotations

from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.errors import DivergenceError
from gpu_mlp.network.network import Network

__all__ = ["first_bad", "first_infinite_layer", "report_gradients", "report_loss", "report_parameters"]

HINT = "lower the learning rate, clip the gradients' norm, or scale the inputs and targets"


def first_bad(losses: NDArray[np.floating]) -> int:
    """The first loss that is not finite."""
    return int(np.flatnonzero(~np.isfinite(losses))[0])


def report_loss(value: float, step: int, epoch: int, finite: list[bool]) -> NoReturn:
    """A loss was not finite; `finite` says of every layer whether its pre-activations were."""
    layer = finite.index(False) if False in finite else None
    where = "in the loss itself" if layer is None else f"in the pre-activations of layer {layer}"
    raise DivergenceError(
        f"the loss became {value} at step {step} (epoch {epoch}), first {where}; {HINT}",
        step=step,
        layer=layer,
    )


def first_infinite_layer(network: Network) -> int:
    """The first layer with a parameter that is not finite."""
    isfinite = network.ops.xp.isfinite
    layers = zip(network.weights, network.biases, strict=True)
    return [all(bool(isfinite(array).all()) for array in layer) for layer in layers].index(False)


def report_parameters(layer: int, step: int, epoch: int) -> NoReturn:
    """An update overflowed and no loss showed it: the epoch's last one, or one that an activation hid."""
    raise DivergenceError(
        f"the parameters of layer {layer} were no longer finite after step {step} (epoch {epoch}); {HINT}",
        step=step,
        layer=layer,
    )


def report_gradients(step: int, epoch: int) -> NoReturn:
    """Half precision let no step of an epoch through: what overflowed is hidden from the loss by an activation."""
    raise DivergenceError(
        f"the gradients were not finite in any step of epoch {epoch}, up to step {step}, however small the loss's "
        "scale; scale the inputs and targets, or use bf16",
        step=step,
        layer=None,
    )

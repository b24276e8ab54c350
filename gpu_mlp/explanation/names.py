"""What a model's own inputs and outputs are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gpu_mlp.data.messages import shown
from gpu_mlp.model import Model

__all__ = ["UnitNames", "listed", "names_of"]

LONGEST, MOST = 40, 12


@dataclass(frozen=True)
class UnitNames:
    """A name for every input and every output of the network, or none."""

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


def names_of(model: Model) -> UnitNames:
    """The prepared columns, and the classes, or the target's name for a single output.

    On one line each and not too long; whoever shows them escapes them for its format.
    """
    inputs = () if model.preparation is None else model.preparation.output_names
    outputs: tuple[object, ...] = ()
    if len(model.classes) == model.network.layer_sizes[-1]:
        outputs = model.classes
    elif model.target is not None:
        outputs = (model.target.name,)
    return UnitNames(tuple(map(_short, inputs)), tuple(map(_short, outputs)))


def listed(names: Sequence[str]) -> str:
    """The first dozen, and how many more there are."""
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more


def _short(name: object) -> str:
    text = shown(name)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."

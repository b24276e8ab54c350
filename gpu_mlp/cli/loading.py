"""A model for a command, with a word where it is used on another kind of device than it was trained on."""

from __future__ import annotations

import sys
from pathlib import Path

from gpu_mlp.backends.select import automatic_device
from gpu_mlp.files.model_file import load
from gpu_mlp.model import Model

__all__ = ["load_model"]


def load_model(path: Path, device: str) -> Model:
    """`gpu_mlp.load`, which says on stderr where a GPU's model is used on the CPU though nobody asked for that."""
    model = load(path, device)
    if device == "auto" and model.metadata.get("backend") == "cuda" and model.network.device == "cpu":
        why = automatic_device()[1]
        print(f"the model was trained on a GPU and is used on the CPU ({why})", file=sys.stderr)
    return model

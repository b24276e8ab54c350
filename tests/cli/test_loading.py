"""A model that was trained on a GPU and is used where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

import gpu_mlp
from tests.cli.commands import Trained, run


@pytest.mark.parametrize("command", ["predict", "evaluate"])
@pytest.mark.parametrize(
    ("backend", "device", "said"),
    [("cuda", "auto", True), ("cuda", "cpu", False), ("numpy", "auto", False), (None, "auto", False)],
)
def test_the_command_says_that_it_runs_on_the_cpu(
    command: str,
    backend: str | None,
    device: str,
    said: bool,
    buyers: Trained,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GPU_MLP_DEVICE", "cpu")
    model = gpu_mlp.load(buyers.model, "cpu")
    model.metadata["backend"] = backend
    gpu_mlp.save(model, Path("moved.safetensors"))
    outcome = run(command, "moved.safetensors", buyers.table, "--device", device)
    assert outcome.code == 0, outcome.err
    sentence = "the model was trained on a GPU and is used on the CPU (asked for by GPU_MLP_DEVICE)\n"
    assert (sentence in outcome.err) == said

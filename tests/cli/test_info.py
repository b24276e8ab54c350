"""`gpu-mlp info`: the machine without a model, and what a model is with one."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

import gpu_mlp
from gpu_mlp.config import Loss
from gpu_mlp.model import Model
from gpu_mlp.network.network import Network
from tests.backends.fake_cupy import Machine, install, no_memory_of_devices
from tests.cli.commands import Trained, done, run


def facts_of(out: str) -> dict[str, str]:
    """Name -> fact, of the lines before the first blank one."""
    lines = out.partition("\n\n")[0].splitlines()
    pairs = [line.split("  ", 1) for line in lines]
    return {name: fact.strip() for name, fact in pairs}


def test_the_machine_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPU_MLP_DEVICE")
    install(monkeypatch, None)
    with no_memory_of_devices():
        outcome = done("info")
    facts = facts_of(outcome.out)
    assert outcome.err == ""
    assert facts["gpu_mlp"] == gpu_mlp.__version__
    assert facts["Python"].startswith(platform.python_version())
    assert f"numpy {version('numpy')}" in facts["packages"]
    assert int(facts["processors"]) == len(os.sched_getaffinity(0))
    assert "threads" in facts["BLAS"]
    assert facts["device auto"] == "cpu (CuPy is not installed)"
    assert facts["CUDA devices"] == "none that can be used"


def test_cuda_devices_are_listed_where_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPU_MLP_DEVICE")
    install(monkeypatch, Machine())
    with no_memory_of_devices():
        document = done("info", "--json").document
    assert document["device"] == "cuda:0"
    assert document["cuda_devices"] == ["cuda:0 Imaginary 0, 1.5 GiB", "cuda:1 Imaginary 1, 1.5 GiB"]


def test_a_driver_that_fails_is_a_reason_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPU_MLP_DEVICE")
    install(monkeypatch, Machine(driver=0))
    with no_memory_of_devices():
        document = done("info", "--json").document
    assert (document["device"], document["cuda_devices"]) == ("cpu", [])
    assert "driver" in document["reason"]


@pytest.mark.parametrize(
    ("value", "device", "reason"),
    [
        ("cpu", "cpu", "asked for by GPU_MLP_DEVICE"),
        ("cuda:1", "cuda:1", "asked for by GPU_MLP_DEVICE"),
        (
            "cuda:7",
            None,
            "GPU_MLP_DEVICE is 'cuda:7': device cuda:7 was asked for, but there are 2 CUDA devices",
        ),
        ("gpu", None, "device 'gpu' (from the environment variable GPU_MLP_DEVICE) is unknown"),
    ],
)
def test_the_device_of_the_environment_is_shown(
    monkeypatch: pytest.MonkeyPatch, value: str, device: str | None, reason: str
) -> None:
    install(monkeypatch, Machine())
    monkeypatch.setenv("GPU_MLP_DEVICE", value)
    with no_memory_of_devices():
        document = done("info", "--json").document
        facts = facts_of(done("info").out)
    assert document["device"] == device
    assert document["reason"].startswith(reason)
    assert facts["device auto"].startswith(f"{device or 'none'} ({reason}")


def test_the_machine_as_json() -> None:
    outcome = done("info", "--json")
    document = outcome.document
    keys = "gpu_mlp python platform packages processors blas device reason cuda_devices"
    assert list(document) == keys.split()
    assert document["packages"]["numpy"] == np.__version__
    assert "matplotlib" in document["packages"]
    assert all(isinstance(library["num_threads"], int) for library in document["blas"])
    assert outcome.err == ""


def test_a_model_is_described(buyers: Trained) -> None:
    outcome = done("info", buyers.model)
    facts = facts_of(outcome.out)
    assert facts["file"] == str(buyers.model)
    assert facts["network"] == "Network 6-16-2, relu, 146 parameters, float32 on cpu"
    assert facts["task"] == "classification, softmax_cross_entropy"
    assert (facts["target"], facts["classes"]) == ("buys", "'no', 'yes'")
    assert facts["columns"] == "3 that become 6 inputs: 'age', 'colour', 'member'"
    assert facts["ignored"] == "'id', 'spends'"
    assert (facts["table"], facts["epochs"], facts["seed"]) == ("people.csv", "30", "0")
    assert facts["rows"] == "train 84, validation 18, test 18"
    metrics = outcome.out.partition("\n\n")[2]
    assert metrics == buyers.outcome.out.partition("\n\n")[0] + "\n"
    assert outcome.err == ""


def test_a_model_as_json(buyers: Trained, spenders: Trained) -> None:
    document = done("info", buyers.model, "--json").document
    keys = "file layer_sizes activations parameters dtype task loss target classes columns inputs ignored training"
    assert list(document) == keys.split()
    assert document["layer_sizes"] == [6, 16, 2]
    assert document["classes"] == ["no", "yes"]
    assert document["inputs"][:2] == ["age", "age is missing"]
    assert document["training"]["config"]["epochs"] == 30
    document = done("info", spenders.model, "--json").document
    assert (document["task"], document["loss"], document["classes"]) == ("regression", "squared_error", [])
    assert facts_of(done("info", spenders.model).out)["units"].startswith("mean ")


def test_the_description_says_nothing_of_the_machine(buyers: Trained) -> None:
    """A model can be given away: no path, no user's name, no host's name."""
    content = buyers.model.read_bytes()
    assert str(buyers.table.parent if buyers.table else "").encode() not in content
    assert platform.node().encode() not in content


def test_a_model_made_by_hand_is_described_by_what_it_has() -> None:
    network = Network((2, 3, 1), seed=0, device="cpu")
    gpu_mlp.save(Model(network, Loss("squared_error")), "m.safetensors")
    facts = facts_of(done("info", "m.safetensors").out)
    assert set(facts) == {"file", "network", "task"}
    assert done("info", "m.safetensors", "--json").document["training"] == {}


def test_metadata_that_mean_nothing_are_left_out() -> None:
    """A file may say anything of its training."""
    network = Network((2, 3, 1), seed=0, device="cpu")
    metadata = {"metrics": {"test": {"rmse": "good", "r2": 0.5}, "train": 3}, "table": "a\x1b[31m\nb"}
    gpu_mlp.save(Model(network, Loss("squared_error"), metadata=metadata), "m.safetensors")
    outcome = done("info", "m.safetensors")
    assert outcome.out.endswith("metric    test\nR²      0.5000\n")
    assert facts_of(outcome.out)["table"] == r"a\x1b[31m\nb"


def test_what_is_no_model_is_refused() -> None:
    Path("t.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    for path, part in (("none", "none does not exist"), ("t.csv", "t.csv is not a model file")):
        outcome = run("info", path)
        assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
        assert part in outcome.err

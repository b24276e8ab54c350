"""`save` and `load`: every kind of model comes back to the bit, in a file that other programs can read."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_torch_file

import gpu_mlp
from gpu_mlp.data import Preparation, Target, read_table
from gpu_mlp.errors import ConfigError, DataError, DeviceError, ModelFileError
from gpu_mlp.files.model_file import encode_model
from gpu_mlp.model import Model
from tests.data.refusals import refused
from tests.files.models import KINDS, METADATA, array_model, columns, parameter_bits, random_network


def saved(model: Model, path: Path) -> Model:
    """What comes back from the disk."""
    gpu_mlp.save(model, path)
    return gpu_mlp.load(path, "cpu")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_comes_back_to_the_bit(kind: str, tmp_path: Path) -> None:
    model, rows = KINDS[kind]()
    again = saved(model, tmp_path / "m.safetensors")
    assert again.outputs(rows).tobytes() == model.outputs(rows).tobytes()
    assert again.predict(rows).tolist() == model.predict(rows).tolist()
    assert again.predict(rows).dtype == model.predict(rows).dtype
    assert parameter_bits(again) == parameter_bits(model)
    for part in ("loss", "target", "preparation", "ignored", "metadata", "task", "classes"):
        assert getattr(again, part) == getattr(model, part)
    assert [type(label) for label in again.classes] == [type(label) for label in model.classes]
    ours, theirs = again.network.config, model.network.config
    assert (ours.layer_sizes, ours.activations) == (theirs.layer_sizes, theirs.activations)
    assert (ours.dtype, ours.seed, ours.initializer) == (theirs.dtype, theirs.seed, theirs.initializer)
    assert encode_model(again, tmp_path) == (tmp_path / "m.safetensors").read_bytes()


def test_what_a_loss_is_set_to_comes_back(tmp_path: Path) -> None:
    model, _ = array_model("huber", (2, 1))
    model.loss = gpu_mlp.Loss("huber", huber_delta=0.3, quantile=0.9, label_smoothing=0.05)
    assert saved(model, tmp_path / "m").loss == model.loss


def test_a_change_of_the_network_after_saving_does_not_reach_the_file_or_its_reader(tmp_path: Path) -> None:
    model, x = array_model("squared_error", (3, 4, 2))
    again = saved(model, tmp_path / "m")
    model.network.weights[0][...] = 0.0
    assert parameter_bits(again) != parameter_bits(model)
    again.network.weights[0][...] = 1.0  # what was read can be trained on
    assert parameter_bits(gpu_mlp.load(tmp_path / "m")) not in (parameter_bits(again), parameter_bits(model))
    assert again.outputs(x).shape == (len(x), 2)


def test_weights_that_are_not_finite_are_kept_as_they_are(tmp_path: Path) -> None:
    model, x = array_model("squared_error", (3, 2))
    model.network.weights[0][0] = [np.nan, -np.inf, -0.0]
    again = saved(model, tmp_path / "m")
    assert parameter_bits(again) == parameter_bits(model)
    with refused("row 0 of the array makes the network's output overflow float32"):
        again.predict(x)


@pytest.mark.parametrize("kind", KINDS)
def test_the_safetensors_library_finds_the_tensors_under_pytorchs_names(kind: str, tmp_path: Path) -> None:
    model, _ = KINDS[kind]()
    path = tmp_path / "m.safetensors"
    gpu_mlp.save(model, path)
    net = model.network
    tensors = load_file(path)
    assert list(tensors) == [
        f"{2 * k}.{part}" for k in range(len(net.weights)) for part in ("weight", "bias")
    ]
    for k, (omega, beta) in enumerate(zip(net.weights, net.biases, strict=True)):
        for name, array in ((f"{2 * k}.weight", omega), (f"{2 * k}.bias", beta)):
            assert (tensors[name].dtype, tensors[name].shape) == (array.dtype, array.shape)
            assert tensors[name].tobytes() == np.array(array).tobytes()


def test_a_torch_sequential_takes_the_file_as_it_is_and_computes_the_same(tmp_path: Path) -> None:
    model, x = array_model("squared_error", (3, 5, 7, 2), ("gelu", "tanh"), "float64")
    gpu_mlp.save(model, tmp_path / "m.safetensors")
    nn = torch.nn
    module = nn.Sequential(nn.Linear(3, 5), nn.GELU(), nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2)).double()
    module.load_state_dict(load_torch_file(tmp_path / "m.safetensors"), strict=True)
    for k, omega in enumerate(model.network.weights):
        np.testing.assert_array_equal(module[2 * k].weight.detach().numpy(), omega)
    outputs = module(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(model.outputs(x), outputs, rtol=1e-12, atol=1e-13)


def test_the_metadata_are_plain_json_strings_and_nothing_is_pickled(tmp_path: Path) -> None:
    model, _ = KINDS["text labels"]()
    path = tmp_path / "m.safetensors"
    gpu_mlp.save(model, path)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    assert sorted(metadata) == ["format", "format_version", "model", "sha256"]
    assert (metadata["format"], metadata["format_version"]) == ("gpu_mlp", "1")
    document = json.loads(metadata["model"])
    assert document["metadata"] == METADATA
    assert document["network"]["layer_sizes"] == list(model.network.layer_sizes)
    assert document["target"]["classes"] == ["", "a", "ß"]
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])  # 8 bytes, JSON, and then the parameters and not a byte more
    parameters = sum(len(bits) for bits in parameter_bits(model))
    assert len(content) == 8 + length + parameters
    assert (8 + length) % 8 == 0
    assert set(header) == {"__metadata__", *(f"{k}.{part}" for k in (0, 2, 4) for part in ("weight", "bias"))}


def test_labels_that_look_like_numbers_stay_text_for_the_loaded_model_too(tmp_path: Path) -> None:
    table = read_table({"a": [1.5, 2.5], "zip": ["01", "1"], "y": ["007", "7"]})
    model = Model(
        random_network((3, 2)),
        gpu_mlp.Loss("softmax_cross_entropy"),
        Target.fit(table, "y"),
        Preparation.fit(table, ["a", "zip"]),
    )
    (tmp_path / "rows.csv").write_text("zip,a,y\n01,1.5,007\n1,2.5,7\n")
    again = saved(model, tmp_path / "m")
    assert again.outputs(tmp_path / "rows.csv").tobytes() == model.outputs(table).tobytes()
    assert again.evaluate(tmp_path / "rows.csv") == model.evaluate(table)
    assert set(again.predict(tmp_path / "rows.csv")) <= {"007", "7"}


@pytest.mark.parametrize(
    "value", [{1, 2}, object(), float("nan"), float("inf"), b"x", np.float32(1.0), Path("x"), 1j]
)
def test_metadata_that_json_cannot_hold_are_refused_and_nothing_is_written(
    value: Any, tmp_path: Path
) -> None:
    model, _ = array_model("squared_error", (2, 1))
    model.metadata["extra"] = {"deep": [value]}
    with refused("m.safetensors cannot be written", "remove it from model.metadata", error=ModelFileError):
        gpu_mlp.save(model, tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_replaced_and_an_open_reader_keeps_the_old_one(tmp_path: Path) -> None:
    old, _ = array_model("squared_error", (2, 1))
    new, _ = array_model("squared_error", (3, 4, 1))
    path = tmp_path / "m"
    gpu_mlp.save(old, path)
    before = path.read_bytes()
    with path.open("rb") as reader:
        gpu_mlp.save(new, path)
        assert reader.read() == before
    assert gpu_mlp.load(path).network.layer_sizes == (3, 4, 1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"]


def test_the_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    model, _ = array_model("squared_error", (2, 1))
    umask = os.umask(0o027)
    try:
        gpu_mlp.save(model, tmp_path / "m")
        assert os.umask(0o027) == 0o027  # it is put back
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "m").stat().st_mode) == 0o640


FULL = OSError(errno.ENOSPC, "No space left on device")


def raise_full(*_: Any) -> None:
    raise FULL


@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize(("holder", "name"), [(os, "fsync"), (Path, "replace")])
def test_a_write_that_fails_leaves_no_temporary_file_and_the_old_one_whole(
    holder: Any, name: str, existing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = array_model("squared_error", (2, 1))
    path = tmp_path / "m"
    if existing:
        path.write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(holder, name, raise_full)
        with refused("m cannot be written (No space left on device)", "choose a path", error=ModelFileError):
            gpu_mlp.save(model, path)
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == (
        {"m": b"old"} if existing else {}
    )


def test_an_interruption_leaves_no_temporary_file_and_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: int) -> None:
        assert [entry.suffix for entry in tmp_path.iterdir()] == [".tmp"]  # where it is written first
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        gpu_mlp.save(array_model("squared_error", (2, 1))[0], tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("none/m", "No such file or directory"),
        ("folder", "Is a directory"),
        ("file/m", "Not a directory"),
        ("x" * 300, "File name too long"),
        ("a\0b", "embedded null byte"),
    ],
)
def test_a_path_that_cannot_be_written_is_refused(path: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ModelFileError) as caught:
        gpu_mlp.save(array_model("squared_error", (2, 1))[0], tmp_path / path)
    assert f"cannot be written ({reason}); choose a path" in str(caught.value)
    assert str(caught.value).isprintable()
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["file", "folder"]


def test_a_name_as_long_as_the_file_system_takes_is_written(tmp_path: Path) -> None:
    """255 bytes, of which the temporary name beside it takes fewer."""
    for name in ("m" * 255, "日" * 85):
        assert len(name.encode()) == 255
        assert saved(array_model("squared_error", (2, 1))[0], tmp_path / name).task == "regression"


def test_the_device_is_asked_for_as_for_a_network(tmp_path: Path) -> None:
    gpu_mlp.save(array_model("squared_error", (2, 1))[0], tmp_path / "m")
    assert gpu_mlp.load(str(tmp_path / "m"), device="cpu").network.device == "cpu"
    with pytest.raises((ConfigError, DeviceError), match="tpu"):
        gpu_mlp.load(tmp_path / "m", device="tpu")


def test_a_loaded_model_refuses_what_the_saved_one_refused(tmp_path: Path) -> None:
    model, _ = KINDS["regression"]()
    again = saved(model, tmp_path / "m")
    short = {name: values for name, values in columns().items() if name != "count"}
    messages = []
    for one in (model, again):
        with pytest.raises(DataError) as caught:
            one.predict(short)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert "lacks the column 'count'" in messages[0]

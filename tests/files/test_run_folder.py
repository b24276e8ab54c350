"""Run folders: what is in one, and where one is made."""

from __future__ import annotations

import csv
import math
import os
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest

import gpu_mlp
from gpu_mlp.errors import RunFolderError
from gpu_mlp.files import run_folder
from gpu_mlp.files.run_places import RUNS, check_destination, next_free
from tests.data.refusals import refused
from tests.files.histories import history_of
from tests.files.models import KINDS, parameter_bits
from tests.files.runs import write_run

HISTORY = history_of([1.5, 0.1 + 0.2, math.nan], [2.0, 1e-30, math.inf], [0.25, 0.5, 1.0], best_epoch=2)

SETTINGS: dict[str, Any] = {
    "table": '/data/"Zoë"\\n.csv',
    "target": "größe",
    "ignore": ["id", "name"],
    "hidden": "128,64",
    "validation": 0.15,
    "learning-rate": 1e-3,
    "epochs": 50,
    "seed": 2**64 - 1,
    "shuffle": True,
    "momentum": "none",
}


def test_the_folder_holds_the_model_its_history_its_settings_and_a_picture(tmp_path: Path) -> None:
    model, rows = KINDS["regression"]()
    run = tmp_path / "runs" / "deep" / "table-1"
    _, names = write_run(run, model, HISTORY, SETTINGS, metric_name="RMSE")
    assert names == ["config.toml", "history.csv", "loss.png", "model.safetensors"]
    assert sorted(path.name for path in run.iterdir()) == names
    assert [path.name for path in run.parent.iterdir()] == ["table-1"]
    again = gpu_mlp.load(run / "model.safetensors")
    assert parameter_bits(again) == parameter_bits(model)
    assert again.predict(rows).tolist() == model.predict(rows).tolist()
    assert (run / "loss.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_history_has_a_row_an_epoch_and_every_digit(tmp_path: Path) -> None:
    write_run(tmp_path / "run", KINDS["linear"]()[0], HISTORY, SETTINGS)
    text = (tmp_path / "run" / "history.csv").read_bytes().decode()
    assert "\r" not in text
    header, *rows = csv.reader(text.splitlines())
    assert header == [
        "epoch",
        "step",
        "learning_rate",
        "loss",
        "validation_loss",
        "validation_metric",
        "seconds",
        "rows_per_second",
    ]
    assert len(rows) == 3
    for row, epoch in zip(rows, HISTORY, strict=True):
        assert row[:2] == [str(epoch.epoch), str(epoch.step)]
        for text_of, name in zip(row, header, strict=True):
            value = getattr(epoch, name)
            assert float(text_of) == value or (math.isnan(value) and text_of == "nan")


def test_what_was_not_measured_is_an_empty_field(tmp_path: Path) -> None:
    write_run(tmp_path / "run", KINDS["linear"]()[0], history_of([0.5]), SETTINGS)
    lines = (tmp_path / "run" / "history.csv").read_text().splitlines()
    assert lines[1] == "1,10,0.1,0.5,,,0.25,0.3333333333333333"


def test_the_settings_are_read_back_equal_and_of_their_types(tmp_path: Path) -> None:
    write_run(tmp_path / "run", KINDS["linear"]()[0], HISTORY, SETTINGS)
    content = (tmp_path / "run" / "config.toml").read_text(encoding="utf-8")
    found = tomllib.loads(content)
    assert found == SETTINGS
    assert [type(value) for value in found.values()] == [type(value) for value in SETTINGS.values()]
    assert content.startswith("# gpu-mlp train --config config.toml repeats this run")


def test_a_table_whose_name_is_not_utf8_does_not_cost_the_run(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.csv")
    write_run(tmp_path / "run", KINDS["linear"]()[0], HISTORY, {"table": name})
    with (tmp_path / "run" / "config.toml").open("rb") as file:
        assert tomllib.load(file) == {"table": "caf\ufffd.csv"}


def test_without_matplotlib_there_is_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "find_spec", lambda _: None)
    _, names = write_run(tmp_path / "run", KINDS["linear"]()[0], HISTORY, SETTINGS)
    assert names == ["config.toml", "history.csv", "model.safetensors"]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == names


def test_folder_and_files_have_the_permissions_of_new_ones(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        _, names = write_run(tmp_path / "run", KINDS["linear"]()[0], HISTORY, SETTINGS)
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o750
    assert {stat.S_IMODE((tmp_path / "run" / name).stat().st_mode) for name in names} == {0o640}


def test_the_umask_of_the_process_is_never_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What other threads create meanwhile would get its permissions."""
    monkeypatch.setattr(os, "umask", lambda _: pytest.fail("the umask was changed"))
    write_run(tmp_path / "run", KINDS["linear"]()[0], HISTORY, SETTINGS)
    gpu_mlp.save(KINDS["linear"]()[0], tmp_path / "model")


@pytest.mark.parametrize(
    "path", ["run", "a/b/c", "a/../run", "ä ö/🐍", "x" * 255, "日" * 85, "link/run", "."]
)
def test_any_path_that_is_free_becomes_a_run(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    monkeypatch.chdir(tmp_path)
    destination = Path(path) if path != "." else tmp_path / "." / "dot"
    check_destination(destination)
    write_run(destination, KINDS["linear"]()[0], HISTORY, SETTINGS)
    assert (destination / "model.safetensors").is_file()
    assert not [entry for entry in tmp_path.rglob("*") if entry.suffix == ".tmp"]


def test_the_next_free_name_counts_past_whatever_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert next_free("digits") == RUNS / "digits-1"
    assert next_free("digits", tmp_path / "none") == tmp_path / "none" / "digits-1"
    (tmp_path / "digits-1").mkdir()
    (tmp_path / "digits-2").touch()
    (tmp_path / "digits-3").symlink_to("nothing")
    (tmp_path / "digits-5").mkdir()
    assert next_free("digits", tmp_path) == tmp_path / "digits-4"
    assert next_free("wine", tmp_path) == tmp_path / "wine-1"


def test_a_place_that_another_run_takes_meanwhile_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the question for the next free number and the folder's making."""
    real = Path.mkdir

    def make(path: Path, *arguments: Any, **named: Any) -> None:
        first = tmp_path / "digits-1"
        if path == first and not first.exists():
            real(first)
            (first / "theirs").touch()
        real(path, *arguments, **named)

    monkeypatch.setattr(Path, "mkdir", make)
    place, _ = write_run(lambda: next_free("digits", tmp_path), KINDS["linear"]()[0], HISTORY, SETTINGS)
    assert place == tmp_path / "digits-2"
    assert (place / "model.safetensors").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits-1", "digits-2"]
    assert [path.name for path in (tmp_path / "digits-1").iterdir()] == ["theirs"]


@pytest.mark.parametrize(
    "call", [check_destination, lambda d: write_run(d, KINDS["linear"]()[0], HISTORY, {})]
)
@pytest.mark.parametrize("name", ["folder", "full", "file", "dangling", "link", "."])
def test_a_destination_that_exists_is_refused_and_left_alone(call: Any, name: str, tmp_path: Path) -> None:
    for folder in ("folder", "full"):
        (tmp_path / folder).mkdir()
    (tmp_path / "full" / "a").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "link").symlink_to("folder")
    before = sorted(tmp_path.rglob("*"))
    with refused("already exists; choose another --out or remove it", error=RunFolderError):
        call(tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "file").read_text() == (tmp_path / "full" / "a").read_text() == "mine"


@pytest.mark.parametrize(
    "call", [check_destination, lambda d: write_run(d, KINDS["linear"]()[0], HISTORY, {})]
)
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("file/run", "file is not a folder; choose another --out"),
        ("file/deep/run", "file is not a folder; choose another --out"),
        ("dangling/run", "dangling is not a folder; choose another --out"),
        ("x" * 256, "cannot be made (File name too long)"),
        ("日" * 86 + "/run", "cannot be made (File name too long)"),
        ("a\0b", "cannot be made (embedded null byte)"),
        ("loop/run", "cannot be made (Too many levels of symbolic links)"),
    ],
)
def test_a_destination_that_cannot_be_made_is_refused_before_training(
    call: Any, name: str, part: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RunFolderError) as caught:
        call(tmp_path / name)
    assert part in str(caught.value)
    assert str(caught.value).isprintable()
    assert sorted(tmp_path.rglob("*")) == before

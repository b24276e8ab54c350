"""Tables larger than memory: `train --memory`, and predictions that are written as the table is read."""

from __future__ import annotations

import io
import tomllib
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

import gpu_mlp
from gpu_mlp.cli import reading
from gpu_mlp.cli.reading import reading_progress
from gpu_mlp.data import csv_reading, file_batches
from tests.cli.commands import Trained, done, run
from tests.cli.tables import people, write_csv, write_parquet
from tests.cli.test_resume import interrupted, learnt, names_in

COMMAND = (
    "--target",
    "buys",
    "--ignore",
    "id",
    "--ignore",
    "spends",
    "--epochs",
    "6",
    "--learning-rate",
    "0.02",
)
MEMORY = ("--batch-size", "16", "--memory", "64MB", "--buffer-rows", "48")


@pytest.fixture
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_batches, "FEWEST_ROWS", 1)
    monkeypatch.setattr(file_batches, "VALUES_AT_ONCE", 60)
    monkeypatch.setattr(csv_reading, "SMALL_BLOCK_BYTES", 1024)


@pytest.fixture
def table(_small_batches: None) -> Path:
    return write_csv(Path("t.csv"), people(600))


def test_what_is_read_is_said_and_kept(table: Path) -> None:
    outcome = done("train", table, *COMMAND, *MEMORY, "--out", "run")
    assert "t.csv: 600 rows, 3 feature columns" in outcome.err
    assert "memory    64 MB: 48 rows are shuffled at a time, " in outcome.err
    settings = tomllib.loads(Path("run/config.toml").read_text())
    assert (settings["memory"], settings["buffer-rows"]) == ("64MB", 48)
    model = gpu_mlp.load("run/model.safetensors", "cpu")
    assert sum(model.metadata["rows"].values()) == 600
    assert model.evaluate(table)["accuracy"] > 0.9


def test_its_config_repeats_it_and_a_whole_table_says_nothing(table: Path) -> None:
    done("train", table, *COMMAND, *MEMORY, "--out", "one")
    done("train", "--config", "one/config.toml", "--out", "two")
    assert learnt("one") == learnt("two")
    done("train", table, *COMMAND, "--out", "whole")
    settings = tomllib.loads(Path("whole/config.toml").read_text())
    assert "memory" not in settings
    assert settings["buffer-rows"] == "none"


def test_it_is_resumed_bit_for_bit(monkeypatch: pytest.MonkeyPatch, table: Path) -> None:
    command = ("train", table, *COMMAND, *MEMORY, "--checkpoint-steps", "9")
    done(*command, "--out", "whole")
    interrupted(monkeypatch, *command, "--out", "run")
    assert "checkpoint-27.safetensors" in names_in("run")
    outcome = done("train", "--resume", "run")
    assert "resumed   after 27 steps" in outcome.err
    assert learnt("run") == learnt("whole")


def test_a_table_that_has_changed_is_not_resumed(monkeypatch: pytest.MonkeyPatch, table: Path) -> None:
    interrupted(monkeypatch, "train", table, *COMMAND, *MEMORY, "--checkpoint-steps", "9", "--out", "run")
    rows = people(600)
    older = [(row[0], 99, *row[2:]) if number == 300 else row for number, row in enumerate(rows)]
    for content, says in (
        (rows[:590], "the run was saved with 421 rows to train"),
        (rows[::-1], "the run was saved with 421 rows to train"),
        (older, "the table has changed since the run was saved: column 'age' has other values"),
    ):
        write_csv(table, content)
        outcome = run("train", "--resume", "run")
        assert outcome.code == 2
        assert says in outcome.err
    write_csv(table, rows)
    assert run("train", "--resume", "run", "--memory", "65MB").code == 0  # how much there is may change


def test_a_source_that_changes_while_it_trains_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, table: Path
) -> None:
    real = gpu_mlp.Checkpoints.on_epoch_end

    def shorten(*arguments: object) -> None:
        table.write_text("\n".join(table.read_text().splitlines()[:400]) + "\n")
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(gpu_mlp.Checkpoints, "on_epoch_end", shorten)
    outcome = run("train", table, *COMMAND, *MEMORY, "--checkpoint-steps", "9", "--out", "run")
    assert outcome.code == 2
    assert "t.csv has 399 rows now, but had 600; leave it as it is while it is trained on" in outcome.err


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.usefixtures("_small_batches")
def test_predictions_of_many_batches_are_those_of_the_whole(buyers: Trained, suffix: str) -> None:
    write = write_csv if suffix == ".csv" else write_parquet
    table = write(Path(f"new{suffix}"), people(500, seed=3))
    model = gpu_mlp.load(buyers.model, "cpu")
    labels = model.predict(gpu_mlp.data.read_table(table)).tolist()
    assert done("predict", buyers.model, table).out.split() == ["buys", *labels]
    done("predict", buyers.model, table, "--out", "y.csv")
    assert Path("y.csv").read_text().split() == ["buys", *labels]
    outcome = done("predict", buyers.model, table, "--out", "y.parquet")
    assert outcome.err == "500 predictions written to y.parquet\n"
    assert pq.read_table("y.parquet").to_pydict() == {"buys": labels}
    done("predict", buyers.model, table, "--out", "p.parquet", "--probabilities")
    assert pq.read_table("p.parquet").column_names == ["no", "yes"]
    assert pq.ParquetFile("p.parquet").metadata.num_rows == 500
    assert model.evaluate(table) == pytest.approx(model.evaluate(gpu_mlp.data.read_table(table)), abs=1e-6)


@pytest.mark.parametrize("out", ["y.csv", "y.parquet"])
@pytest.mark.usefixtures("_small_batches")
def test_a_row_that_is_wrong_further_on_leaves_no_half_a_file(buyers: Trained, out: str) -> None:
    rows = [list(row) for row in people(500)]
    rows[480][1] = "old"
    table = write_csv(Path("new.csv"), rows)
    outcome = run("predict", buyers.model, table, "--out", out)
    assert outcome.code == 2
    assert "new.csv, line 482, column 'age' holds 'old'" in outcome.err
    assert [path.name for path in Path().iterdir()] == ["new.csv"]
    Path(out).write_bytes(b"mine")
    assert run("predict", buyers.model, table, "--out", out, "--overwrite").code == 2
    assert Path(out).read_bytes() == b"mine"


def test_a_table_in_another_encoding_is_trained_on_and_predicted() -> None:
    text = "größe,farbe,y\n" + "1,rötlich,ja\n2,bläulich,nö\n" * 40
    for encoding, flags in (("cp1252", ("--encoding", "cp1252")), ("utf-16", ())):
        Path("t.csv").write_bytes(text.encode(encoding))
        done("train", "t.csv", "--target", "y", "--epochs", "1", *flags, "--out", encoding)
        model = Path(encoding, "model.safetensors")
        assert gpu_mlp.load(model, "cpu").classes == ("ja", "nö")
        assert len(done("predict", model, "t.csv", *flags).out.split()) == 81
        done("evaluate", model, "t.csv", *flags)
    settings = tomllib.loads(Path("cp1252/config.toml").read_text())
    assert settings["encoding"] == "cp1252"
    outcome = run("train", "t.csv", "--target", "y", "--encoding", "klingon")
    assert (outcome.code, outcome.out) == (2, "")
    assert "the encoding 'klingon' is unknown" in outcome.err


def test_off_a_terminal_a_line_is_said_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), force_terminal=False, width=100)
    clock = iter([0.0, 1.0, 9.0, 10.5, 10.6, 11.0, 21.0, 21.1])
    monkeypatch.setattr(reading.time, "monotonic", lambda: next(clock))
    with reading_progress(console) as report:
        for rows in (1000, 9000, 10_500, 11_000, 21_000):
            report(rows)
    assert console.file.getvalue() == "read 10500 rows\nread 21000 rows\n"  # type: ignore[attr-defined]


def test_on_a_terminal_a_line_changes() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with reading_progress(console) as report:
        report(1)
    assert "reading the table" in console.file.getvalue()  # type: ignore[attr-defined]

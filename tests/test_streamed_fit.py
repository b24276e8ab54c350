"""`fit_table(..., memory=...)`: a table that is read anew in each epoch comes to what it would come to in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from gpu_mlp.config import TrainingConfig
from gpu_mlp.data import DrawnSplit, csv_reading, file_batches, read_table
from gpu_mlp.data.drawn_split import SAMPLE, TEST, TRAIN, VALIDATION
from gpu_mlp.errors import ConfigError, DataError
from gpu_mlp.fit_plan import FitPlan, FitResult
from gpu_mlp.fitting import fit_table, plan_fit
from gpu_mlp.learning import table_epochs
from gpu_mlp.learning.callbacks import Callback
from gpu_mlp.learning.source_epochs import source_order
from gpu_mlp.learning.training import train
from gpu_mlp.network.network import Network
from tests.data.refusals import refused
from tests.people import TARGETS, features_and

ROWS = 800
BUFFER = 96
CONFIG = TrainingConfig(epochs=3, batch_size=32, buffer_rows=BUFFER, seed=4)


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_batches, "FEWEST_ROWS", 1)
    monkeypatch.setattr(file_batches, "VALUES_AT_ONCE", 600)
    monkeypatch.setattr(csv_reading, "SMALL_BLOCK_BYTES", 8192)


def plan(source: Any, target: str, **settings: Any) -> FitPlan:
    config = settings.pop("config", CONFIG)
    return plan_fit(
        source, target, config=config, device="cpu", memory="64MB", hidden_layer_sizes=(8,), **settings
    )


def fit(source: Any, target: str, **settings: Any) -> FitResult:
    config = settings.pop("config", CONFIG)
    return fit_table(
        source, target, config=config, device="cpu", memory="64MB", hidden_layer_sizes=(8,), **settings
    )


def weights(result: FitResult) -> bytes:
    return result.model.network.parameters.flat.tobytes()


def write(target: str, path: Path) -> Path:
    table = pa.table({name: pa.array(values) for name, values in features_and(target, ROWS).items()})
    match path.suffix:
        case ".csv":
            pyarrow.csv.write_csv(table, path)
        case ".parquet":
            pq.write_table(table, path, row_group_size=90)
        case ".feather":
            feather.write_feather(table, path, chunksize=77)
        case _:
            path.mkdir()
            for number in range(4):
                pq.write_table(table.slice(number * 200, 200), path / f"{number}.parquet")
    return path


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_comes_to_the_bits_of_the_same_rows_in_memory(
    monkeypatch: pytest.MonkeyPatch, target: str, dtype: Any
) -> None:
    made = plan(features_and(target, ROWS), target, dtype=dtype)
    assert made.source is not None
    streamed = made.run()
    x, y = (np.concatenate(column) for column in zip(*made.source.blocks(), strict=True))
    assert len(x) == made.rows["train"]
    monkeypatch.setattr(
        table_epochs, "epoch_order", lambda seed, epoch, rows: source_order(seed, epoch, rows, BUFFER)
    )
    network = Network.from_config(made.network_config, "cpu")
    history = train(network, x, y, made.config, validation=made.arrays["validation"])
    assert network.parameters.flat.tobytes() == weights(streamed)
    assert [epoch.loss for epoch in history] == [epoch.loss for epoch in streamed.history]
    assert [epoch.validation_loss for epoch in history] == [
        epoch.validation_loss for epoch in streamed.history
    ]


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.feather", "folder"])
def test_every_kind_of_source_gives_the_same_model(tmp_path: Path, name: str) -> None:
    expected = fit(features_and("grade", ROWS), "grade")
    found = fit(write("grade", tmp_path / name), "grade")
    assert weights(found) == weights(expected)
    assert found.test_metrics == expected.test_metrics
    assert found.model.metadata["rows"] == expected.model.metadata["rows"]


def test_the_same_seed_gives_the_same_order_however_the_file_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("grade", tmp_path / "t.parquet")
    first = fit(path, "grade")
    monkeypatch.setattr(file_batches, "VALUES_AT_ONCE", 6 * 37)
    assert weights(fit(path, "grade")) == weights(first)
    assert weights(fit(path, "grade", seed=5)) != weights(first)


@pytest.mark.parametrize("target", TARGETS)
def test_the_metrics_are_the_models_on_the_rows_of_each_part(target: str) -> None:
    result = fit(features_and(target, ROWS), target)
    assert isinstance(result.split, DrawnSplit)
    parts = result.split.parts(result.split.numbers(0, ROWS))
    table = read_table(features_and(target, ROWS))
    for part, metrics in (
        (SAMPLE, result.training_metrics),
        (VALIDATION, result.validation_metrics),
        (TEST, result.test_metrics),
    ):
        rows = np.flatnonzero(parts == part)
        assert len(rows) > 50
        expected = result.model.evaluate(table.select(rows))
        assert metrics == pytest.approx(expected, rel=1e-12)
    assert not (parts == TRAIN).any()


def test_it_learns_as_well_as_in_memory() -> None:
    config = TrainingConfig(epochs=40, batch_size=32)
    whole = fit_table(
        features_and("grade", 3000), "grade", config=config, device="cpu", hidden_layer_sizes=(8,)
    )
    streamed = fit(features_and("grade", 3000), "grade", config=config)
    assert streamed.test_metrics["accuracy"] == pytest.approx(whole.test_metrics["accuracy"], abs=0.05)
    assert streamed.test_metrics["accuracy"] > 0.8


def test_held_out_rows_that_memory_has_no_room_for_train(tmp_path: Path) -> None:
    """64 MB keep 3.2 MB of each part: of 30 columns, of which two become 500 each, some hundred rows."""
    rng = np.random.default_rng(0)
    rows = 4000
    columns: dict[str, Any] = {f"x{i}": rng.normal(size=rows) for i in range(28)}
    columns |= {f"word{i}": [f"w{code}" for code in rng.integers(0, 500, rows)] for i in range(2)}
    made = plan({**columns, "y": rng.normal(size=rows)}, "y")
    inputs = made.network_config.layer_sizes[0]
    assert inputs > 1000
    assert sum(made.rows.values()) == rows
    most = 64e6 * 3 / 20 / 3 / (4 * inputs + 8)
    for name, rows_there in (("validation", 600), ("test", 600), ("train", 2800)):
        assert len(made.arrays[name][0]) == pytest.approx(min(most, rows_there), rel=0.15)
    assert made.rows["train"] > 2 * most
    assert made.source is not None
    assert made.source.rows == made.rows["train"]
    made.run()


def test_counts_start_from_their_mean() -> None:
    config = TrainingConfig(epochs=1, batch_size=32, loss="poisson", buffer_rows=BUFFER, learning_rate=1e-9)
    result = fit(features_and("visits", ROWS), "visits", config=config)
    parts = plan(features_and("visits", ROWS), "visits", config=config)
    assert isinstance(parts.split, DrawnSplit)
    codes = parts.split.parts(parts.split.numbers(0, ROWS))
    training = np.asarray(features_and("visits", ROWS)["visits"])[(codes == SAMPLE) | (codes == TRAIN)]
    assert float(result.model.network.biases[-1][0]) == pytest.approx(np.log(training.mean()), rel=1e-5)


class Rewrite(Callback):
    """Changes the file after the first epoch."""

    def __init__(self, path: Path, content: str) -> None:
        self.path, self.content = path, content

    def on_epoch_end(self, run: Any, epoch: Any) -> None:
        self.path.write_text(self.content)


ROW = "1,{y}\n"
CONTENT = "a,y\n" + "1,x\n2,z\n" * 400


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (CONTENT + "1,x\n" * 50, ("the source has more than", "rows now, but had", "leave it as it is")),
        (CONTENT[: len(CONTENT) // 2 + 1], ("t.csv has 400 rows now, but had 800", "leave it as it is")),
        (CONTENT.replace("a,y", "b,y"), ("t.csv has another header than when it was opened",)),
        (CONTENT.replace("2,z", "2,w"), ("t.csv, line 3, column 'y' holds the label 'w'",)),
        (CONTENT.replace("2,z", "two,z"), ("t.csv, line 3, column 'a' holds 'two'", "training had numbers")),
    ],
)
def test_a_source_that_changes_between_epochs_is_refused(
    tmp_path: Path, content: str, says: tuple[str, ...]
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(CONTENT)
    with refused(*says):
        fit(path, "y", callbacks=[Rewrite(path, content)])


def test_a_file_that_is_gone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(CONTENT)

    class Remove(Callback):
        def on_epoch_end(self, run: Any, epoch: Any) -> None:
            path.unlink()

    with refused("t.csv cannot be read as text", "Failed to open"):
        fit(path, "y", callbacks=[Remove()])


def test_too_few_rows_for_a_part_are_refused() -> None:
    with refused("none was drawn for 'validation'", "or no --memory"):
        plan({"a": [1.0, 2.0], "y": ["x", "z"]}, "y")
    made = plan({"a": [1.0, 2.0, 3.0], "y": ["x", "z", "x"]}, "y", validation=0.0, test=0.0)
    assert dict(made.rows) == {"train": 3, "validation": 0, "test": 0}
    assert made.run().validation_metrics == {}


def test_a_rare_class_is_not_held_out_as_a_whole() -> None:
    table = {"a": np.arange(400.0), "y": ["x", "z"] * 199 + ["rare", "rarer"]}
    for seed in range(10):
        made = plan(table, "y", seed=seed, validation=0.4, test=0.4)
        assert made.target.classes == ("rare", "rarer", "x", "z")
        assert isinstance(made.split, DrawnSplit)
        assert made.split.first_of_class == (0, 1, 398, 399)
        assert made.source is not None
        labels = np.concatenate([y for _, y in made.source.blocks()])
        assert set(labels.tolist()) == {0, 1, 2, 3}
        assert len(labels) == made.rows["train"]


def test_settings_that_do_not_fit_are_refused() -> None:
    table = features_and("grade", 50)
    with refused("--validation 0.6 and --test 0.5 leave no rows", error=ConfigError):
        plan(table, "grade", validation=0.6, test=0.5)
    with refused("memory is '1MB'", error=ConfigError):
        plan_fit(table, "grade", memory="1MB", device="cpu")
    with refused("does not fit a regression", error=ConfigError):
        plan(
            features_and("income", 50),
            "income",
            task="regression",
            config=TrainingConfig(loss="softmax_cross_entropy"),
        )


def test_an_npz_larger_than_the_memory_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", x=np.zeros((600_000, 8)), y=np.zeros(600_000))
    with refused("t.npz is read whole, 43 MB, but memory is 64 MB", "as .npy", error=ConfigError):
        plan(tmp_path / "t.npz", "y")


def test_the_fact_about_memory_says_what_is_shuffled() -> None:
    made = plan(features_and("grade", ROWS), "grade", config=TrainingConfig(batch_size=32))
    assert made.memory.startswith(f"64 MB: {made.rows['train']} rows are shuffled at a time, ")
    assert isinstance(made.config.buffer_rows, int)
    assert plan_fit(features_and("grade", ROWS), "grade", device="cpu").memory == ""


def test_data_errors_are_the_packages(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n1,x\n")
    with pytest.raises(DataError):
        plan(tmp_path / "t.csv", "none")

"""Tables at a URL: a file system of Arrow's that is not this machine's, here a folder that stands for a bucket."""

from __future__ import annotations

import gzip
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from gpu_mlp.config import TrainingConfig
from gpu_mlp.data import open_source, read_table
from gpu_mlp.data.locations import RemoteFile, located, without_secrets
from gpu_mlp.fitting import fit_table
from tests.cli.commands import done, run
from tests.data.refusals import refused

TABLE = pa.table({"a": np.arange(60.0), "word": ["x", "z", None] * 20, "y": ["no", "yes"] * 30})


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose files are those of s3://bucket; other URLs are pyarrow's own to judge."""
    folder = tmp_path / "bucket"
    folder.mkdir()
    real = pyarrow.fs.FileSystem

    def from_uri(url: str) -> tuple[Any, str]:
        if not url.startswith("s3://"):
            return real.from_uri(url)  # type: ignore[no-any-return]
        place = without_secrets(url).removeprefix("s3://bucket").strip("/").partition("?")[0]
        return pyarrow.fs.SubTreeFileSystem(str(folder), pyarrow.fs.LocalFileSystem()), place

    monkeypatch.setattr(pyarrow.fs, "FileSystem", SimpleNamespace(from_uri=from_uri))
    monkeypatch.chdir(tmp_path)
    return folder


def write(folder: Path, name: str) -> str:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    if name.endswith((".csv", ".csv.gz")):
        rows = TABLE.to_pylist()
        text = "a,word,y\n" + "".join(f"{row['a']},{row['word'] or ''},{row['y']}\n" for row in rows)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    elif name.endswith(".parquet"):
        pq.write_table(TABLE, path)
    elif name.endswith(".arrow"):
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, TABLE.schema) as writer:
            writer.write_table(TABLE)
    else:
        feather.write_feather(TABLE, path)
    return f"s3://bucket/{name}"


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet", "t.feather", "t.arrow", "deep/t.parquet"])
def test_a_file_is_read_whole_and_in_batches(bucket: Path, name: str) -> None:
    url = write(bucket, name)
    table = read_table(url)
    assert table.origin == Path(name).name
    assert table.columns["a"].tolist() == list(range(60))
    assert table.columns["word"].tolist() == ["x", "z", None] * 20
    batches = list(open_source(url).batches())
    assert [value for batch in batches for value in batch.columns["y"]] == ["no", "yes"] * 30
    assert 60 <= open_source(url).rows_at_most <= 62
    where = "line 4" if ".csv" in name else "row 3"
    assert table.place(2, "a") == f"{Path(name).name}, {where}, column 'a'"


def test_a_folder_is_its_files(bucket: Path) -> None:
    for name in ("many/2.parquet", "many/1.parquet", "many/_3.parquet", "many/.4.parquet"):
        write(bucket, name)
    assert read_table("s3://bucket/many").rows == 120
    assert sum(batch.rows for batch in open_source("s3://bucket/many/").batches()) == 120
    with refused("s3://bucket/none does not exist"):
        read_table("s3://bucket/none")
    (bucket / "empty").mkdir()
    with refused("s3://bucket/empty is a folder without tables"):
        read_table("s3://bucket/empty")


def test_what_is_wrong_is_said_as_of_any_file(bucket: Path) -> None:
    (bucket / "t.csv").write_text("a,y\n1,x\n1,2,3\n")
    with refused("s3://bucket/t.csv, line 3, has 3 fields"):
        read_table("s3://bucket/t.csv")
    (bucket / "t.parquet").write_bytes(b"PAR1" + bytes(50))
    with refused("s3://bucket/t.parquet cannot be read as Parquet"):
        read_table("s3://bucket/t.parquet")
    with refused("s3://bucket/t.csw does not exist; did you mean 't.csv'?"):
        read_table("s3://bucket/t.csw")
    (bucket / "empty.csv").touch()
    with refused("s3://bucket/empty.csv is empty (0 bytes)"):
        open_source("s3://bucket/empty.csv")
    (bucket / "t.npy").write_bytes(b"x")
    with refused("s3://bucket/t.npy ends in '.npy'"):
        read_table("s3://bucket/t.npy")


def test_a_file_url_is_a_path(bucket: Path) -> None:
    write(bucket, "t.csv")
    assert located((bucket / "t.csv").as_uri()) == bucket / "t.csv"
    assert read_table((bucket / "t.csv").as_uri()).path == bucket / "t.csv"


@pytest.mark.parametrize("url", ["http://x/t.csv", "zzz://x/t.csv"])
def test_an_unknown_kind_of_url_is_refused(url: str) -> None:
    with refused(f"{url} cannot be reached (Unrecognized filesystem type", "such as s3://"):
        read_table(url)


def test_a_windows_path_is_no_url() -> None:
    assert located("C:\\tables\\t.csv") == Path("C:\\tables\\t.csv")
    assert located("a:b.csv") == Path("a:b.csv")


def test_secrets_are_neither_shown_nor_kept(bucket: Path) -> None:
    write(bucket, "t.csv")
    url = "s3://key:secret@bucket/t.csv"
    place = located(url)
    assert isinstance(place, RemoteFile)
    assert str(place) == "s3://bucket/t.csv"
    assert without_secrets("s3://bucket/a@b.csv") == "s3://bucket/a@b.csv"
    outcome = done("train", url, "--target", "y", "--epochs", "1", "--out", "run")
    everything = outcome.out + outcome.err + Path("run/config.toml").read_text()
    assert "s3://bucket/t.csv" in Path("run/config.toml").read_text()
    assert "secret" not in everything
    failed = run("train", "s3://key:secret@bucket/none.csv", "--target", "y")
    assert failed.code == 2
    assert "secret" not in failed.err
    assert "secret" not in run("train", url).err


def test_a_url_is_trained_on_and_predicted(bucket: Path) -> None:
    url = write(bucket, "people.parquet")
    done(
        "train",
        url,
        "--target",
        "y",
        "--epochs",
        "1",
        "--memory",
        "64MB",
        "--batch-size",
        "8",
        "--out",
        "run",
    )
    assert len(done("predict", "run/model.safetensors", url).out.split()) == 61
    done("train", "--config", "run/config.toml", "--out", "again")
    assert "people.parquet" in done("evaluate", "run/model.safetensors", url).out
    whole = fit_table(url, "y", config=TrainingConfig(epochs=1), device="cpu")
    assert whole.model.metadata["table"] == "people.parquet"

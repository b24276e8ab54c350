"""Results as files: what is written is read, and what is none is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpu_mlp.benchmark.page import page_of
from gpu_mlp.benchmark.results import read_result
from tests.benchmark.results import drawn_result
from tests.data.refusals import refused

REPOSITORY = Path(__file__).parents[2]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    result = drawn_result(0)
    (tmp_path / "r.json").write_text(json.dumps(result.document()))
    assert read_result(tmp_path / "r.json") == result
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


@pytest.mark.parametrize("path", sorted((REPOSITORY / "bench" / "results").glob("bench-*.json")), ids=str)
def test_the_results_of_the_repository_are_read_and_drawn(path: Path) -> None:
    result = read_result(path)
    assert result.finished
    assert result.rows
    assert page_of(result).count("<svg") > 1


def test_another_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps({**drawn_result(0).document(), "schema": 9}))
    with refused("r.json has schema 9, but this gpu_mlp reads schema 1", "measure again"):
        read_result(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"{}",
        b'{"schema": 1}',
        b"\xff\xfe",
        b'{"schema": 1, "suite": "q", "method": {}}',
    ],
)
def test_what_is_no_result_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(content)
    with refused("r.json is no result of gpu-mlp bench", "--out"):
        read_result(path)


@pytest.mark.parametrize("seconds", [[], [0.0], [-1.0], ["x"], [float("nan")], None])
def test_times_that_are_none_are_refused(tmp_path: Path, seconds: object) -> None:
    result = drawn_result(0)
    result.rows[1]["contestants"]["torch"]["seconds"] = seconds
    (tmp_path / "r.json").write_text(json.dumps(result.document()))
    with refused("r.json is no result of gpu-mlp bench"):
        read_result(tmp_path / "r.json")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with refused("none.json cannot be read (No such file or directory)"):
        read_result(tmp_path / "none.json")

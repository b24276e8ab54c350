"""What the benchmarks are told and what they record; the timing itself is no test."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import version
from types import ModuleType

import pytest

from gpu_mlp.backends import numpy_compiled
from tests.test_package import REPOSITORY


@pytest.fixture
def bench_step(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(REPOSITORY / "bench"))
    return importlib.import_module("bench_step")


def test_the_flags_have_their_defaults(bench_step: ModuleType) -> None:
    arguments = bench_step.parse([])
    assert vars(arguments) == {"rounds": 15, "threads": None, "without_numba": False, "out": None}
    assert bench_step.parse(["--without-numba", "--threads", "2"]).without_numba


def test_too_few_rounds_are_refused(bench_step: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench_step.parse(["--rounds", "2"])
    assert "--rounds is 2, but a median with an interval needs at least 3" in capsys.readouterr().err


def test_without_numba_nothing_is_compiled(bench_step: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", sys.modules.get("numba"))  # and afterwards as it was
    bench_step.hide_numba()
    numpy_compiled.has_numba.cache_clear()
    try:
        assert not numpy_compiled.has_numba()
    finally:
        numpy_compiled.has_numba.cache_clear()


def test_the_version_of_numba_is_recorded(bench_step: ModuleType) -> None:
    assert bench_step.stamp()["versions"]["numba"] == version("numba")

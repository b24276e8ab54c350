"""Fixtures of the command line: a working folder of its own for every test, and runs that many tests read."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

from tests.cli.commands import Trained, train
from tests.cli.tables import people, write_csv


@pytest.fixture(scope="package", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tests run side by side; threads that wait for a processor another test holds make them ten times slower."""
    with threadpool_limits(1):
        yield


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths are under the test's own folder, and "auto" is the CPU."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPU_MLP_DEVICE", "cpu")


@pytest.fixture(autouse=True)
def _ctrl_c() -> Iterator[None]:
    """Ctrl-C works, also where the tests run in the background of a shell, which lets its jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="package")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """`gpu-mlp train --demo digits`."""
    return train(tmp_path_factory.mktemp("digits"), "--demo", "digits")


@pytest.fixture(scope="package")
def buyers(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A classification of a CSV with text, booleans, gaps and an ignored column."""
    folder = tmp_path_factory.mktemp("buyers")
    table = write_csv(folder / "people.csv", people())
    flags = ("--target", "buys", "--ignore", "id", "--ignore", "spends", "--epochs", "30", "--hidden", "16")
    return train(folder, table, *flags, "--learning-rate", "0.02", table=table)


@pytest.fixture(scope="package")
def spenders(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A regression of the same."""
    folder = tmp_path_factory.mktemp("spenders")
    table = write_csv(folder / "people.csv", people())
    flags = ("--target", "spends", "--ignore", "id", "--ignore", "buys", "--epochs", "60", "--hidden", "16")
    return train(folder, table, *flags, "--learning-rate", "0.02", "--batch-size", "16", table=table)

"""The fake NVML, compiled once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.telemetry.fake_nvml import FakeNvml, build


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def nvml(nvml_library: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    return FakeNvml(nvml_library, monkeypatch)

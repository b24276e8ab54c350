"""The process and the processor, on files that stand for the kernel's."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from gpu_mlp.telemetry.processor import ProcessorMeter


def package(system: Path, name: str, energy: int, largest: int = 1000_000_000) -> Path:
    folder = system / name
    folder.mkdir(parents=True)
    (folder / "max_energy_range_uj").write_text(f"{largest}\n")
    (folder / "energy_uj").write_text(f"{energy}\n")
    return folder / "energy_uj"


def test_cpu_seconds_are_the_processs(tmp_path: Path) -> None:
    meter = ProcessorMeter(tmp_path)
    first, start = meter.read()["cpu_seconds"], time.process_time()
    while time.process_time() < start + 0.05:
        pass
    assert 0.05 <= float(meter.read()["cpu_seconds"]) - float(first) < 1.0


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells the resident memory so")
def test_resident_bytes_grow_with_what_is_touched(tmp_path: Path) -> None:
    meter = ProcessorMeter(tmp_path)
    before = float(meter.read()["resident_bytes"])
    touched = np.ones(20_000_000)
    grown = float(meter.read()["resident_bytes"]) - before
    assert grown == pytest.approx(touched.nbytes, rel=0.2)


def test_the_pages_are_the_second_number(tmp_path: Path) -> None:
    (tmp_path / "statm").write_text("900 7 3 1 0 5 0\n")
    assert ProcessorMeter(tmp_path, tmp_path).read()["resident_bytes"] == 7.0 * os.sysconf("SC_PAGE_SIZE")
    (tmp_path / "statm").write_text("broken\n")
    assert "resident_bytes" not in ProcessorMeter(tmp_path, tmp_path).read()


def test_the_energy_is_that_of_all_packages_and_not_of_their_parts(tmp_path: Path) -> None:
    package(tmp_path, "intel-rapl:0", 2_500_000)
    package(tmp_path, "intel-rapl:1", 500_000)
    package(tmp_path, "intel-rapl:0:0", 70_000_000)
    package(tmp_path, "dtpm", 70_000_000)
    assert ProcessorMeter(tmp_path).read()["cpu_energy_joules"] == 3.0


def test_a_counter_that_begins_anew_is_counted_on(tmp_path: Path) -> None:
    counter = package(tmp_path, "intel-rapl:0", 9_000_000, largest=9_999_999)
    meter = ProcessorMeter(tmp_path)
    first = float(meter.read()["cpu_energy_joules"])
    for energy, grown in ((500_000, 1.5), (900_000, 1.9), (100_000, 11.1)):
        counter.write_text(str(energy))
        assert float(meter.read()["cpu_energy_joules"]) - first == pytest.approx(grown)


def test_energy_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    counter = package(tmp_path, "intel-rapl:0", 1)
    meter = ProcessorMeter(tmp_path)
    counter.unlink()
    assert "cpu_energy_joules" not in meter.read()
    assert "cpu_energy_joules" not in ProcessorMeter(tmp_path).read()
    assert "cpu_energy_joules" not in ProcessorMeter(tmp_path / "none").read()

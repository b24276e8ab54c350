"""What NVML says is read in our units, and no failure of it is more than a measure that is missing."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

import pytest

from gpu_mlp.telemetry.nvml import THROTTLES, GpuMeter
from tests.telemetry.fake_nvml import BUS_ID, FakeNvml

NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND, TIMEOUT, FUNCTION_NOT_FOUND, GPU_IS_LOST = 3, 4, 6, 10, 13, 15
DRIVER_NOT_LOADED, UNKNOWN = 9, 999

WHOLE = {
    "gpu_utilisation_percent": 87.0,
    "gpu_memory_bytes": float(3 << 30),
    "gpu_power_watts": 312.5,
    "gpu_energy_joules": 5000.0,
    "gpu_temperature_celsius": 61.0,
    "gpu_clock_mhz": 1410.0,
    "gpu_throttled": "",
}
FUNCTIONS = dict(
    zip(WHOLE, ("utilisation", "memory", "power", "energy", "temperature", "clock", "throttles"), strict=True)
)


@pytest.fixture
def meter(nvml: FakeNvml) -> Iterator[GpuMeter]:
    meter = GpuMeter.open(BUS_ID)
    assert meter is not None
    yield meter
    meter.close()


def test_every_measure_is_in_its_unit(meter: GpuMeter) -> None:
    assert meter.read() == WHOLE


def test_a_measure_follows_the_gpu(meter: GpuMeter, nvml: FakeNvml) -> None:
    nvml.set(energy=5_001_500, utilisation=3)
    assert meter.read() == {**WHOLE, "gpu_energy_joules": 5001.5, "gpu_utilisation_percent": 3.0}


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (0x1, ""),  # idle
        (0x2 | 0x10 | 0x100, ""),  # clocks that somebody has set
        (0x4, "power cap"),
        (0x20 | 0x8, "hardware slowdown+temperature"),
        (0xFFFF, "+".join(THROTTLES.values())),
    ],
)
def test_reasons_for_low_clocks_are_named(meter: GpuMeter, nvml: FakeNvml, mask: int, expected: str) -> None:
    nvml.set(throttles=mask)
    assert meter.read()["gpu_throttled"] == expected


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("code", [NOT_SUPPORTED, FUNCTION_NOT_FOUND, NO_PERMISSION])
def test_what_is_not_supported_is_left_out_for_good(
    meter: GpuMeter, nvml: FakeNvml, caplog: pytest.LogCaptureFixture, name: str, code: int
) -> None:
    rest = {other: value for other, value in WHOLE.items() if other != name}
    nvml.fail(FUNCTIONS[name], code)
    with caplog.at_level(logging.INFO, "gpu_mlp"):
        assert meter.read() == rest
        nvml.fail(FUNCTIONS[name], 0)
        assert meter.read() == rest
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert f"the GPU does not tell {name}" in caplog.text


@pytest.mark.parametrize("code", [TIMEOUT, UNKNOWN])
def test_what_fails_once_is_read_again(meter: GpuMeter, nvml: FakeNvml, code: int) -> None:
    nvml.fail("power", code)
    assert "gpu_power_watts" not in meter.read()
    nvml.fail("power", 0)
    assert meter.read() == WHOLE


def test_nothing_is_read_of_a_gpu_that_is_lost(
    meter: GpuMeter, nvml: FakeNvml, caplog: pytest.LogCaptureFixture
) -> None:
    nvml.fail("temperature", GPU_IS_LOST)
    meter.read()
    nvml.fail("temperature", 0)
    assert meter.read() == {}
    assert [record.getMessage()[:29] for record in caplog.records] == ["no more telemetry of the GPU:"]


@pytest.mark.parametrize(
    ("what", "code"),
    [("init", DRIVER_NOT_LOADED), ("init", UNKNOWN), ("handle", NOT_FOUND), ("handle", GPU_IS_LOST)],
)
def test_without_nvml_there_is_no_meter(
    nvml: FakeNvml, caplog: pytest.LogCaptureFixture, what: str, code: int
) -> None:
    nvml.fail(what, code)
    with caplog.at_level(logging.INFO, "gpu_mlp"):
        assert GpuMeter.open(BUS_ID) is None
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert nvml.users == 0


def test_a_gpu_of_another_place_is_not_taken_for_it(nvml: FakeNvml) -> None:
    assert GpuMeter.open("0000:08:00.0") is None
    assert nvml.users == 0


def test_without_the_library_or_its_bindings_there_is_no_meter(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, nvml: FakeNvml
) -> None:
    import pynvml

    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    with caplog.at_level(logging.INFO, "gpu_mlp"):
        monkeypatch.setattr(pynvml, "CDLL", missing)
        assert GpuMeter.open(BUS_ID) is None
        monkeypatch.setitem(sys.modules, "pynvml", None)
        assert GpuMeter.open(BUS_ID) is None
    assert "nvidia-ml-py is not installed" in caplog.text


def test_it_is_given_back(nvml: FakeNvml) -> None:
    meter = GpuMeter.open(BUS_ID)
    assert meter is not None
    assert nvml.users == 1
    meter.close()
    assert nvml.users == 0
    meter.close()  # and a second time is nothing

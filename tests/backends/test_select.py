"""From device names to backends: what is chosen or refused and why, on machines with and without a GPU."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends.cupy_device import compile_with_cupy
from gpu_mlp.backends.numpy_backend import numpy_ops
from gpu_mlp.backends.select import choose_device, device_ops, ops_of
from gpu_mlp.errors import ConfigError, DeviceError
from gpu_mlp.network.network import Network
from tests.backends.fake_cupy import Machine, install, no_memory_of_devices
from tests.emulator import unavailable_reason


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("GPU_MLP_DEVICE", raising=False)
    with no_memory_of_devices():
        yield


def refusal(device: Any, error: type[Exception] = DeviceError) -> str:
    """The one line it raises."""
    with pytest.raises(error) as caught:
        device_ops(device)
    message = str(caught.value)
    assert isinstance(caught.value, RuntimeError if error is DeviceError else ValueError)
    assert "\n" not in message
    return message


NO_CUPY = None
NO_DRIVER = Machine(driver=0)
OLD_DRIVER = Machine(driver=12020)
NO_DEVICE = Machine(devices=0)
NO_DEVICE_RAISED = Machine(no_device_raises=True)
KERNEL_FAILS = Machine(kernel_error=OSError("libnvrtc is missing"))
WRONG_SUM = Machine(wrong_sum=True)

BROKEN: dict[str, tuple[Machine | None, tuple[str, ...]]] = {
    "no CuPy": (NO_CUPY, ("CuPy cannot be imported", "pip install")),
    "no driver": (NO_DRIVER, ("no NVIDIA driver", 'device="cpu"')),
    "old driver": (OLD_DRIVER, ("CUDA 12.2", "CUDA 13.0", "insufficient", "update the driver")),
    "no device": (NO_DEVICE, ("shows none", "CUDA_VISIBLE_DEVICES", 'device="cpu"')),
    "no device raised": (NO_DEVICE_RAISED, ("shows none", "CUDA_VISIBLE_DEVICES")),
    "failing kernel": (KERNEL_FAILS, ("first kernel", "OSError: libnvrtc is missing", "pip install")),
    "wrong sum": (WRONG_SUM, ("computed 72.0 for a sum that is 8",)),
}


@pytest.mark.parametrize(
    "device", ["gpu", "", "CPU", "cuda:", "cuda:-1", "cuda:x", "cuda:1:2", "tpu:0", " cpu", 0, None]
)
def test_an_unknown_device_is_refused_with_the_names_there_are(device: Any) -> None:
    message = refusal(device, ConfigError)
    assert repr(device) in message
    assert '"auto", "cpu", "cuda" or "cuda:N"' in message


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:1"])
def test_an_explicit_cuda_that_cannot_be_used_says_why_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, case: str, device: str
) -> None:
    machine, said = BROKEN[case]
    install(monkeypatch, machine)
    message = refusal(device)
    for part in said:
        assert part in message
    with pytest.raises(DeviceError):  # it never falls back
        Network((2, 2), device=device)


@pytest.mark.parametrize("case", BROKEN)
def test_auto_takes_the_cpu_where_cuda_cannot_be_used_and_logs_the_reason_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    machine, said = BROKEN[case]
    install(monkeypatch, machine)
    with caplog.at_level(logging.INFO, logger="gpu_mlp"):
        assert device_ops().device == "cpu"
        assert Network((2, 2)).device == "cpu"
        assert Network((2, 2), device="auto").device == "cpu"
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("device auto is cpu: ")
    reason = ("CuPy is not installed",) if machine is None else said
    for part in reason:
        assert part in caplog.messages[0]
    assert choose_device()[0] == "cpu"


def test_auto_takes_a_cuda_device_that_works(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine = Machine()
    install(monkeypatch, machine)
    with caplog.at_level(logging.INFO, logger="gpu_mlp"):
        ops = device_ops("auto")
    assert (ops.name, ops.device) == ("cuda", "cuda:0")
    assert machine.used == [0]
    assert caplog.messages == ["device auto is cuda:0: Imaginary 0, 1.5 GiB"]


def test_a_cuda_device_is_chosen_by_its_index(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    install(monkeypatch, machine)
    assert device_ops("cuda").device == "cuda:0"
    assert device_ops("cuda:1").device == "cuda:1"
    assert device_ops("cuda:1") is device_ops("cuda:1")
    assert machine.used == [0, 1, 1, 1]
    assert "cuda:2 was asked for" in refusal("cuda:2")
    assert "2 CUDA devices (cuda:0 to cuda:1)" in refusal("cuda:2")


def test_the_device_asked_for_last_is_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    install(monkeypatch, machine)
    for index in (1, 0, 1):
        assert Network((2, 3, 1), device=f"cuda:{index}").device == f"cuda:{index}"
        assert machine.current == index
    device_ops("cuda:0")
    device_ops("cpu")
    assert machine.current == 0


def test_finding_out_what_auto_means_leaves_the_current_device(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    install(monkeypatch, machine)
    device_ops("cuda:1")
    assert choose_device()[0] == "cuda:0"
    assert machine.current == 1
    device_ops("auto")
    assert machine.current == 0


def test_arrays_go_to_the_backend_s_device_from_every_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The current device is the thread's own, and another backend may have changed it."""
    machine, seen = Machine(), []
    install(monkeypatch, machine)
    ops = device_ops("cuda:1")
    device_ops("cuda:0")
    ops.to_device([1.0])
    assert machine.current == 1
    thread = threading.Thread(target=lambda: (ops.to_device([1.0]), seen.append(machine.current)))
    thread.start()
    thread.join()
    assert seen == [1]


def test_the_stream_that_is_current_then_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    install(monkeypatch, machine)
    ops = device_ops("cuda:1")
    device_ops("cuda:0")
    machine.stream = "second"
    ops.synchronize()
    assert machine.synchronized == ["second of 1"]


def test_a_failure_is_looked_at_again_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver may be installed, or a device made visible, in the meantime."""
    machine = Machine(driver=0)
    install(monkeypatch, machine)
    refusal("cuda")
    machine.driver = 13000
    assert device_ops("cuda").device == "cuda:0"


@pytest.mark.parametrize(
    ("value", "expected"),
    [("cpu", "cpu"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("auto", "cuda:0"), ("", "cuda:0")],
)
def test_the_environment_variable_decides_what_auto_means(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: str
) -> None:
    install(monkeypatch, Machine())
    monkeypatch.setenv("GPU_MLP_DEVICE", value)
    assert device_ops("auto").device == expected
    assert device_ops("cpu").device == "cpu"
    assert device_ops("cuda:1").device == "cuda:1"


def test_a_cuda_device_from_the_environment_does_not_fall_back_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, None)
    monkeypatch.setenv("GPU_MLP_DEVICE", "cuda")
    assert refusal("auto").startswith("GPU_MLP_DEVICE is 'cuda': a CUDA device was asked for, but CuPy")
    assert "GPU_MLP_DEVICE" not in refusal("cuda")


def test_an_unknown_name_in_the_environment_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPU_MLP_DEVICE", "gpu")
    message = refusal("auto", ConfigError)
    assert "'gpu'" in message
    assert "GPU_MLP_DEVICE" in message


def test_the_fake_cuda_backend_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend that a machine with CuPy gets, launch path and all, on arrays that NumPy holds."""
    if (reason := unavailable_reason()) is not None:
        pytest.skip(reason)
    machine = Machine()
    install(monkeypatch, machine)
    nets = [
        Network((3, 5, 2), activation="gelu", dtype="float64", device=device) for device in ("cpu", "cuda")
    ]
    assert [net.device for net in nets] == ["cpu", "cuda:0"]
    outputs = [net.forward(np.ones((4, 3))).output for net in nets]
    np.testing.assert_allclose(*outputs, rtol=1e-14)
    # Only what was launched has been compiled.
    gelu, last = (f"bias_activation<double, activation::{name}>" for name in ("gelu", "identity"))
    assert machine.compiled == [gelu, last]


def test_a_kernel_that_does_not_compile_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    if (reason := unavailable_reason()) is not None:
        pytest.skip(reason)
    install(monkeypatch, Machine())
    with pytest.raises(DeviceError, match=r"kernel broken of typo.cu does not compile on this machine"):
        compile_with_cupy("typo.cu", 'extern "C" __global__ void broken(float* x) { x[0] = y; }', "broken")


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (SimpleNamespace(id=1), "cuda:1"),  # CuPy
        (SimpleNamespace(index=1), "cuda:1"),  # PyTorch
        (SimpleNamespace(index=None), "cuda:0"),
        (None, "cuda:0"),
    ],
)
def test_the_backend_of_an_array_is_that_of_its_device(
    monkeypatch: pytest.MonkeyPatch, device: Any, expected: str
) -> None:
    install(monkeypatch, Machine())
    array = SimpleNamespace(__cuda_array_interface__={}, device=device)
    assert ops_of(array).device == expected


def test_everything_else_lies_on_the_cpu() -> None:
    for array in (np.zeros(3), [1, 2], 5):
        assert ops_of(array) is numpy_ops()

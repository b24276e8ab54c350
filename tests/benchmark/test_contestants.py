"""Everybody does the same work, and who does not is named."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends.numpy_backend import numpy_ops
from gpu_mlp.benchmark.cases import EPOCHS, PROBLEMS, Case, Data, data_of
from gpu_mlp.benchmark.contestants import PEERS, Contestant, UnableError, contestants_of
from gpu_mlp.benchmark.contestants.own import Own
from gpu_mlp.benchmark.run import _different
from gpu_mlp.errors import ConfigError, DeviceError
from tests.data.refusals import refused

NAMES = [name for name in PEERS if name not in ("torch.compile", "skorch")]
FITTING = [*NAMES, "skorch"]


def peer(name: str) -> Contestant:
    (contestant,) = contestants_of((), (name,))
    reason = contestant.missing()
    if reason:
        pytest.skip(reason)
    return contestant


def compared(case: Case, other: Contestant, data: Data | None = None) -> dict[str, str]:
    works: dict[str, Any] = {"gpu_mlp": Own("cpu").set_up(case, data_of(case))}
    works[other.name] = other.set_up(case, data_of(case) if data is None else data)
    for work in works.values():
        work.run(1)
    return _different(case, works)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("problem", ["tiny", "small", "tabular"])
@pytest.mark.parametrize("task", ["step", "inference"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_it_computes_what_gpu_mlp_computes(name: str, problem: str, task: Any, precision: str) -> None:
    case = Case(PROBLEMS[problem], 32, precision, task)
    if (name, problem) == ("sklearn", "tiny"):
        with pytest.raises(UnableError, match="one output for two classes"):
            compared(case, peer(name))
    else:
        assert compared(case, peer(name)) == {}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("task", ["step", "inference"])
def test_who_starts_elsewhere_is_named(name: str, task: Any) -> None:
    """The negative control: one weight of 8,970 is another."""
    case = Case(PROBLEMS["small"], 32, "float64", task)
    data = data_of(case)
    data.weights[1][3, 5] += 0.5
    reasons = compared(case, peer(name), data)
    assert list(reasons) == [name]
    what = "after 1 steps the loss" if task == "step" else "an output"
    assert reasons[name].startswith(f"computes something else: {what} differs from that of gpu_mlp by ")


def fit_case(problem: str, precision: str = "float32") -> Case:
    """A fit of four batches."""
    return Case(replace(PROBLEMS[problem], fit_rows=256), 64, precision, "fit")


@pytest.mark.parametrize("name", FITTING)
@pytest.mark.parametrize("problem", ["tiny", "small", "tabular"])
def test_it_fits_what_gpu_mlp_fits(name: str, problem: str) -> None:
    case, other = fit_case(problem), peer(name)
    if (name, problem) == ("sklearn", "tiny"):
        with pytest.raises(UnableError, match="one output for two classes"):
            compared(case, other)
        return
    assert compared(case, other) == {}
    # The order of the rows as they stand gives the same losses whatever was fitted before.
    works = [each.set_up(case, data_of(case)) for each in (Own("cpu"), other)]
    found = []
    for work in works:
        first = work.result()
        work.run(2)
        np.testing.assert_array_equal(work.result(), first)
        found.append(first)
    assert found[0].shape == (EPOCHS,)
    np.testing.assert_allclose(found[0], found[1], rtol=2e-3)


@pytest.mark.parametrize("name", FITTING)
def test_who_fits_from_elsewhere_is_named(name: str) -> None:
    data = data_of(fit_case("small"))
    for omega in data.weights:
        omega *= 1.5
    reasons = compared(fit_case("small"), peer(name), data)
    assert reasons[name].startswith(
        "computes something else: an epoch's loss differs from that of gpu_mlp by "
    )


@pytest.mark.parametrize("task", ["step", "inference", "fit"])
def test_gpu_mlp_computes_in_the_precision_of_the_case(task: Any) -> None:
    """Rounded factors give other numbers than float32, and nearly the same."""
    problem = replace(PROBLEMS["small"], fit_rows=128)
    found = []
    for precision in ("float32", "bf16"):
        case = Case(problem, 64, precision, task)
        work = Own("cpu").set_up(case, data_of(case))
        work.run(2)
        found.append(work.result())
    assert not np.array_equal(*found)
    np.testing.assert_allclose(*found, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("name", FITTING)
@pytest.mark.parametrize("task", ["step", "inference", "fit"])
def test_peers_are_not_measured_in_a_precision_that_they_were_not_written_for(name: str, task: Any) -> None:
    case = Case(PROBLEMS["small"], 64, "bf16", task)
    with pytest.raises(UnableError):
        peer(name).set_up(case, data_of(case))


def test_a_precision_that_the_device_does_not_have_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(precision: str) -> Any:
        raise DeviceError(f"this device has no {precision}")

    lacking = replace(numpy_ops(), in_precision=refuse)
    monkeypatch.setattr("gpu_mlp.network.network.device_ops", lambda device: lacking)
    for task in ("step", "inference", "fit"):
        case = Case(PROBLEMS["tiny"], 64, "bf16", task)  # type: ignore[arg-type]
        with pytest.raises(UnableError, match="this device has no bf16"):
            Own("cpu").set_up(case, data_of(case))


def test_skorch_is_measured_in_fits() -> None:
    with pytest.raises(UnableError, match="measured in whole fits"):
        peer("skorch").set_up(Case(PROBLEMS["small"], 32, "float32", "step"), None)  # type: ignore[arg-type]


def test_who_takes_another_step_is_named() -> None:
    case = Case(PROBLEMS["small"], 32, "float64", "step")

    class Twice(Own):
        def set_up(self, case: Case, data: Data) -> Any:
            work = super().set_up(case, data)
            real = work.run
            work.run = lambda count: real(2 * count)  # type: ignore[method-assign]
            return work

    other = Twice("cpu")
    other.name = "twice"
    assert "after 1 steps the loss differs" in compared(case, other)["twice"]


def test_a_loss_that_is_no_number_is_never_the_same() -> None:
    class Broken:
        def run(self, count: int) -> None:
            pass

        def result(self) -> Any:
            return np.asarray(np.nan)

    case = Case(PROBLEMS["small"], 32, "float32", "step")
    own = Own("cpu").set_up(case, data_of(case))
    own.run(1)
    assert list(_different(case, {"gpu_mlp": own, "broken": Broken()})) == ["broken"]


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torch_compile_is_eager_torch_where_it_works() -> None:
    for task in ("step", "inference"):
        case = Case(PROBLEMS["tiny"], 8, "float32", task)  # type: ignore[arg-type]
        assert compared(case, peer("torch.compile")) == {}


def test_peers_that_are_unknown_are_refused_with_those_there_are() -> None:
    with refused("peer 'keras' is unknown; choose one of torch", error=ConfigError):
        contestants_of(("cpu",), ("torch", "keras"))


def test_a_peer_is_asked_for_once() -> None:
    assert [each.name for each in contestants_of(("cpu",), ("torch", "torch", "jax"))] == [
        "gpu_mlp",
        "torch",
        "jax",
    ]


@pytest.mark.parametrize("name", ["torch", "jax", "skorch"])
def test_what_is_not_installed_says_so(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    for place in ("pytorch", "jax_jit", "skorch_net"):
        monkeypatch.setattr(f"gpu_mlp.benchmark.contestants.{place}.find_spec", lambda _: None)
    assert "is not installed" in contestants_of((), (name,))[0].missing()


def test_a_device_that_is_not_there_says_so() -> None:
    if find_spec("cupy") is not None:
        pytest.skip("CuPy is installed")
    assert "CuPy" in Own("cuda").missing()
    assert Own("cpu").missing() == ""

"""Contestants in rounded precisions: that they round, that their losses agree, and that other work is seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from contest import first_difference
from gpu import own_steps, torch_steps
from gpu.contestants import CONTESTANTS
from gpu.precisions import PRECISIONS, in_precision, types_of
from gpu.problems import FIRST_SCALE, PROBLEMS, Precision, Problem
from gpu.steps import play

from gpu_mlp.backends.base import PRECISION_NAMES, ROUNDED_PRECISIONS
from gpu_mlp.backends.numpy_backend import numpy_ops
from tests.bench.test_gpu_steps import Fake, losses_of, quiet_notes

# One of those that are measured in rounded precisions, and its kind with one output.
(NARROW,) = (p for p in PROBLEMS if p.sizes[0] == 64 and p.precision == "bf16")
LABELS, SQUARE = replace(NARROW, batch=64), Problem((6, 16, 16, 1), 64)


@pytest.fixture(autouse=True)
def torch_as_it_was() -> Iterator[None]:
    """What a contestant sets for its whole process."""
    torch = pytest.importorskip("torch")
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def test_all_precisions_are_measured_each_in_its_types() -> None:
    assert sorted(PRECISIONS) == sorted(PRECISION_NAMES)
    names = {each: tuple(dtype.name for dtype in types_of(each)) for each in PRECISIONS}
    assert names == {
        "float32": ("float32", "float32"),
        "float64": ("float64", "float64"),
        "tf32": ("float32", "float32"),
        "bf16": ("bfloat16", "float32"),
        "fp16": ("float16", "float32"),
    }
    ops = numpy_ops()
    assert in_precision(ops, "float64") is ops
    assert in_precision(ops, "tf32").layer_forward is not ops.layer_forward


OTHERS = [each.name for each in CONTESTANTS if each.form in ("own", "plain", "eager")]


@pytest.mark.parametrize("precision", ROUNDED_PRECISIONS)
@pytest.mark.parametrize("problem", [LABELS, SQUARE], ids=["labels", "square"])
def test_the_losses_of_own_and_torchs_contestants_agree(problem: Problem, precision: Precision) -> None:
    problem = replace(problem, precision=precision)
    expected = losses_of("torch eager", problem)
    assert expected[-1] < expected[0]
    for name in OTHERS:
        assert first_difference(losses_of(name, problem), expected, problem.loss_tolerance) is None, name
    strict = losses_of("gpu_mlp step", replace(problem, precision="float32"))
    assert losses_of("gpu_mlp step", problem) != strict
    # Work that is different is seen to be.
    other = replace(problem, learning_rate=1.1 * problem.learning_rate)
    assert first_difference(losses_of("gpu_mlp step", other), expected, problem.loss_tolerance)


@pytest.mark.parametrize("precision", ROUNDED_PRECISIONS)
@pytest.mark.parametrize("name", ["jax jit", "jax scan"])
def test_jaxs_losses_agree(name: str, precision: Precision) -> None:
    pytest.importorskip("jax")
    for problem in (LABELS, SQUARE):
        problem = replace(problem, precision=precision)
        expected = losses_of("gpu_mlp step", problem)
        assert first_difference(losses_of(name, problem), expected, problem.loss_tolerance) is None


def test_a_new_start_has_the_first_scale() -> None:
    own = own_steps.own_step(replace(SQUARE, precision="fp16"), "cpu")
    assert own.step.loss_scale is not None
    own.step.loss_scale.steps[...] = 7
    own.prepare()
    state = own.step.loss_scale
    assert (float(state.scale), int(state.steps), int(state.skip)) == (FIRST_SCALE, 0, 0)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_torch_multiplies_in_the_precision(precision: Precision) -> None:
    torch = pytest.importorskip("torch")
    steps = torch_steps.torch_eager(replace(SQUARE, precision=precision), "cpu")
    seen: list[Any] = []
    for linear in steps.model[::2]:
        linear.register_forward_hook(lambda module, given, result: seen.append(result.dtype))
    steps.step()
    factors, results = (getattr(torch, each.name) for each in types_of(precision))
    assert seen == [factors] * 3
    assert {each.dtype for each in steps.model.parameters()} == {results}
    assert torch.backends.cuda.matmul.allow_tf32 is (precision == "tf32")
    assert (steps.scaler is not None) is (precision == "fp16")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_jax_multiplies_in_the_precision(precision: Precision) -> None:
    jax = pytest.importorskip("jax")
    from gpu import jax_steps

    problem = replace(SQUARE, precision=precision)
    steps = jax_steps.jax_jit(problem, "cpu")
    loss = jax_steps._loss_function(jax, problem)
    text = jax.make_jaxpr(jax.value_and_grad(loss))(steps.state[0], *steps.batch)
    products = [each for each in text.eqns if each.primitive.name == "dot_general"]
    factors, results = (each.name for each in types_of(precision))
    strict = precision in ("float32", "float64")
    setting = jax.lax.Precision.HIGHEST if strict else jax.lax.Precision.HIGH  # which is TF32 on a GPU
    assert [each.params["precision"] for each in products] == [(setting, setting)] * (3 * 3 - 1)
    assert {str(v.aval.dtype) for each in products for v in each.invars} == {factors}
    assert {str(v.aval.dtype) for v in text.jaxpr.outvars} == {results}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_graph_of_torch_repeats_the_step(precision: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from tests.bench import fake_torch_graphs

    fake_torch_graphs.install(monkeypatch)
    problem = replace(LABELS, precision=precision)
    losses = losses_of("torch graph", problem)
    np.testing.assert_allclose(losses, losses_of("torch eager fused", problem), rtol=1e-6)


def test_a_captured_scaler_skips_steps_and_lowers_its_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from tests.bench import fake_torch_graphs

    fake_torch_graphs.install(monkeypatch)
    monkeypatch.setattr(torch_steps, "FIRST_SCALE", 2.0**24)
    problem = replace(LABELS, precision="fp16")
    captured, eager = (
        make(problem, "cpu") for make in (torch_steps.torch_graph, torch_steps.torch_eager_fused)
    )
    captured.prepare()
    assert captured.scaler.get_scale() == 2.0**24
    ours, theirs = (each.losses(20) for each in (captured, eager))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert ours[0] == ours[1]
    assert captured.scaler.get_scale() == eager.scaler.get_scale() < 2.0**24


def test_what_waits_for_the_device_cannot_be_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an Adam that is not fused does under a GradScaler: the stand-in refuses what CUDA would."""
    pytest.importorskip("torch")
    from tests.bench import fake_torch_graphs

    fake_torch_graphs.install(monkeypatch)
    graph = torch_steps.TorchGraph(replace(SQUARE, precision="fp16"), "cpu")
    graph.optimizer = graph.torch.optim.Adam(graph.model.parameters())
    with pytest.raises(RuntimeError, match="capturing"):
        graph.prepare()


def test_jaxs_gradients_do_not_keep_the_scale() -> None:
    """Adam's steps would not show it: they do not depend on the size of gradients."""
    jax = pytest.importorskip("jax")
    from gpu import jax_steps

    means = {}
    for precision in ("float32", "fp16"):
        steps = jax_steps.jax_jit(replace(SQUARE, precision=precision), "cpu")  # type: ignore[arg-type]
        steps.run(1)
        means[precision] = np.concatenate([np.ravel(each) for each in jax.tree.leaves(steps.state[1])])
    np.testing.assert_allclose(means["fp16"], means["float32"], atol=1e-2 * abs(means["float32"]).max())


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_precisions_tolerance_decides_who_is_timed(precision: Precision) -> None:
    problem = replace(SQUARE, precision=precision)
    beside, beyond = (1.0 + factor * problem.loss_tolerance for factor in (0.9, 1.2))
    players = [
        Fake("gpu_mlp step"),
        Fake("torch eager", losses=[beside] * 20),
        Fake("jax jit", losses=[beyond * beside] * 20),
    ]
    notes = quiet_notes()
    play(notes, players, 0, problem)
    (row,) = notes.results["problems"]
    assert set(row["seconds"]) == {"gpu_mlp step", "torch eager"}
    assert (row["precision"], row["loss_tolerance"]) == (precision, problem.loss_tolerance)
    assert row["problem"].endswith(precision)

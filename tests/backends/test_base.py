"""`Ops`: every field is filled by every backend, and every name has its primitive."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gpu_mlp.backends.base import ACTIVATION_NAMES, LOSS_NAMES, Ops
from gpu_mlp.backends.numpy_backend import numpy_ops
from gpu_mlp.backends.reference import OPTIMIZER_PRIMITIVES, reference_ops
from gpu_mlp.backends.reference.activations import bind_activations
from gpu_mlp.learning.optimizers import SGD, Adagrad, Adam, AdamW, Lion, Optimizer, RMSprop


def test_every_field_is_filled(ops: Ops) -> None:
    for field in dataclasses.fields(Ops):
        value = getattr(ops, field.name)
        if field.name == "factor_dtype":
            assert value is None
            continue
        if field.name == "graphs":
            assert (value is not None) == (ops.name in ("cuda", "cuda-emulated"))
            continue
        assert value is not None
        if field.name in ("leaves_signs", "draws_masks"):
            assert not value or ops.name in ("cuda", "cuda-emulated")
            continue
        if field.name not in ("name", "device", "xp", "elements_at_once"):
            assert callable(value), f"{field.name} is no function"


def test_ops_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        numpy_ops().sgd = None  # type: ignore[misc, assignment]


def test_every_loss_and_optimizer_has_its_field() -> None:
    names = {field.name for field in dataclasses.fields(Ops)}
    assert set(LOSS_NAMES) <= names
    assert set(OPTIMIZER_PRIMITIVES) <= names
    optimizers: list[type[Optimizer]] = [SGD, Adagrad, Adam, AdamW, Lion, RMSprop]
    assert {optimizer.primitive for optimizer in optimizers} == set(OPTIMIZER_PRIMITIVES)


def test_every_activation_is_bound() -> None:
    assert tuple(bind_activations(None, abs)) == ACTIVATION_NAMES


def test_the_numpy_backend_replaces_only_what_it_does_better() -> None:
    """Everything else is the reference's own code, by name."""
    unused: Any = object()
    reference = reference_ops(
        unused, name="", device="", erf=abs, to_device=abs, to_host=abs, synchronize=lambda: None
    )

    def code_of(ops: Ops, name: str) -> Any:
        """Of a primitive, or of what `unless_skipped` guards."""
        primitive = getattr(ops, name)
        if (closure := getattr(primitive, "__closure__", None)) and name in OPTIMIZER_PRIMITIVES:
            primitive = closure[0].cell_contents
        return getattr(primitive, "func", None)

    replaced = {
        field.name
        for field in dataclasses.fields(Ops)
        if code_of(numpy_ops(), field.name) is not code_of(reference, field.name)
    }
    assert replaced == {"gather_rows", "gather_factors", "layer_forward", "layer_backward", "adam"}

"""The two quirks: whole Jacobians beside the short forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import gpu_mlp
from gpu_mlp.explanation import quirks as quirks_module
from gpu_mlp.explanation.explain import explain
from gpu_mlp.explanation.story import quirk_texts
from tests.explanation.examples import explained, problems, textbook


@pytest.mark.parametrize("number", range(20))
def test_the_jacobians_are_those_of_the_layer(number: int) -> None:
    problem = problems(20)[number]
    quirks = explained(problem).quirks
    outputs, inputs = quirks.omega.shape
    assert quirks.by_omega.shape == (outputs, outputs, inputs)
    for o in range(outputs):
        for p in range(outputs):
            np.testing.assert_array_equal(quirks.by_omega[o, p], quirks.h if o == p else np.zeros(inputs))
    np.testing.assert_array_equal(quirks.by_h, problem.weights[quirks.layer])
    assert quirks.largest_difference <= 1e-12 * max(1.0, float(np.max(np.abs(quirks.outer))))


def test_the_layer_with_the_smallest_tensor_is_taken() -> None:
    assert textbook().quirks.layer == 3
    network = gpu_mlp.Network((3, 2, 30, 20), dtype="float64", device="cpu")
    assert explain(network, np.ones(3), 4).quirks.layer == 0


def test_a_wrong_short_form_would_be_seen() -> None:
    """The negative control: an outer product the other way round, and Omega without its transpose."""
    quirks = textbook().quirks
    assert replace(quirks, outer=quirks.outer[::-1]).largest_difference > 0.1
    assert replace(quirks, by_h=quirks.by_h[::-1]).largest_difference > 0.1


def test_a_tensor_that_is_too_large_is_cut_and_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quirks_module, "LARGEST_TENSOR", 1000)
    network = gpu_mlp.Network((40, 30), dtype="float64", device="cpu")
    found = explain(network, np.linspace(-1, 1, 40), 3)
    assert found.quirks.by_omega.shape == (16, 16, 16)
    assert found.quirks.largest_difference < 1e-14
    assert quirk_texts(found)[0].startswith("Of f₀ and h₀ only the first 16 and 16 are taken here.")
    assert found.document()["quirks"]["cut"] is True


def test_shapes_that_do_not_fit_are_told() -> None:
    _, second = quirk_texts(textbook())
    assert "(3, 2) times (2, 1) gives (3, 1)" in second
    assert "(2, 3) times (2, 1) does not fit: 3 columns meet 2 rows" in second
    _, second = quirk_texts(textbook(notation="rows"))
    assert "(1, 2) times (3, 2), does not fit: 2 columns meet 3 rows" in second
    square = explain(gpu_mlp.Network((2, 2), dtype="float64", device="cpu"), [1.0, 2.0], 1)
    assert "only because the layer is square" in quirk_texts(square)[1]

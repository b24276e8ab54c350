"""The two quirks: whole Jacobians beside the short forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import gpu_mlp
from gpu_mlp.explanation import quirks as quirks_module
from gpu_mlp.explanation.explain import explain
from gpu_mlp.explanation.story import first_quirk, products_that_fit, second_quirk
from gpu_mlp.explanation.written_as_text import as_text
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
    np.testing.assert_array_equal(quirks.by_h, problem.weights[quirks.layer][:outputs, :inputs])
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
    monkeypatch.setattr(quirks_module, "MOST_WEIGHTS", 1000)
    network = gpu_mlp.Network((40, 30), dtype="float64", device="cpu")
    found = explain(network, np.linspace(-1, 1, 40), 3)
    assert found.quirks.by_omega.shape == (16, 16, 16)
    assert found.quirks.largest_difference < 1e-14
    assert first_quirk(found, 4)[0].startswith("Of f₀ and h₀ only the first 16 and 16 are taken.")
    assert found.document()["quirks"]["cut"] is True


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    ("notation", "names"),
    [
        ("columns", ["dL/df₃ h₃ᵀ", "(dL/df₃)ᵀ df₃/dh₃", "Ω₃ᵀ dL/df₃"]),
        ("rows", ["(dL/df₃)ᵀ h₃", "dL/df₃ df₃/dh₃", "dL/df₃ Ω₃"]),
    ],
)
def test_matrices_are_named_as_the_notation_has_them(notation: str, names: list[str], batch: int) -> None:
    found = textbook(notation=notation, batch=batch)
    text, slices, sums = first_quirk(found, 4)
    _, matrices = second_quirk(found)
    assert [as_text(each.symbol) for each in (sums[1], *matrices[2:])] == names
    assert names[0] in text
    assert [each.words for each in slices] == ["slice 0", "slice 1"]
    words = "of the first sample" if batch > 1 else ""
    assert {each.words for each in (sums[1], *matrices[2:])} == {words}
    back = found.walk.quantities["dl_dh_3"].values
    first = back[:, :1] if notation == "columns" else back[:1]
    np.testing.assert_allclose(matrices[3].values, first, rtol=1e-12)


def test_shapes_that_do_not_fit_are_told() -> None:
    assert products_that_fit(textbook())[1:] == [
        ["dL/df₃ as a row, Ω₃", "(1, 2) (2, 3)", "(1, 3)"],
        ["Ω₃ᵀ, dL/df₃ as a column", "(3, 2) (2, 1)", "(3, 1)"],
        ["Ω₃, dL/df₃ as a column", "(2, 3) (2, 1)", "does not fit: 3 meets 2"],
        ["dL/df₃ as a row, Ω₃ᵀ", "(1, 2) (3, 2)", "does not fit: 2 meets 3"],
    ]
    square = explain(gpu_mlp.Network((2, 2), dtype="float64", device="cpu"), [1.0, 2.0], 1)
    assert [row[2] for row in products_that_fit(square)[3:]] == [
        "(2, 1), but wrong: the layer is square",
        "(1, 2), but wrong: the layer is square",
    ]

"""What is told: the notes' shapes, the order of the steps, and numbers that NumPy and PyTorch find, too."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy.special import erf, expit

import gpu_mlp
from gpu_mlp.config import Loss
from gpu_mlp.errors import ConfigError, DataError, ShapeError
from gpu_mlp.explanation.explain import explain
from tests.explanation.examples import explained, network_of, problems, textbook
from tests.network.random_networks import Problem
from tests.network.torch_networks import torch_result

PROBLEMS = problems(50)
NOTATIONS = ("columns", "rows")


def document_of(problem: Problem, notation: str) -> dict[str, Any]:
    """As another program would read it."""
    found = json.loads(json.dumps(explained(problem, notation).document(), allow_nan=False))
    assert isinstance(found, dict)
    return found


def matrices(document: dict[str, Any]) -> dict[str, Any]:
    """Every quantity with samples as rows."""
    found = {}
    for key, quantity in document["quantities"].items():
        values = np.array(quantity["values"])
        assert values.shape == tuple(quantity["shape"])
        is_turned = document["notation"] == "columns" and not key.startswith(("omega", "dl_domega"))
        found[key] = values.T if is_turned else values
    return found


SLOPES: dict[str, Any] = {
    "identity": (lambda f: f, np.ones_like),
    "relu": (lambda f: np.where(f > 0, f, 0), lambda f: np.where(f > 0, 1.0, 0.0)),
    "leaky_relu": (lambda f: np.where(f > 0, f, 0.01 * f), lambda f: np.where(f > 0, 1.0, 0.01)),
    "elu": (
        lambda f: np.where(f > 0, f, np.expm1(np.minimum(f, 0))),
        lambda f: np.where(f > 0, 1.0, np.exp(np.minimum(f, 0))),
    ),
    "sigmoid": (expit, lambda f: expit(f) * (1 - expit(f))),
    "tanh": (np.tanh, lambda f: 1 - np.tanh(f) ** 2),
    "gelu": (
        lambda f: f * (1 + erf(f / np.sqrt(2))) / 2,
        lambda f: (1 + erf(f / np.sqrt(2))) / 2 + f * np.exp(-f * f / 2) / np.sqrt(2 * np.pi),
    ),
    "gelu_tanh": (
        lambda f: f * (1 + np.tanh(np.sqrt(2 / np.pi) * (f + 0.044715 * f**3))) / 2,
        lambda f: (
            (1 + np.tanh(np.sqrt(2 / np.pi) * (f + 0.044715 * f**3))) / 2
            + f
            / 2
            / np.cosh(np.sqrt(2 / np.pi) * (f + 0.044715 * f**3)) ** 2
            * np.sqrt(2 / np.pi)
            * (1 + 3 * 0.044715 * f**2)
        ),
    ),
    "silu": (lambda f: f * expit(f), lambda f: expit(f) * (1 + f * (1 - expit(f)))),
    "softplus": (lambda f: np.logaddexp(f, 0), expit),
}


def softmax(f: Any) -> Any:
    powers = np.exp(f - f.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def loss_and_gradient(loss: dict[str, Any], f: Any, y: Any) -> tuple[float, Any]:
    """The mean loss and dL/df of the last layer."""
    e = f - y
    match loss["name"]:
        case "squared_error":
            terms, slopes = e**2, 2 * e
        case "absolute_error":
            terms, slopes = np.abs(e), np.sign(e)
        case "huber":
            delta = loss["delta"]
            terms = np.where(np.abs(e) <= delta, e**2 / 2, delta * (np.abs(e) - delta / 2))
            slopes = np.clip(e, -delta, delta)
        case "quantile":
            q = loss["quantile"]
            terms, slopes = (
                np.where(e > 0, (1 - q) * e, -q * e),
                np.where(e > 0, 1 - q, np.where(e < 0, -q, 0)),
            )
        case "poisson":
            terms, slopes = np.exp(f) - y * f, np.exp(f) - y
        case "binary_cross_entropy":
            terms, slopes = np.logaddexp(f, 0) - y * f, expit(f) - y
        case "softmax_cross_entropy":
            terms, slopes = -y * np.log(softmax(f)), softmax(f) - y
    return float(terms.sum(axis=1).mean()), slopes / len(f)


def recomputed(document: dict[str, Any]) -> dict[str, Any]:
    """Everything from what is given: h_0, y, and the parameters."""
    given = matrices(document)
    names = document["network"]["activations"]
    found: dict[str, Any] = {"h_0": given["h_0"]}
    last = len(names)
    for k in range(last + 1):
        found[f"f_{k}"] = found[f"h_{k}"] @ given[f"omega_{k}"].T + given[f"beta_{k}"]
        if k < last:
            value, slope = SLOPES[names[k]]
            found[f"h_{k + 1}"], found[f"slope_{k}"] = value(found[f"f_{k}"]), slope(found[f"f_{k}"])
    links = {"poisson": np.exp, "binary_cross_entropy": expit, "softmax_cross_entropy": softmax}
    if document["loss"]["name"] in links:
        found["p"] = links[document["loss"]["name"]](found[f"f_{last}"])
    loss, found[f"dl_df_{last}"] = loss_and_gradient(document["loss"], found[f"f_{last}"], given["y"])
    found["loss"] = np.array([[loss]])
    for k in range(last, -1, -1):
        dl_df = found[f"dl_df_{k}"]
        found[f"dl_domega_{k}"], found[f"dl_dbeta_{k}"] = (
            dl_df.T @ found[f"h_{k}"],
            dl_df.sum(axis=0, keepdims=True),
        )
        if k > 0:
            found[f"dl_dh_{k}"] = dl_df @ given[f"omega_{k}"]
            found[f"dl_df_{k - 1}"] = found[f"slope_{k - 1}"] * found[f"dl_dh_{k}"]
    return found


@pytest.mark.parametrize("number", range(len(PROBLEMS)))
def test_every_number_is_what_numpy_finds(number: int) -> None:
    document = document_of(PROBLEMS[number], NOTATIONS[number % 2])
    given, expected = matrices(document), recomputed(document)
    assert {key for key in given if not key.startswith(("omega", "beta", "y"))} == set(expected)
    for key, values in expected.items():
        scale = max(1.0, float(np.max(np.abs(values))))
        np.testing.assert_allclose(given[key], values, rtol=1e-12, atol=1e-12 * scale, err_msg=key)


@pytest.mark.parametrize("number", range(len(PROBLEMS)))
def test_pytorchs_autograd_agrees(number: int) -> None:
    problem = PROBLEMS[number]
    given, torch = matrices(document_of(problem, NOTATIONS[number % 2])), torch_result(problem)
    expected = {"loss": np.array([[torch.loss]])}
    for name in ("f", "dl_df", "dl_domega", "h"):
        expected |= {f"{name}_{k}": values for k, values in enumerate(getattr(torch, name))}
    expected |= {f"dl_dbeta_{k}": values[np.newaxis] for k, values in enumerate(torch.dl_dbeta)}
    expected |= {f"dl_dh_{k}": values for k, values in enumerate(torch.dl_dh) if k > 0}
    for key, values in expected.items():
        scale = max(1.0, float(np.max(np.abs(values))))
        np.testing.assert_allclose(given[key], values, rtol=1e-9, atol=1e-10 * scale, err_msg=key)


def test_a_changed_number_would_be_seen() -> None:
    """The negative control."""
    document = document_of(PROBLEMS[8], "columns")
    document["quantities"]["dl_domega_0"]["values"][0][0] += 1e-6
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(
            matrices(document)["dl_domega_0"], recomputed(document)["dl_domega_0"], atol=1e-9
        )


def test_the_shapes_are_the_notes() -> None:
    document = textbook().document()
    shapes = {row["key"]: tuple(row["shape"]) for row in document["shapes"]}
    assert [shapes[f"omega_{k}"] for k in range(4)] == [(4, 2), (7, 4), (3, 7), (2, 3)]
    assert [shapes[f"f_{k}"] for k in range(4)] == [(4, 1), (7, 1), (3, 1), (2, 1)]
    assert [shapes[f"h_{k}"] for k in range(1, 4)] == [(4, 1), (7, 1), (3, 1)]
    for row in document["shapes"]:
        assert row["gradient_shape"] == row["shape"]
        assert row["gradient_key"] == f"dl_d{row['key']}"
    (step,) = (step for step in document["steps"] if step["result"] == "dl_dh_3")
    factors = {factor["symbol"]: tuple(factor["shape"]) for factor in step["factors"]}
    assert factors == {"Ω₃ᵀ": (3, 2), "dL/df₃": (2, 1)}


def test_the_shapes_of_rows_are_turned() -> None:
    quantities = textbook(notation="rows", batch=5).document()["quantities"]
    assert quantities["f_1"]["shape"] == [5, 7]
    assert quantities["omega_1"]["shape"] == quantities["dl_domega_1"]["shape"] == [7, 4]
    assert quantities["beta_1"]["shape"] == [1, 7]


def test_the_steps_come_in_the_notes_order() -> None:
    steps = textbook().walk.steps
    assert [step.number for step in steps] == list(range(1, 25))
    ups = [name for k in range(4) for name in (f"f_{k}", f"h_{k + 1}")][:-1]
    downs = [name for k in range(3, 0, -1) for name in (f"dl_dh_{k}", f"dl_df_{k - 1}")]
    gradients = [name for k in range(3, -1, -1) for name in (f"dl_domega_{k}", f"dl_dbeta_{k}")]
    assert [step.result for step in steps] == [*ups, "p", "loss", "dl_df_3", *downs, *gradients]


@pytest.mark.parametrize("notation", NOTATIONS)
def test_every_step_reads_only_what_is_there_and_names_the_step_of_its_bracket(notation: str) -> None:
    for problem in PROBLEMS[:10]:
        document = document_of(problem, notation)
        computed: dict[str, int] = {}
        first = f"dl_df_{len(problem.activations)}"
        for step in document["steps"]:
            for factor in step["factors"]:
                quantity = document["quantities"][factor["key"]]
                assert factor["computed_in"] == quantity["computed_in"]
                if quantity["kind"] != "given" and not factor["key"].startswith("slope"):
                    assert computed[factor["key"]] == quantity["computed_in"] < step["number"]
                if factor["role"] == "bracket":
                    assert f"[{factor['symbol'].removesuffix('ᵀ').strip('()')}]" in step["equation"]
            roles = [factor["role"] for factor in step["factors"]]
            follows = step["part"] in ("backward", "gradients") and step["result"] != first
            assert ("bracket" in roles) == follows
            if follows and not step["result"].startswith("dl_dbeta"):
                assert "local derivative" in roles
            computed[step["result"]] = step["number"]


@pytest.mark.parametrize("notation", NOTATIONS)
def test_the_shapes_of_an_equations_factors_fit_and_their_product_is_its_result(notation: str) -> None:
    for problem in PROBLEMS[:20]:
        document = document_of(problem, notation)
        values = {key: np.array(quantity["values"]) for key, quantity in document["quantities"].items()}
        for step in document["steps"]:
            if not step["result"].startswith(("f_", "dl_dh", "dl_domega")):
                continue
            matrices = []
            for factor in step["factors"]:
                matrix = values[factor["key"]]
                matrices.append(matrix.T if factor["symbol"].endswith("ᵀ") else matrix)
                assert list(matrices[-1].shape) == factor["shape"]
            product = matrices[0] @ matrices[1] + (matrices[2] if len(matrices) > 2 else 0.0)
            scale = max(1.0, float(np.max(np.abs(product))))
            np.testing.assert_allclose(product, values[step["result"]], atol=1e-11 * scale)


def test_a_sample_without_the_axis_of_the_batch_is_a_batch_of_one() -> None:
    network = textbook().network
    one, batch = explain(network, [0.5, -1.0], 1), explain(network, [[0.5, -1.0]], [1])
    assert one.document() == batch.document()
    assert one.loss.name == "softmax_cross_entropy"
    values = explain(network, [0.5, -1.0], [0.25, -1.5])
    assert values.loss.name == "squared_error"
    assert values.walk.quantities["y"].values.tolist() == [[0.25], [-1.5]]


def test_a_models_own_loss_is_used() -> None:
    model = gpu_mlp.Model(textbook().network, Loss("huber", huber_delta=0.5))
    found = explain(model, [0.5, -1.0], [0.25, -1.5])
    assert (found.loss.name, found.loss.huber_delta) == ("huber", 0.5)


def test_a_loss_with_a_factor_is_told_with_it() -> None:
    network = gpu_mlp.Network((2, 1), dtype="float64", device="cpu")
    found = explain(network, [[1.0, 2.0]] * 4, [[0.0]] * 4, loss=Loss("squared_error", factor=0.5)).document()
    step = next(step for step in found["steps"] if step["result"] == "loss")
    assert step["equation"] == "L = 0.5/4 Σ_b ℓ_b"
    assert found["quantities"]["loss"]["values"][0][0] == pytest.approx(
        0.5 * np.square(found["quantities"]["f_0"]["values"]).mean()
    )


def test_a_float32_network_shows_its_own_numbers() -> None:
    problem = PROBLEMS[4]
    network = network_of(problem, "float32")
    found = explain(network, problem.x, problem.y, loss=problem.loss)
    trace = network.forward(problem.x)
    np.testing.assert_array_equal(found.walk.quantities["f_0"].values, trace.f[0].T)
    assert all(check.passed for check in found.checks)


def test_the_network_and_the_input_are_left_as_they_were() -> None:
    problem = PROBLEMS[3]
    network, x = network_of(problem), problem.x.copy()
    before = network.parameters.flat.copy()
    explain(network, x, problem.y, loss=problem.loss)
    np.testing.assert_array_equal(x, problem.x)
    np.testing.assert_array_equal(network.parameters.flat, before)


@pytest.mark.parametrize(
    ("x", "y", "settings", "error", "sentence"),
    [
        ([1.0], 1, {}, ShapeError, "the input has 1 numbers, but the network"),
        ([[1.0, 2.0, 3.0]], [1], {}, ShapeError, r"shape \(1, 3\)"),
        ([1.0, 2.0], 5, {}, ShapeError, "takes 0 to 1"),
        ([1.0, 2.0], [1, 1], {"loss": "softmax_cross_entropy"}, ShapeError, "do not sum to 1"),
        ([[1.0, 2.0]] * 3, [1, 0], {}, ShapeError, "2 targets for 3 rows"),
        ([1.0, 2.0], 1, {"loss": "nothing"}, ConfigError, "loss 'nothing' is unknown"),
        ([1.0, 2.0], 1, {"notation": "tensors"}, ConfigError, "notation 'tensors' is unknown"),
        (np.empty((0, 2)), np.empty(0, int), {}, ShapeError, "no rows"),
        ([1e308, -1e308], 1, {}, DataError, "overflows float64"),
        ([np.nan, 1.0], 1, {}, DataError, "the input holds NaN or infinity"),
    ],
)
def test_what_does_not_fit_is_refused(
    x: Any, y: Any, settings: Any, error: type[Exception], sentence: str
) -> None:
    network = gpu_mlp.Network((2, 4, 2), dtype="float64", device="cpu")
    network.weights = [100 * omega for omega in network.weights]
    with pytest.raises(error, match=sentence):
        explain(network, x, y, **settings)


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"network is 3, but must be a gpu_mlp.Network or a gpu_mlp.Model"):
        explain(3, [1.0], 1)  # type: ignore[arg-type]


def test_a_notebook_shows_the_page_in_a_frame_of_its_own() -> None:
    shown = textbook()._repr_html_()
    assert shown.startswith('<iframe title="back-propagation in 2-4-7-3-2"')
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown
    assert repr(textbook()) == "<Explanation of 2-4-7-3-2, softmax_cross_entropy of 1 sample, 24 steps>"

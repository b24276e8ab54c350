"""What is measured."""

from __future__ import annotations

import numpy as np
import pytest

from gpu_mlp.benchmark.cases import PROBLEMS, SUITES, Case, cases_of, data_of
from gpu_mlp.errors import ConfigError
from gpu_mlp.network.network import Network
from tests.data.refusals import refused


@pytest.mark.parametrize("suite", SUITES)
def test_every_case_has_a_key_of_its_own(suite: str) -> None:
    keys = [case.key for case in SUITES[suite]]
    assert len(set(keys)) == len(keys)


def test_the_issue_problems_are_there() -> None:
    assert {name: "-".join(map(str, problem.layer_sizes)) for name, problem in PROBLEMS.items()} == {
        "tiny": "2-4-7-3-2",
        "small": "64-128-64-10",
        "tabular": "28-300-300-300-1",
        "mnist": "784-512-512-10",
        "wide": "784-4096-4096-4096-10",
    }
    assert {case.problem.name for case in SUITES["full"]} == set(PROBLEMS)


def test_multiplications_are_counted_layer_by_layer() -> None:
    """Forward 5 (2*4 + 4*3) = 100; backward 5 (4*3) for dL/dh_1 and 100 for the weights."""
    problem = PROBLEMS["tiny"].__class__("odd", (2, 4, 3), 20)
    assert Case(problem, 5, "float32", "inference").multiplications == 100
    assert Case(problem, 5, "float32", "step").multiplications == 100 + 60 + 100
    assert Case(problem, 5, "float32", "fit").multiplications == 2 * 4 * 260  # two epochs of four steps
    assert problem.parameters == Network((2, 4, 3), device="cpu").parameter_count


@pytest.mark.parametrize("suite", SUITES)
def test_a_fit_has_whole_batches(suite: str) -> None:
    fits = [case for case in SUITES[suite] if case.task == "fit"]
    assert fits
    assert all(case.table_rows % case.batch == 0 for case in fits)
    assert data_of(fits[0]).x.shape == (fits[0].table_rows, fits[0].problem.layer_sizes[0])


def test_some_problems_of_a_suite() -> None:
    assert {case.problem.name for case in cases_of("quick", ("tiny", "mnist"))} == {"tiny", "mnist"}
    with refused("suite 'slow' is unknown", error=ConfigError):
        cases_of("slow")
    with refused("problem 'tinny' is unknown; did you mean 'tiny'?", error=ConfigError):
        cases_of("quick", ("tinny",))


def test_precisions_in_place_of_the_suites_own() -> None:
    keys = [case.key for case in cases_of("quick", ("tiny",), ("bf16", "float64"))]
    assert keys == ["tiny/64/bf16/step", "tiny/64/float64/step"]
    full = cases_of("full", ("small",), ("tf32",))
    assert len({case.key for case in full}) == len(full) > 10
    with refused("precision 'int8' is unknown", error=ConfigError):
        cases_of("quick", (), ("int8",))


@pytest.mark.parametrize("precision", ["float32", "float64", "bf16"])
@pytest.mark.parametrize("name", ["tiny", "small", "tabular"])
def test_data_are_the_same_each_time_and_fit_the_problem(name: str, precision: str) -> None:
    case = Case(PROBLEMS[name], 16, precision, "step")
    first, second = data_of(case), data_of(case)
    assert np.array_equal(first.x, second.x)
    assert np.array_equal(first.weights[-1], second.weights[-1])
    assert first.x.dtype == ("float64" if precision == "float64" else "float32")
    assert first.y.shape == ((16, 1) if case.problem.is_regression else (16,))
    sizes = case.problem.layer_sizes
    assert [omega.shape for omega in first.weights] == [
        (sizes[k + 1], sizes[k]) for k in range(len(sizes) - 1)
    ]

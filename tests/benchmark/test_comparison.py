"""Two results compared: a slow-down is seen, and noise is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpu_mlp.benchmark.comparison import Change, Factor, compare_results, noted_differences
from tests.benchmark.results import drawn_result

TRIES = 20


def regressions(old_seed: int, new_seed: int, **settings: float) -> list[str]:
    changes = compare_results(drawn_result(old_seed), drawn_result(new_seed, **settings))
    assert len(changes) == 8
    return [change.key for change in changes if change.is_regression]


def test_the_same_twice_is_no_regression_in_20_of_20_tries() -> None:
    assert [regressions(2 * seed, 2 * seed + 1) for seed in range(TRIES)] == [[]] * TRIES


def test_a_step_a_fifth_slower_is_one_in_20_of_20_tries() -> None:
    found = [regressions(2 * seed, 2 * seed + 1, slower=1.2) for seed in range(TRIES)]
    assert all(found)
    assert sum(map(len, found)) > 0.9 * 4 * TRIES


def test_a_slower_machine_is_none_in_20_of_20_tries() -> None:
    """As a shared machine has it: a run during which everybody took half as long again."""
    found = [regressions(2 * seed, 2 * seed + 1, machine_slower=1.5) for seed in range(TRIES)]
    assert found == [[]] * TRIES


def test_a_step_that_is_slower_by_more_than_the_machine_is_one() -> None:
    assert regressions(0, 1, slower=1.6, machine_slower=1.15)


def test_a_faster_step_and_a_slower_peer_are_none() -> None:
    assert regressions(0, 1, slower=0.7) == []
    twice = Factor(2.0, 1.9, 2.1)
    assert Change("k", "torch", twice).verdict == "slower"
    assert not Change("k", "torch", twice).is_regression
    assert Change("k", "gpu_mlp cuda", twice).is_regression


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ((1.3, 1.2, 1.4), "slower"),
        ((1.3, 0.9, 1.6), "same"),
        ((1.05, 1.04, 1.06), "same"),
        ((0.7, 0.6, 0.8), "faster"),
        ((0.95, 0.94, 0.96), "same"),
        ((0.7, 0.6, 1.1), "same"),
    ],
)
def test_a_change_must_be_large_and_certain(change: tuple[float, float, float], verdict: str) -> None:
    assert Change("k", "gpu_mlp", Factor(*change)).verdict == verdict


@pytest.mark.parametrize(
    ("own", "others", "beside", "verdict"),
    [
        (1.5, 1.5, 1.0, "machine"),
        (0.7, 0.7, 1.0, "machine"),
        (1.8, 1.5, 1.2, "machine"),
        (1.8, 1.2, 1.5, "slower"),
        (0.5, 0.8, 0.63, "faster"),
        (1.3, 1.0, 1.3, "slower"),
        (1.3, 0.8, 1.6, "slower"),
        (1.0, 1.5, 0.67, "same"),
    ],
)
def test_what_the_others_did_as_well_the_machine_did(
    own: float, others: float, beside: float, verdict: str
) -> None:
    factors = [Factor(each, 0.97 * each, 1.03 * each) for each in (own, others, beside)]
    assert Change("k", "gpu_mlp", *factors).verdict == verdict


def test_only_what_both_have_is_compared() -> None:
    old, new = drawn_result(0), drawn_result(1)
    del old.rows[0]
    del new.rows[2]["contestants"]["torch"]
    assert len(compare_results(old, new)) == 5


def test_another_machine_is_noted() -> None:
    old, new = drawn_result(0), drawn_result(1)
    assert noted_differences(old, new) == []
    other = replace(new, machine={**new.machine, "threads": 4, "versions": {"numpy": "2.1"}}, finished=False)
    assert noted_differences(old, other) == [
        "threads was 2, and is 4",
        "version of numpy was 2.0, and is 2.1",
        "the new result is unfinished",
    ]

"""What is told of the machine: nothing that names it, and what keeps it from what it can."""

from __future__ import annotations

import pytest

from gpu_mlp.benchmark.machine import describe_machine, library_settings, notes_on_machine


def test_settings_of_libraries_are_told_and_nothing_else_of_the_environment() -> None:
    environment = {
        "OMP_NUM_THREADS": "2",
        "HOME": "/home/someone",
        "OPENBLAS_CORETYPE": "Haswell",
        "PATH": "/bin",
    }
    assert library_settings(environment) == {"OMP_NUM_THREADS": "2", "OPENBLAS_CORETYPE": "Haswell"}


def test_kernels_that_the_environment_chose_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    assert notes_on_machine(describe_machine(1)) == []
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    (note,) = notes_on_machine(describe_machine(1))
    assert note.startswith("OPENBLAS_CORETYPE=Prescott has chosen the kernels")


def test_a_result_of_before_has_no_settings_and_no_note() -> None:
    assert notes_on_machine({"processor": "a"}) == []

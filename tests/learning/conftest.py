"""Learning runs over every backend, and on the CPU without Numba as well, where no step is compiled."""

from __future__ import annotations

import pytest

from gpu_mlp.backends import numpy_compiled
from gpu_mlp.backends.base import Ops
from tests.conftest import BACKENDS, chosen_or_skip

WITHOUT_NUMBA = "numpy-without-numba"


@pytest.fixture
def without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where Numba is not installed."""
    monkeypatch.setattr(numpy_compiled, "has_numba", lambda: False)


@pytest.fixture(params=[*BACKENDS, WITHOUT_NUMBA])
def ops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Ops:
    """Every backend in turn."""
    if request.param == WITHOUT_NUMBA:
        request.getfixturevalue("without_numba")
        return chosen_or_skip("numpy", monkeypatch)
    return chosen_or_skip(request.param, monkeypatch)

"""Skips what needs the emulator where it cannot run."""

from __future__ import annotations

import pytest

from tests.emulator import unavailable_reason


@pytest.fixture
def emulator() -> None:
    """Asked for by tests that compile or launch a kernel."""
    reason = unavailable_reason()
    if reason is not None:
        pytest.skip(reason)

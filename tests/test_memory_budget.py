"""Amounts of memory as people write them, and what they have room for."""

from __future__ import annotations

from typing import Any

import pytest

from gpu_mlp.errors import ConfigError
from gpu_mlp.memory_budget import MemoryBudget
from tests.data.refusals import refused


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ("512MB", 512 * 10**6),
        ("512 mb", 512 * 10**6),
        ("1.5GiB", 3 * 2**29),
        ("2TB", 2 * 10**12),
        ("64000000", 64 * 10**6),
        (64_000_000, 64 * 10**6),
        (" 40000KB ", 4 * 10**7),
        ("100MiB", 100 * 2**20),
    ],
)
def test_amounts_are_read(amount: Any, expected: int) -> None:
    assert MemoryBudget.parse(amount) == MemoryBudget(expected)


@pytest.mark.parametrize(
    "amount", ["lots", "", "12XB", "-1GB", "1,5GB", True, "MB", "1e9", None, "0x10", "nanGB"]
)
def test_what_is_no_amount_is_refused(amount: Any) -> None:
    with refused("memory is", "such as 512MB or 2GB", error=ConfigError):
        MemoryBudget.parse(amount)


def test_too_little_is_refused() -> None:
    with refused("memory is '5MB', but must be at least 32MB", error=ConfigError):
        MemoryBudget.parse("5MB")
    assert MemoryBudget.parse("32MB").bytes == 32 * 10**6


def test_its_parts_are_less_than_it() -> None:
    """Four buffers, and three parts of kept rows as they were read and as the network reads them."""
    budget = MemoryBudget.parse("512MB")
    row = 1000
    assert 4 * budget.buffer_rows(row, 100) * row + 2 * 3 * budget.kept_rows(row) * row < budget.bytes


def test_too_little_for_a_batch_is_refused_with_what_is_needed() -> None:
    budget = MemoryBudget.parse("32MB")
    with refused(
        "memory of 32 MB has room to shuffle 32 rows of 100000 bytes", "give at least 64MB", error=ConfigError
    ):
        budget.buffer_rows(100_000, 64)
    assert MemoryBudget.parse("64MB").buffer_rows(100_000, 64) == 64


def test_a_file_that_is_read_whole_must_fit() -> None:
    with refused(
        "t.npz is read whole, 300 MB, but memory is 512 MB", "give at least 600MB", error=ConfigError
    ):
        MemoryBudget.parse("512MB").check_held(300 * 10**6, "t.npz")
    MemoryBudget.parse("512MB").check_held(200 * 10**6, "t.npz")


def test_it_is_told_in_its_own_unit() -> None:
    assert str(MemoryBudget.parse("512MB")) == "512 MB"
    assert str(MemoryBudget.parse("64GB")) == "64.0 GB"

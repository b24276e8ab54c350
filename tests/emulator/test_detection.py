"""Mistakes planted in right kernels: each is reported with its line, or makes a wrong answer where no rule is broken.

Mode "check" sees all of them. Mode "fast" sees some, and the table says which, so that nobody relies on it for more.
"""

from __future__ import annotations

import re

import pytest

from tests.emulator import EmulatorError
from tests.emulator.examples import Setup, source_of
from tests.emulator.module import ORDERS
from tests.emulator.planted_bugs import BUGS, SMALL_KERNELS, UNSEEN, WRONG, Bug

pytestmark = pytest.mark.usefixtures("emulator")


def shown(bug: Bug, mode: str, order: str, source: str = "") -> str:
    """What a launch shows of the mistake."""
    setup = Setup(mode, source or bug.planted(), {"order": order})
    try:
        results = bug.run(setup)
    except EmulatorError as error:
        return str(error)
    return UNSEEN if all(result.is_right() for result in results) else WRONG


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_mode_check_sees_it_in_any_order(bug: Bug) -> None:
    for order in ("forward", "random"):
        seen = shown(bug, "check", order)
        assert re.search(bug.check, seen), f"in order {order}: {seen}"
        if bug.at:
            assert bug.line() in seen, f"in order {order}, {bug.line()} is not in: {seen}"


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_mode_fast_shows_in_some_order_what_the_table_says(bug: Bug) -> None:
    seen = [shown(bug, "fast", order) for order in ORDERS]
    assert any(re.search(bug.fast, s) for s in seen), seen
    if bug.fast == UNSEEN:
        assert set(seen) == {UNSEEN}


SMALL = {bug.file: bug for bug in BUGS.values() if bug.file in SMALL_KERNELS}


@pytest.mark.parametrize("mode", ["fast", "check"])
@pytest.mark.parametrize("bug", SMALL.values(), ids=SMALL)
def test_without_the_mistake_nothing_is_seen(bug: Bug, mode: str) -> None:
    """The control for the kernels of this table; test_kernels.py is that of the others."""
    right = source_of(bug.file)
    assert {shown(bug, mode, order, right) for order in ORDERS} == {UNSEEN}

"""A pytest plugin that writes every test's outcome as it comes, one JSON line each, into the file that GPU_MLP_TEST_LOG
names; tests that need a device come first, so that a time-out costs others."""

from __future__ import annotations

import json
import os
import re
from typing import Any

_config: Any = None
_SEVERITY = ("skipped", "failed")
_ON_DEVICE = re.compile(r"\[(?:.*-)?cuda(?:-.*)?\]$")


def pytest_configure(config: Any) -> None:
    """Remember whether this is a worker of xdist, which writes nothing."""
    global _config
    _config = config


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Those on "cuda" and "cuda-reference" first; all workers of xdist agree on this order."""
    items.sort(key=lambda item: not is_on_device(item.nodeid))


def is_on_device(test: str) -> bool:
    """Whether the test's parameters name a backend on the device: "cuda" or "cuda-reference", not an emulated one."""
    return bool(_ON_DEVICE.search(test)) and "emulated" not in test


def pytest_runtest_logreport(report: Any) -> None:
    """A test's call, or a setup or teardown that did not pass."""
    if report.when == "call" or report.outcome in _SEVERITY:
        _write(
            {"test": report.nodeid, "outcome": _outcome(report), "seconds": report.duration, **_why(report)}
        )


def pytest_collectreport(report: Any) -> None:
    """A file that cannot be imported."""
    if report.outcome == "failed":
        _write({"test": report.nodeid, "outcome": "error", **_why(report)})


def _outcome(report: Any) -> str:
    if report.when != "call" and report.outcome == "failed":
        return "error"
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.outcome == "skipped" else "xpassed"
    return str(report.outcome)


def _why(report: Any) -> dict[str, str]:
    """The last line of what went wrong, or a skip's reason."""
    if report.outcome == "passed" or not report.longrepr:
        return {}
    if isinstance(report.longrepr, tuple):  # a skip: file, line, reason
        return {"why": str(report.longrepr[2])[:300]}
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else str(report.longrepr).strip()[-600:]
    return {"why": str(text)[:600]}


def _write(row: dict[str, Any]) -> None:
    path = os.environ.get("GPU_MLP_TEST_LOG")
    if path and not hasattr(_config, "workerinput"):
        with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123
            file.write(json.dumps(row) + "\n")

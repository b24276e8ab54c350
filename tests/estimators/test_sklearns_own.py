"""scikit-learn's own tests of its estimators, unmodified, with this package's classes in their place."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import sklearn.neural_network
from sklearn.utils.estimator_checks import check_estimator

import gpu_mlp
from tests.test_package import REPOSITORY

TESTS = Path(sklearn.neural_network.__file__).parent / "tests" / "test_mlp.py"
ITEMS = 59


def pytest_on(arguments: list[str]) -> str:
    """What a pytest of its own prints, which knows nothing of this project's settings."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "tests.estimators.replacing_sklearn",
        "-c",
        "/dev/null",
    ]
    command += ["-p", "no:cacheprovider", "-n", "2", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_all_of_scikit_learns_tests_pass() -> None:
    output = pytest_on([str(TESTS)])
    assert re.search(rf"^{ITEMS} passed(, \d+ warnings?)? in ", output, re.MULTILINE), output[-3000:]


def test_it_is_this_packages_classes_that_are_tested(tmp_path: Path) -> None:
    """The control: a test that only scikit-learn's own class passes fails."""
    own = tmp_path / "test_own.py"
    own.write_text(
        "from sklearn.neural_network import MLPClassifier\n"
        "def test_it(): assert MLPClassifier.__module__.startswith('sklearn')\n",
        encoding="utf-8",
    )
    assert "1 failed" in pytest_on([str(own), "-n0"])


@pytest.mark.parametrize(
    ("estimator", "passed", "skipped"),
    [(gpu_mlp.MLPClassifier(), 72, 2), (gpu_mlp.MLPRegressor(), 65, 1)],
    ids=["classifier", "regressor"],
)
@pytest.mark.filterwarnings("ignore")
def test_every_check_of_an_estimator_passes(estimator: object, passed: int, skipped: int) -> None:
    """scikit-learn's own classes have 67 and 60 checks; these transform too. What is skipped is so for them as well."""
    results = check_estimator(estimator, on_fail=None)
    by_status = {
        status: [result["check_name"] for result in results if result["status"] == status]
        for status in ("passed", "skipped", "failed", "xfail")
    }
    assert by_status["failed"] == by_status["xfail"] == []
    assert (len(by_status["passed"]), len(by_status["skipped"])) == (passed, skipped)

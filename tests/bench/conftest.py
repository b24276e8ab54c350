"""`bench` on the path, as where its scripts are run."""

from __future__ import annotations

import sys

from tests.test_package import REPOSITORY

sys.path.append(str(REPOSITORY / "bench"))

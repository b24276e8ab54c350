"""`python bench/gpu`: see `command.py`."""

from __future__ import annotations

import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parents[1]
# In the place of this folder, whose files would be found under the names of other packages.
sys.path[0] = str(BENCH)
sys.path.insert(1, str(BENCH.parent))

from gpu.command import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())

"""`python -m gpu_mlp` is the command line `gpu-mlp`."""

from __future__ import annotations

import sys

from gpu_mlp.cli import main

if __name__ == "__main__":
    sys.exit(main())

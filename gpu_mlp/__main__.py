"""`python -m gpu_mlp` is the command line `gpu-mlp`, which begins here."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line; Ctrl-C while it is still being imported is answered as later on."""
    try:
        from gpu_mlp.cli import main as run
    except KeyboardInterrupt:
        print("gpu-mlp: interrupted; nothing was written", file=sys.stderr)
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())

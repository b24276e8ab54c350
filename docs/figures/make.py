"""The figures of docs/backpropagation.md: parts of pages that `gpu-mlp explain` writes, seen by Chromium.

make figures
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from tests.browser import Browser  # noqa: E402

COMMAND = "gpu-mlp explain 2-4-7-3-2 --input 0.5,-1.2 --target 1 --out"
# Name -> step, and the elements that the figure holds.
FIGURES = {
    "forward": (3, ("#player svg", "#player .stage")),
    "backward": (13, ("#player svg", "#player .stage")),
    "chain": (9, ("#chain math",)),
}


def main() -> None:
    """Writes a PNG beside this file for each."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        _, *arguments = COMMAND.split()
        subprocess.run(
            [sys.executable, "-m", "gpu_mlp", *arguments, str(page)], check=True, cwd=HERE.parents[1]
        )
        with Browser(Path(folder) / "profile") as browser:
            for name, (step, elements) in FIGURES.items():
                browser.open(page, fragment=f"#step={step}", width=1000)
                browser.screenshot(HERE / f"{name}.png", *elements)
                print(f"docs/figures/{name}.png")


if __name__ == "__main__":
    main()

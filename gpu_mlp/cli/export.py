"""`gpu-mlp export`: a model for other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gpu_mlp.cli.output import check_new_file
from gpu_mlp.data.messages import shown_path
from gpu_mlp.files.model_file import load
from gpu_mlp.files.onnx import export_onnx

__all__ = ["export"]


def export(
    model: Path,
    out: Path,
    *,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Write a model as an ONNX graph that takes the raw columns of a table.

    Args:
        model: model.safetensors of a run folder.
        out: .onnx file to write.
        overwrite: replace the file at OUT.
    """
    check_new_file("OUT", out, (".onnx",), overwrite=overwrite)
    export_onnx(load(model, "cpu"), out)
    print(f"model written to {shown_path(out)}", file=sys.stderr)
    return 0

"""Tables: reading them, preparing their features and target, splitting their rows."""

from gpu_mlp.data.demos import DEMOS, load_demo
from gpu_mlp.data.drawn_split import DrawnSplit
from gpu_mlp.data.features import NumericFeature, TextFeature
from gpu_mlp.data.preparation import Preparation
from gpu_mlp.data.reading import read_table
from gpu_mlp.data.sources import TableSource, open_source
from gpu_mlp.data.splits import Split, split_rows
from gpu_mlp.data.table import Table
from gpu_mlp.data.targets import Target, TaskChoice, require_counts

__all__ = [
    "DEMOS",
    "DrawnSplit",
    "NumericFeature",
    "Preparation",
    "Split",
    "Table",
    "TableSource",
    "Target",
    "TaskChoice",
    "TextFeature",
    "load_demo",
    "open_source",
    "read_table",
    "require_counts",
    "split_rows",
]

"""Train multi-layer perceptrons by the explicit equations of back-propagation, on NumPy or CUDA.

    net = gpu_mlp.Network((2, 4, 7, 3, 2), activation="relu", seed=0)
    history = gpu_mlp.train(net, x, y, gpu_mlp.TrainingConfig(epochs=20))

Names are loaded when first used: `import gpu_mlp` itself loads neither CuPy nor scikit-learn, pyarrow or matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from gpu_mlp import errors
    from gpu_mlp.config import Loss, NetworkConfig, TrainingConfig
    from gpu_mlp.estimators import MLPClassifier, MLPRegressor
    from gpu_mlp.explanation.explain import Explanation, explain
    from gpu_mlp.files.checkpoint_file import read_checkpoint
    from gpu_mlp.files.checkpoints import Checkpoints
    from gpu_mlp.files.model_file import load, save
    from gpu_mlp.files.onnx import export_onnx
    from gpu_mlp.files.run_folder import RunFolder
    from gpu_mlp.files.tensorboard import TensorBoard
    from gpu_mlp.files.torch import from_torch, to_torch
    from gpu_mlp.fitting import fit_table
    from gpu_mlp.learning.callbacks import Callback
    from gpu_mlp.learning.history import Epoch, History
    from gpu_mlp.learning.optimizers import SGD, Adagrad, Adam, AdamW, Lion, RMSprop
    from gpu_mlp.learning.row_source import RowSource
    from gpu_mlp.learning.state import TrainingState
    from gpu_mlp.learning.steps import TrainingStep
    from gpu_mlp.learning.training import train
    from gpu_mlp.model import Model
    from gpu_mlp.network import losses
    from gpu_mlp.network.backward import Gradients
    from gpu_mlp.network.forward import Trace
    from gpu_mlp.network.gradient_check import check_gradients
    from gpu_mlp.network.network import Network
    from gpu_mlp.telemetry import Telemetry

_HOMES = {
    "Adagrad": "gpu_mlp.learning.optimizers",
    "Adam": "gpu_mlp.learning.optimizers",
    "AdamW": "gpu_mlp.learning.optimizers",
    "Callback": "gpu_mlp.learning.callbacks",
    "Checkpoints": "gpu_mlp.files.checkpoints",
    "Epoch": "gpu_mlp.learning.history",
    "Explanation": "gpu_mlp.explanation.explain",
    "Gradients": "gpu_mlp.network.backward",
    "History": "gpu_mlp.learning.history",
    "Lion": "gpu_mlp.learning.optimizers",
    "Loss": "gpu_mlp.config",
    "MLPClassifier": "gpu_mlp.estimators",
    "MLPRegressor": "gpu_mlp.estimators",
    "Model": "gpu_mlp.model",
    "Network": "gpu_mlp.network.network",
    "NetworkConfig": "gpu_mlp.config",
    "RMSprop": "gpu_mlp.learning.optimizers",
    "RowSource": "gpu_mlp.learning.row_source",
    "RunFolder": "gpu_mlp.files.run_folder",
    "SGD": "gpu_mlp.learning.optimizers",
    "Telemetry": "gpu_mlp.telemetry",
    "TensorBoard": "gpu_mlp.files.tensorboard",
    "Trace": "gpu_mlp.network.forward",
    "TrainingConfig": "gpu_mlp.config",
    "TrainingState": "gpu_mlp.learning.state",
    "TrainingStep": "gpu_mlp.learning.steps",
    "check_gradients": "gpu_mlp.network.gradient_check",
    "explain": "gpu_mlp.explanation.explain",
    "export_onnx": "gpu_mlp.files.onnx",
    "fit_table": "gpu_mlp.fitting",
    "from_torch": "gpu_mlp.files.torch",
    "load": "gpu_mlp.files.model_file",
    "read_checkpoint": "gpu_mlp.files.checkpoint_file",
    "save": "gpu_mlp.files.model_file",
    "to_torch": "gpu_mlp.files.torch",
    "train": "gpu_mlp.learning.training",
}
_MODULES = {"errors": "gpu_mlp.errors", "losses": "gpu_mlp.network.losses"}

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Callback",
    "Checkpoints",
    "Epoch",
    "Explanation",
    "Gradients",
    "History",
    "Lion",
    "Loss",
    "MLPClassifier",
    "MLPRegressor",
    "Model",
    "Network",
    "NetworkConfig",
    "RMSprop",
    "RowSource",
    "RunFolder",
    "Telemetry",
    "TensorBoard",
    "Trace",
    "TrainingConfig",
    "TrainingState",
    "TrainingStep",
    "check_gradients",
    "errors",
    "explain",
    "export_onnx",
    "fit_table",
    "from_torch",
    "load",
    "losses",
    "read_checkpoint",
    "save",
    "to_torch",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    elif name in _MODULES:
        value = import_module(_MODULES[name])
    else:
        raise AttributeError(f"module 'gpu_mlp' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

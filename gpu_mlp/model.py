"""`Model`: a trained network with all it takes to go from a raw table to labels or values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.backends.numpy_backend import numpy_ops, to_host_array
from gpu_mlp.backends.reference.losses import POISSON_LARGEST_LOG_RATE
from gpu_mlp.config import Loss
from gpu_mlp.data import Preparation, Table, Target, open_source, read_table
from gpu_mlp.errors import ConfigError, DataError, ShapeError
from gpu_mlp.metrics import classification_metrics, regression_metrics
from gpu_mlp.network.losses import check_targets, to_targets
from gpu_mlp.network.network import Network

__all__ = ["CLASSIFICATION_LOSSES", "Model", "link"]

CLASSIFICATION_LOSSES = ("softmax_cross_entropy", "binary_cross_entropy")

Floats = NDArray[np.float64]


def link(loss: Loss, outputs: Any) -> Floats:
    """Outputs f (N, O) as the loss reads them, in float64: softmax(f), 1 / (1 + exp(-f)), exp(f) or f itself.

    exp stops at f = 50, where the Poisson loss goes on along its tangent.
    """
    f = np.asarray(outputs, dtype=np.float64)
    match loss.name:
        case "softmax_cross_entropy":
            exponentials = np.exp(f - f.max(axis=1, keepdims=True))
            return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))
        case "binary_cross_entropy":
            small = np.exp(-np.abs(f))  # never overflows
            return np.where(f >= 0.0, 1.0, small) / (1.0 + small)
        case "poisson":
            return np.exp(np.minimum(f, POISSON_LARGEST_LOG_RATE))
    return f


@dataclass(eq=False)
class Model:
    """A network, the loss that fixes its link, and how features and target are prepared.

    Attributes:
        network: on its device.
        loss: what it was trained with.
        target: the column it predicts; None for labels 0..O-1 or values as the network gives them.
        preparation: of the feature columns; None for a network fed with bare arrays.
        ignored: columns a table may have that are never read.
        metadata: a summary of the training, plain data that JSON can hold.
    """

    network: Network
    loss: Loss
    target: Target | None = None
    preparation: Preparation | None = None
    ignored: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        inputs, outputs = self.network.layer_sizes[0], self.network.layer_sizes[-1]
        if self.preparation is not None and len(self.preparation.output_names) != inputs:
            raise ShapeError(
                f"the preparation makes {len(self.preparation.output_names)} columns, "
                f"but the network takes {inputs}"
            )
        if self.target is None:
            return
        if (self.target.task == "classification") != (self.loss.name in CLASSIFICATION_LOSSES):
            raise ConfigError(f"the loss {self.loss.name} does not fit the target's task, {self.target.task}")
        binary = self.loss.name == "binary_cross_entropy" and len(self.target.classes) == 2
        needed = 1 if binary else len(self.target.classes) or 1
        if outputs != needed:
            raise ShapeError(f"the target needs {needed} outputs, but the network has {outputs}")

    @property
    def task(self) -> str:
        """'classification' or 'regression'."""
        return "classification" if self.loss.name in CLASSIFICATION_LOSSES else "regression"

    @property
    def classes(self) -> tuple[Any, ...]:
        """The labels in the order of `predict_proba`'s columns; empty for a regression."""
        if self.target is not None:
            return self.target.classes
        if self.task == "regression":
            return ()
        outputs = self.network.layer_sizes[-1]
        return tuple(range(2 if self._one_logit else outputs))

    @property
    def _one_logit(self) -> bool:
        return self.loss.name == "binary_cross_entropy" and self.network.layer_sizes[-1] == 1

    @property
    def _multi_label(self) -> bool:
        return self.loss.name == "binary_cross_entropy" and not self._one_logit

    def predict(self, source: Any) -> NDArray[Any]:
        """Labels in their own type, or values in the target's own units, (N,).

        `source` is what `gpu_mlp.data.read_table` takes, a path or table that may or may not have the
        target column, or a bare array (N, D_0). Without a target a regression of several outputs gives (N,
        O), and several logits of binary_cross_entropy give (N, O) of 0 and 1. Raises DataError or
        ShapeError where the source does not fit.
        """
        return np.concatenate(list(self.predictions(source)))

    def predictions(
        self, source: Any, *, probabilities: bool = False, encoding: str | None = None
    ) -> Iterator[NDArray[Any]]:
        """`predict`, or `predict_proba`, some rows at a time: a file that is larger than memory is read as it goes.

        encoding: of a CSV, as in `gpu_mlp.data.read_table`.
        """
        if probabilities:
            self._require_classes()
        read = self._probabilities if probabilities else self._decide
        return (read(self._outputs(batch)) for batch in self._batches(source, encoding))

    def predict_proba(self, source: Any) -> Floats:
        """The probability of every class, (N, classes), in the order of `classes`.

        Raises ConfigError for a regression.
        """
        return np.concatenate(list(self.predictions(source, probabilities=True)))

    def _require_classes(self) -> None:
        if self.task == "regression":
            raise ConfigError(
                f"a regression (loss {self.loss.name}) has no classes and no probabilities; use predict"
            )

    def evaluate(self, source: Any, y: Any = None, *, encoding: str | None = None) -> dict[str, float]:
        """Metrics of the predictions for a table with its target column, or for features and y apart.

        Classification: accuracy, balanced_accuracy, macro_f1, log_loss and, for two classes that both
            occur, roc_auc.
        Regression, in the target's own units: rmse, mae and, for more than one row, r2.
        Raises DataError where the target is missing or holds what training did not have, and ShapeError for a
        y that does not fit.
        """
        if y is None:
            parts = [
                (self._outputs(batch), self._expected(batch)) for batch in self._batches(source, encoding)
            ]
            outputs, expected = (np.concatenate(part) for part in zip(*parts, strict=True))
        else:
            outputs, expected = self.outputs(source), self._given(y)
        if len(expected) != len(outputs):
            raise ShapeError(
                f"there are {len(expected)} targets for {len(outputs)} rows; give one target a row"
            )
        return self._metrics(expected, outputs)

    def measure(self, features: NDArray[Any], targets: NDArray[Any]) -> dict[str, float]:
        """`evaluate` of rows that are prepared: features (N, D_0) and targets as `Target.encode` gives them."""
        return self._metrics(self._decoded(targets), self._network_outputs(features, features))

    def _metrics(self, expected: NDArray[Any], outputs: NDArray[Any]) -> dict[str, float]:
        if self.task == "regression":
            return regression_metrics(expected, self._decide(outputs))
        if self._multi_label:
            raise ConfigError("metrics of several labels a row are not defined; compare predict with them")
        return classification_metrics(expected, self._probabilities(outputs))

    def outputs(self, source: Any) -> NDArray[Any]:
        """The network's outputs f_K (N, O) on the host. Raises DataError where one of them is not finite."""
        return np.concatenate([self._outputs(batch) for batch in self._batches(source)])

    def _batches(self, source: Any, encoding: str | None = None) -> Iterator[Table | NDArray[Any]]:
        if self.preparation is None:
            if isinstance(source, (str, Path, Table)):
                raise DataError("this model was trained on bare arrays, so it takes a 2-D array, not a table")
            return iter([to_host_array(source)])
        text = self.preparation.text_names + (self.target.text_names if self.target else ())
        if isinstance(source, (str, Path)):
            return open_source(
                source, ignore=self.ignored, absent_ok=True, as_text=text, encoding=encoding
            ).batches()
        if not hasattr(source, "columns") and hasattr(source, "__dlpack__"):
            source = to_host_array(source)  # also from CuPy and PyTorch
        return iter([read_table(source, ignore=self.ignored, absent_ok=True, as_text=text)])

    def _outputs(self, table: Any) -> NDArray[Any]:
        features = table
        if self.preparation is not None:
            also = () if self.target is None else (self.target.name,)
            features = self.preparation.transform(table, self.network.dtype, also_allowed=also)
        return self._network_outputs(table, features)

    def _network_outputs(self, table: Any, features: Any) -> NDArray[Any]:
        with np.errstate(over="ignore", invalid="ignore"):
            outputs = self.network.ops.to_host(self.network(features))
        finite = np.isfinite(outputs).all(axis=1)
        if not finite.all():
            row = int(np.argmin(finite))
            place = table.place(row) if isinstance(table, Table) else f"row {row} of the array"
            raise DataError(
                f"{place} makes the network's output overflow {self.network.dtype}; "
                "correct its values, which are missing or too far from those of training"
            )
        return outputs

    def _probabilities(self, outputs: NDArray[Any]) -> Floats:
        probabilities = link(self.loss, outputs)
        if self._one_logit:
            return np.hstack([link(self.loss, -outputs), probabilities])
        return probabilities

    def _decide(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Labels or values, (N,), of outputs f_K."""
        if self.task == "regression":
            values = link(self.loss, outputs)
            if self.target is not None:
                return self.target.decode_values(values)
            return values[:, 0] if values.shape[1] == 1 else values
        if self._multi_label:
            return (outputs > 0.0).astype(np.int64)
        indices = (outputs[:, 0] > 0.0).astype(np.int64) if self._one_logit else outputs.argmax(axis=1)
        return indices if self.target is None else self.target.decode_labels(indices)

    def _expected(self, table: Any) -> NDArray[Any]:
        """The true class indices (N,) or values (N,) in the target's own units, of a table's column."""
        if self.target is None:
            raise DataError("this model has no target column; give the labels or values as y")
        if not isinstance(table, Table):
            raise DataError("an array has no target column; give the labels or values as y")
        return self._decoded(self.target.encode(table))

    def _decoded(self, targets: NDArray[Any]) -> NDArray[Any]:
        """What metrics compare with: class indices as they are, values in the target's own units."""
        if self.target is None or self.task == "classification":
            return targets
        return self.target.decode_values(targets)

    def _given(self, y: Any) -> NDArray[Any]:
        """The same of targets that were given apart."""
        if self.target is None:
            return self._bare_targets(y)
        y = y if isinstance(y, (list, tuple)) or hasattr(y, "to_numpy") else to_host_array(y)
        return self._expected(read_table({self.target.name: y}))

    def _bare_targets(self, y: Any) -> NDArray[Any]:
        """Labels (N,) or values (N,) or (N, O) without a target column; ShapeError where `train` would refuse."""
        ops, outputs = numpy_ops(), self.network.layer_sizes[-1]
        expected = to_targets(ops, self.loss, y, outputs=outputs, dtype=np.float64)
        check_targets(ops, self.loss, expected, outputs=outputs)
        if self.task == "classification" and not self._multi_label:
            labels = expected.reshape(len(expected), -1)
            if labels.shape[1] > 1 or not np.equal(labels, np.round(labels)).all():
                raise ShapeError(
                    "the targets are probabilities, but metrics need labels; give one label a row"
                )
            return labels[:, 0].astype(np.int64)
        return expected[:, 0] if outputs == 1 else expected

"""How well predictions fit: scikit-learn's metrics under the names that `Model.evaluate` gives them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["METRIC_NAMES", "classification_metrics", "regression_metrics"]

# The keys of `Model.evaluate`, as a person reads them.
METRIC_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "log_loss": "log loss",
    "roc_auc": "ROC AUC",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
}


def classification_metrics(labels: NDArray[Any], probabilities: NDArray[np.float64]) -> dict[str, float]:
    """Of class indices (N,) and probabilities (N, classes)."""
    from sklearn import metrics

    classes = np.arange(probabilities.shape[1])
    predicted = probabilities.argmax(axis=1)
    present = np.unique(labels)
    result = {
        "accuracy": metrics.accuracy_score(labels, predicted),
        # The mean recall of the classes that occur: sklearn's balanced_accuracy_score, without its warning.
        "balanced_accuracy": metrics.recall_score(
            labels, predicted, labels=present, average="macro", zero_division=0
        ),
        "macro_f1": metrics.f1_score(labels, predicted, average="macro", zero_division=0),
        "log_loss": metrics.log_loss(labels, probabilities, labels=classes),
    }
    if len(classes) == 2 and len(present) == 2:
        result["roc_auc"] = metrics.roc_auc_score(labels, probabilities[:, 1])
    return {name: float(value) for name, value in result.items()}


def regression_metrics(expected: NDArray[Any], predicted: NDArray[Any]) -> dict[str, float]:
    """Of values and predictions (N,) in the target's own units."""
    from sklearn import metrics

    result = {
        "rmse": metrics.root_mean_squared_error(expected, predicted),
        "mae": metrics.mean_absolute_error(expected, predicted),
    }
    if len(expected) > 1:
        result["r2"] = metrics.r2_score(expected, predicted)
    return {name: float(value) for name, value in result.items()}

"""`MLPClassifier` and `MLPRegressor`: scikit-learn's estimators on any device, and more."""

from gpu_mlp.estimators.classifier import MLPClassifier
from gpu_mlp.estimators.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]

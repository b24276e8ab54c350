"""A pytest plugin: `sklearn.neural_network` has this package's estimators in place of its own."""

from __future__ import annotations

import sklearn.neural_network

import gpu_mlp

for _name in ("MLPClassifier", "MLPRegressor"):
    setattr(sklearn.neural_network, _name, getattr(gpu_mlp, _name))

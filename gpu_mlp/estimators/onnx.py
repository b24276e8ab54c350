"""skl2onnx converts the estimators by its own converter of scikit-learn's, once they are registered there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from gpu_mlp.errors import ConfigError
from gpu_mlp.estimators.classifier import MLPClassifier
from gpu_mlp.estimators.constraints import LOGISTIC, activation_names
from gpu_mlp.estimators.regressor import MLPRegressor

__all__ = ["register_with_skl2onnx"]

ACTIVATIONS = {"identity": "identity", "tanh": "tanh", "sigmoid": LOGISTIC, "relu": "relu"}


def register_with_skl2onnx() -> None:
    """From now on `skl2onnx.to_onnx` takes fitted estimators, alone and in pipelines.

    Raises ImportError where skl2onnx is not installed.
    """
    from skl2onnx import update_registered_converter
    from skl2onnx.common.data_types import Int64TensorType
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes,
        calculate_linear_regressor_output_shapes,
    )

    def classifier_shapes(operator: Any) -> None:
        calculate_linear_classifier_output_shapes(operator)
        if _has_labels(operator.raw_operator):
            rows = operator.inputs[0].get_first_dimension()
            operator.outputs[0].type = Int64TensorType([rows, operator.raw_operator.n_outputs_])

    def regressor_shapes(operator: Any) -> None:
        calculate_linear_regressor_output_shapes(operator)
        operator.outputs[0].type.shape[1] = operator.raw_operator.n_outputs_

    update_registered_converter(
        MLPClassifier,
        "GpuMlpClassifier",
        classifier_shapes,
        _convert_classifier,
        options={
            "zipmap": [True, False, "columns"],
            "output_class_labels": [False, True],
            "nocl": [True, False],
        },
    )
    update_registered_converter(MLPRegressor, "GpuMlpRegressor", regressor_shapes, _convert_regressor)


def _as_scikit_learns(estimator: Any) -> SimpleNamespace:
    """What the converter reads. Raises ConfigError for a network that it does not know."""
    names = activation_names(estimator.activation)
    different = {names} if isinstance(names, str) else set(names)
    if len(different) > 1 or not different <= set(ACTIVATIONS):
        raise ConfigError(
            f"activation is {estimator.activation!r}, but skl2onnx's converter takes one for all hidden layers: "
            f"{', '.join(ACTIVATIONS.values())}"
        )
    read = ("n_layers_", "coefs_", "intercepts_", "out_activation_", "classes_", "_label_binarizer")
    found = SimpleNamespace(**{name: getattr(estimator, name) for name in read if hasattr(estimator, name)})
    found.activation = ACTIVATIONS[different.pop()] if different else "identity"
    return found


def _convert_classifier(scope: Any, operator: Any, container: Any) -> None:
    from skl2onnx.common._apply_operation import apply_cast, apply_greater
    from skl2onnx.operator_converters.multilayer_perceptron import convert_sklearn_mlp_classifier
    from skl2onnx.proto import onnx_proto

    model = _as_scikit_learns(operator.raw_operator)
    if not _has_labels(operator.raw_operator):
        inner = SimpleNamespace(raw_operator=model, inputs=operator.inputs, outputs=operator.outputs)
        convert_sklearn_mlp_classifier(scope, inner, container)
        return
    # It takes two labels for two classes, and what it finds labels with is for float32 alone.
    labels, probabilities = (each.full_name for each in operator.outputs)
    _convert_outputs(scope, operator, container, model, probabilities)
    half, above = scope.get_unique_variable_name("half"), scope.get_unique_variable_name("above")
    container.add_initializer(half, _type_of(operator), [], [0.5])
    apply_greater(scope, [probabilities, half], above, container)
    apply_cast(scope, above, labels, container, to=onnx_proto.TensorProto.INT64)


def _convert_regressor(scope: Any, operator: Any, container: Any) -> None:
    from skl2onnx.common._apply_operation import apply_exp

    model = _as_scikit_learns(operator.raw_operator)
    (out,) = operator.output_full_names
    if model.out_activation_ != "exp":
        _convert_outputs(scope, operator, container, model, out)
        return
    model.out_activation_ = "identity"
    logarithm = scope.get_unique_variable_name("logarithm")
    _convert_outputs(scope, operator, container, model, logarithm)
    apply_exp(scope, logarithm, out, container)


def _convert_outputs(scope: Any, operator: Any, container: Any, model: Any, out: str) -> None:
    """The network's outputs as a table (N, O), of which the converter itself makes one column."""
    from skl2onnx.common._apply_operation import apply_reshape
    from skl2onnx.operator_converters.multilayer_perceptron import convert_sklearn_mlp_regressor

    column = scope.get_unique_variable_name("column")
    inner = SimpleNamespace(raw_operator=model, inputs=operator.inputs, output_full_names=column)
    convert_sklearn_mlp_regressor(scope, inner, container)
    apply_reshape(scope, column, out, container, desired_shape=(-1, operator.raw_operator.n_outputs_))


def _has_labels(estimator: Any) -> bool:
    """Whether a row may have several of its classes."""
    return bool(estimator._label_binarizer.y_type_ == "multilabel-indicator")


def _type_of(operator: Any) -> int:
    """Of the numbers in the graph, as the converter chooses it."""
    from skl2onnx.common.data_types import guess_proto_type
    from skl2onnx.proto import onnx_proto

    double: int = onnx_proto.TensorProto.DOUBLE
    return double if guess_proto_type(operator.inputs[0].type) == double else onnx_proto.TensorProto.FLOAT

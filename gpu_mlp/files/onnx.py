"""`export_onnx`: a model as an ONNX graph that takes the raw columns of a table.

Every feature column is an input of shape (N, 1): float64 for numbers, truth values (0 and 1) and dates (seconds since
1970), NaN where one is missing; text for text, "" where it is missing. The columns are prepared in float64 as
`Preparation.transform` does, the network computes in float32. What training did not have as a category is zero in all
its columns; a number that is too large, which `Model.predict` refuses, comes out as infinity or NaN.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.backends.reference.losses import POISSON_LARGEST_LOG_RATE
from gpu_mlp.config import check_type
from gpu_mlp.data.features import NumericFeature, TextFeature
from gpu_mlp.data.messages import quoted, shown_path
from gpu_mlp.errors import ConfigError, ModelFileError
from gpu_mlp.files.atomic_file import write_atomically
from gpu_mlp.model import Model

__all__ = ["encode_onnx", "export_onnx"]

# The oldest operator sets that have what is needed, with the oldest file version that has them.
OPSET, IR_VERSION = 17, 8
GELU_OPSET, GELU_IR_VERSION = 20, 9
ML_OPSET = 3
# The activations that are one operator.
OPERATORS: dict[str, tuple[str, dict[str, Any]]] = {
    "identity": ("Identity", {}),
    "relu": ("Relu", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.01}),
    "elu": ("Elu", {"alpha": 1.0}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "gelu": ("Gelu", {"approximate": "none"}),
    "gelu_tanh": ("Gelu", {"approximate": "tanh"}),
    "softplus": ("Softplus", {}),
}
INSTALL = "install it with pip install 'gpu_mlp[onnx]'"


def export_onnx(model: Model, path: str | Path) -> None:
    """Write the model to `path` as ONNX, checked, whole or not at all; a file that is there is replaced.

    A classification has the outputs `label` (N,), in the labels' own type, and `probabilities` (N, classes); with
    several labels a row, `label` (N, O) of 0 and 1. A regression has `value`, in the target's own units. A model
    without preparation has one input `x` (N, D). Raises ConfigError where onnx is not installed or a text cannot be
    told from a missing one, ModelFileError where the file cannot be written.
    """
    path = Path(path)
    check_type("model", model, Model, "a Model, such as gpu_mlp.load returns")
    content = encode_onnx(model)
    try:
        write_atomically(path, content)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelFileError(
            f"{shown_path(path)} cannot be written ({reason}); "
            "choose a path in a folder that exists and can be written to"
        ) from None


def encode_onnx(model: Model) -> bytes:
    """The bytes of the file that `export_onnx` writes."""
    try:
        import onnx
    except ImportError:
        raise ConfigError(f"writing ONNX needs the package onnx, which is not installed; {INSTALL}") from None
    from gpu_mlp import __version__

    graph = _Graph()
    inputs = _inputs(graph, model)
    outputs = _answers(graph, model, _network(graph, model, _features(graph, model)))
    uses_gelu = bool({"gelu", "gelu_tanh"} & set(model.network.activations))
    helper = onnx.helper
    proto = helper.make_model(
        helper.make_graph(graph.nodes, "gpu_mlp", inputs, outputs, graph.constants),
        ir_version=GELU_IR_VERSION if uses_gelu else IR_VERSION,
        opset_imports=[
            helper.make_opsetid("", GELU_OPSET if uses_gelu else OPSET),
            helper.make_opsetid("ai.onnx.ml", ML_OPSET),
        ],
        producer_name="gpu_mlp",
        producer_version=__version__,
    )
    onnx.checker.check_model(proto, full_check=True)
    content: bytes = proto.SerializeToString()
    return content


@dataclass
class _Graph:
    """Nodes and constants under construction; names of its own begin with a slash, which no column needs."""

    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def add(self, operator: str, *inputs: str, name: str = "", domain: str = "", **attributes: Any) -> str:
        """A node with one output, whose name comes back."""
        import onnx

        output = name or f"/{operator}-{len(self.nodes)}"
        self.nodes.append(
            onnx.helper.make_node(
                operator,
                inputs,
                [output],
                name=f"/node-{len(self.nodes)}",
                domain=domain or None,
                **attributes,
            )
        )
        return output

    def constant(self, values: Any, dtype: Any) -> str:
        """An initializer; dtype object for text."""
        import onnx

        name = f"/constant-{len(self.constants)}"
        array = np.array(values, dtype)
        if dtype is object:
            texts = [str(text).encode() for text in array.ravel()]
            texts_of: Any = texts  # which its types do not know of
            self.constants.append(
                onnx.helper.make_tensor(name, onnx.TensorProto.STRING, array.shape, texts_of)
            )
        else:
            self.constants.append(onnx.numpy_helper.from_array(array, name))
        return name


def _inputs(graph: _Graph, model: Model) -> list[Any]:
    """One for each raw column, or `x`."""
    import onnx

    types = onnx.TensorProto
    make = onnx.helper.make_tensor_value_info
    if model.preparation is None:
        return [make("x", types.FLOAT, ["N", model.network.layer_sizes[0]])]
    return [
        make(feature.name, types.STRING if isinstance(feature, TextFeature) else types.DOUBLE, ["N", 1])
        for feature in model.preparation.features
    ]


def _features(graph: _Graph, model: Model) -> str:
    """The matrix that the network reads, (N, D) in float32."""
    if model.preparation is None:
        return "x"
    parts = [part for feature in model.preparation.features for part in _prepared(graph, feature)]
    return parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)


def _prepared(graph: _Graph, feature: NumericFeature | TextFeature) -> list[str]:
    """The columns of one feature, in float32."""
    if isinstance(feature, TextFeature):
        return [_one_hot(graph, feature)]
    missing = graph.add("IsNaN", feature.name)
    filled = graph.add("Where", missing, graph.constant(feature.median, np.float64), feature.name)
    centred = graph.add("Sub", filled, graph.constant(feature.mean, np.float64))
    scaled = graph.add("Div", centred, graph.constant(feature.scale, np.float64))
    columns = [_cast(graph, scaled, "FLOAT")]
    return [*columns, _cast(graph, missing, "FLOAT")] if feature.indicator else columns


def _one_hot(graph: _Graph, feature: TextFeature) -> str:
    categories = list(feature.categories)
    if feature.missing:
        if "" in categories:
            raise ConfigError(
                f"column {quoted(feature.name)} has both empty and missing texts, which ONNX cannot tell apart; train "
                "with one of them replaced"
            )
        categories.append("")
    found = graph.add("OneHotEncoder", feature.name, domain="ai.onnx.ml", cats_strings=categories, zeros=1)
    return graph.add("Reshape", found, graph.constant([-1, len(categories)], np.int64))


def _network(graph: _Graph, model: Model, h: str) -> str:
    """f_K: a Gemm for every f_k = h_k Omega_k^T + beta_k, and the activations between them."""
    network = model.network
    for k, (omega, beta) in enumerate(zip(network.weights, network.biases, strict=True)):
        weights = [graph.constant(network.ops.to_host(array), np.float32) for array in (omega, beta)]
        h = graph.add("Gemm", h, *weights, transB=1)
        if k < len(network.activations):
            h = _activation(graph, network.activations[k], h)
    return h


def _activation(graph: _Graph, name: str, f: str) -> str:
    if name == "silu":
        return graph.add("Mul", f, graph.add("Sigmoid", f))
    operator, settings = OPERATORS[name]
    return graph.add(operator, f, **settings)


def _answers(graph: _Graph, model: Model, f: str) -> list[Any]:
    """What the outputs f_K mean."""
    if model.task == "regression":
        return _value(graph, model, f)
    outputs = model.network.layer_sizes[-1]
    if model.loss.name == "softmax_cross_entropy":
        graph.add("Softmax", f, axis=1, name="probabilities")
        index = graph.add("ArgMax", f, axis=1, keepdims=0)
        return _labelled(graph, model, index, outputs)
    above = _cast(graph, graph.add("Greater", f, graph.constant(0.0, np.float32)), "INT64")
    if outputs > 1:  # several labels a row
        graph.add("Identity", above, name="label")
        graph.add("Sigmoid", f, name="probabilities")
        return [_output("label", "INT64", ["N", outputs]), _output("probabilities", "FLOAT", ["N", outputs])]
    both = graph.add("Sigmoid", graph.add("Neg", f)), graph.add("Sigmoid", f)
    graph.add("Concat", *both, axis=1, name="probabilities")
    return _labelled(graph, model, graph.add("Reshape", above, graph.constant([-1], np.int64)), 2)


def _labelled(graph: _Graph, model: Model, index: str, classes: int) -> list[Any]:
    """`label` by the class's index, in its own type."""
    labels: NDArray[Any] = np.array(model.classes, object if isinstance(model.classes[0], str) else None)
    kinds = {
        "O": ("STRING", object),
        "b": ("BOOL", np.bool_),
        "i": ("INT64", np.int64),
        "f": ("DOUBLE", np.float64),
    }
    kind, dtype = kinds[labels.dtype.kind]
    graph.add("Gather", graph.constant(labels, dtype), index, name="label")
    return [_output("label", kind, ["N"]), _output("probabilities", "FLOAT", ["N", classes])]


def _value(graph: _Graph, model: Model, f: str) -> list[Any]:
    """The link, and back to the target's own units in float64."""
    if model.loss.name == "poisson":
        f = graph.add("Exp", graph.add("Min", f, graph.constant(POISSON_LARGEST_LOG_RATE, np.float32)))
    value, outputs = _cast(graph, f, "DOUBLE"), model.network.layer_sizes[-1]
    if model.target is not None:
        value = graph.add("Mul", value, graph.constant(model.target.scale, np.float64))
        value = graph.add("Add", value, graph.constant(model.target.mean, np.float64))
    shape: list[Any] = ["N"] if outputs == 1 else ["N", outputs]
    graph.add("Reshape", value, graph.constant([-1, *shape[1:]], np.int64), name="value")
    return [_output("value", "DOUBLE", shape)]


def _cast(graph: _Graph, values: str, kind: str) -> str:
    import onnx

    return graph.add("Cast", values, to=getattr(onnx.TensorProto, kind))


def _output(name: str, kind: str, shape: list[Any]) -> Any:
    import onnx

    return onnx.helper.make_tensor_value_info(name, getattr(onnx.TensorProto, kind), shape)

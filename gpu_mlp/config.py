"""The settings of a network and of a training run: the one place of defaults, command-line flags and TOML keys."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from reprlib import repr as repr_of
from typing import Any, Literal

from gpu_mlp.backends.base import ACTIVATION_NAMES, LOSS_NAMES, PRECISION_NAMES, ROUNDED_PRECISIONS
from gpu_mlp.errors import ConfigError, did_you_mean

__all__ = [
    "INITIALIZER_NAMES",
    "LARGEST_SEED",
    "OPTIMIZER_NAMES",
    "SCHEDULE_NAMES",
    "STREAM_NAMES",
    "Loss",
    "NetworkConfig",
    "TrainingConfig",
    "check_choice",
    "check_precision",
    "check_range",
    "check_type",
    "to_tuple",
]

INITIALIZER_NAMES = (
    "auto",
    "he_normal",
    "he_uniform",
    "glorot_normal",
    "glorot_uniform",
    "lecun_normal",
    "lecun_uniform",
    "orthogonal",
)
OPTIMIZER_NAMES = ("sgd", "momentum", "nesterov", "rmsprop", "adagrad", "adam", "adamw", "lion")
STREAM_NAMES = ("auto", "always", "never")
SCHEDULE_NAMES = ("constant", "step", "exponential", "cosine", "one_cycle", "plateau")
LARGEST_SEED = 2**64 - 1

# What PyTorch, NumPy and people call the types whose names here are shorter.
OTHER_NAMES = {
    "bfloat16": "bf16",
    "bfloat": "bf16",
    "float16": "fp16",
    "half": "fp16",
    "f16": "fp16",
    "fp16": "fp16",
    "tensorfloat32": "tf32",
    "tfloat32": "tf32",
    "bf16": "bf16",
    "tf32": "tf32",
    "fp32": "float32",
    "single": "float32",
    "fp64": "float64",
    "double": "float64",
}


def check_choice(what: str, value: object, known: Iterable[str]) -> None:
    """Raise ConfigError unless `value` is one of the known names."""
    names = tuple(known)
    if value not in names:
        raise ConfigError(f"{what} {value!r} is unknown{did_you_mean(str(value), names)}")


def check_type(what: str, value: object, type_: type, expected: str) -> None:
    """Raise ConfigError unless `value` is of the type; `expected` says what to give."""
    if not isinstance(value, type_):
        raise ConfigError(f"{what} is {repr_of(value)}, but must be {expected}")


def check_precision(precision: str, dtype: str) -> None:
    """Raise ConfigError unless it is "auto", the network's own type, or one that products of float32 are rounded to."""
    _check_precision_name(precision)
    if precision in ("float32", "float64", "auto") and precision not in (dtype, "auto"):
        raise ConfigError(
            f"precision is {precision!r}, but the network has dtype {dtype}; give it that dtype"
        )
    if precision in ROUNDED_PRECISIONS and dtype != "float32":
        raise ConfigError(
            f"precision {precision!r} rounds float32, but the network has dtype {dtype}; use float32"
        )


def _check_precision_name(precision: str) -> None:
    """Raise ConfigError, which knows what others call the half types."""
    known = OTHER_NAMES.get(str(precision).lower().replace("-", "").replace("_", ""))
    if known is not None and precision not in PRECISION_NAMES:
        raise ConfigError(f"precision {precision!r} is unknown; did you mean {known!r}?")
    check_choice("precision", precision, ("auto", *PRECISION_NAMES))


def to_tuple(what: str, value: Any, expected: str) -> tuple[Any, ...]:
    """The items of a sequence or set. Raises ConfigError where it is none, and for a text, whose items are letters."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise ConfigError(f"{what} is {repr_of(value)}, but must be {expected}")
    return tuple(value)


def _is_number(value: object, *, whole: bool = False) -> bool:
    """Python's numbers and NumPy's."""
    return isinstance(value, Integral if whole else Real)


def check_range(
    what: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    low_open: bool = False,
    high_open: bool = False,
    whole: bool = False,
) -> None:
    """Raise ConfigError unless `value` is finite and between `low` and `high`, the ends included unless open.

    whole: a whole number, which a float never is.
    """
    inside = _is_number(value, whole=whole) and math.isfinite(value) and low <= value <= high
    if inside and not (low_open and value == low) and not (high_open and value == high):
        return
    kind = "a whole number" if whole else "a finite number" if value in (math.inf, -math.inf) else ""
    left = f"{'greater than' if low_open else 'at least'} {low:g}" if low > -math.inf else ""
    right = f"{'less than' if high_open else 'at most'} {high:g}" if high < math.inf else ""
    bounds = " and ".join(filter(None, (left, right)))
    bounds = ", ".join(filter(None, (kind, bounds))) or "a number"
    raise ConfigError(f"{what} is {value!r}, but must be {bounds}")


@dataclass(frozen=True)
class Loss:
    """A loss by name with its parameters; those of other losses are ignored.

    huber_delta: where huber turns from squares to absolute values, > 0.
    quantile: which quantile the quantile loss fits, in (0, 1).
    label_smoothing: how much of softmax_cross_entropy's target is spread over all classes, in [0, 1).
    factor: what the mean loss and its gradient are multiplied with, > 0.
    reported: what the loss alone is multiplied with beside that, > 0: scikit-learn's mean over several outputs.
    """

    name: str
    huber_delta: float = 1.0
    quantile: float = 0.5
    label_smoothing: float = 0.0
    factor: float = 1.0
    reported: float = 1.0

    def __post_init__(self) -> None:
        check_choice("loss", self.name, LOSS_NAMES)
        check_range("factor", self.factor, low=0.0, low_open=True)
        check_range("reported", self.reported, low=0.0, low_open=True)
        check_range("huber_delta", self.huber_delta, low=0.0, low_open=True)
        check_range("quantile", self.quantile, low=0.0, high=1.0, low_open=True, high_open=True)
        check_range("label_smoothing", self.label_smoothing, low=0.0, high=1.0, high_open=True)

    @property
    def parameters(self) -> dict[str, float]:
        """The keyword arguments of this loss's primitive."""
        match self.name:
            case "huber":
                return {"delta": self.huber_delta}
            case "quantile":
                return {"quantile": self.quantile}
            case "softmax_cross_entropy":
                return {"label_smoothing": self.label_smoothing}
        return {}


@dataclass(frozen=True)
class NetworkConfig:
    """The architecture of a network: layers k = 0..K between `layer_sizes` of K + 2 numbers.

    activation: one name for all K hidden layers, or a sequence of K names. initializer "auto" is He's for the
    ReLU family and Glorot's otherwise.
    """

    layer_sizes: tuple[int, ...]
    activation: str | tuple[str, ...] = "relu"
    initializer: str = "auto"
    seed: int = 0
    dtype: Literal["float32", "float64"] = "float32"

    def __post_init__(self) -> None:
        expected = (
            "at least two positive whole numbers, inputs first and outputs last, such as (2, 4, 7, 3, 2)"
        )
        sizes = to_tuple("layer_sizes", self.layer_sizes, expected)
        if len(sizes) < 2 or not all(_is_number(size, whole=True) and size >= 1 for size in sizes):
            raise ConfigError(f"layer_sizes is {sizes!r}, but must be {expected}")
        object.__setattr__(self, "layer_sizes", tuple(map(int, sizes)))  # NumPy's integers become Python's
        if not isinstance(self.activation, str):
            names = to_tuple("activation", self.activation, "one name, or one for each hidden layer")
            object.__setattr__(self, "activation", names)
            if len(names) != len(sizes) - 2:
                raise ConfigError(
                    f"activation names {len(names)} layers, but there are {len(sizes) - 2} hidden layers, of widths "
                    f"{sizes[1:-1]}; give one name, or one for each"
                )
        for name in (self.activation,) if isinstance(self.activation, str) else self.activation:
            check_choice("activation", name, ACTIVATION_NAMES)
        check_choice("initializer", self.initializer, INITIALIZER_NAMES)
        check_range("seed", self.seed, low=0, high=LARGEST_SEED, whole=True)
        check_choice("dtype", self.dtype, ("float32", "float64"))

    @property
    def activations(self) -> tuple[str, ...]:
        """The activation of every hidden layer."""
        if isinstance(self.activation, str):
            return (self.activation,) * (len(self.layer_sizes) - 2)
        return self.activation


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained.

    Attributes:
        epochs: passes over the training rows.
        batch_size: rows of a mini-batch; the last of an epoch may be smaller.
        loss: a loss's name, or "auto" for the task's: softmax_cross_entropy for integer labels, else squared_error.
        huber_delta: where huber turns from squares to absolute values.
        quantile: which quantile the quantile loss fits.
        label_smoothing: the share of softmax_cross_entropy's target that is spread over all classes.
        optimizer: sgd, momentum, nesterov, rmsprop, adagrad, adam, adamw or lion, with torch.optim's formulas.
        learning_rate: the schedule's starting point (one_cycle: its peak).
        momentum: of momentum, nesterov (0.9 when unset) and rmsprop (0 when unset).
        beta1: how slowly the optimizer's average of gradients moves; its own default when unset.
        beta2: how slowly its average of squared gradients moves; its own default when unset.
        epsilon: its guard against division by zero; its own default when unset.
        weight_decay: strength of the decay of all parameters towards zero; when unset 0, and 0.01 for adamw.
        decoupled_weight_decay: scale the parameters (as AdamW and Lion always do) instead of adding an L2 gradient.
        clip_norm: largest norm of all gradients together; larger ones are scaled down.
        schedule: constant, step, exponential, cosine, one_cycle or plateau.
        schedule_epochs: epochs between two reductions of step, epochs without improvement before one of plateau.
        schedule_factor: what step, exponential (each epoch) and plateau multiply the rate with.
        warmup_epochs: a linear rise from 0 over this many epochs (fractions allowed) before any schedule.
        dropout: the share of hidden units dropped at each step, one for all hidden layers.
        precision: of the products: auto is the network's dtype; tf32, bf16 and fp16 round their factors on tensor cores
            (fp16 with loss scaling: a step whose gradients overflow is skipped, and counts as one for the schedule and
            the bias correction); sums, parameters and their updates stay in float32. The validation after every epoch
            has the same precision; what a trained model predicts has the network's dtype.
        shuffle: a new order of the rows each epoch.
        patience: stop after this many epochs without improvement of the monitored loss, and restore the best weights.
        min_delta: what counts as an improvement.
        seed: of the epoch order and the dropout masks.
        buffer_rows: of a source that is read while it is trained on, how many are shuffled together; when unset 65536,
            or what a budget of memory has room for.
        stream: auto reads a table that does not fit the device's memory from the host, always every one, never none.
    """

    epochs: int = 50
    batch_size: int = 128
    loss: str = "auto"
    huber_delta: float = 1.0
    quantile: float = 0.5
    label_smoothing: float = 0.0
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    momentum: float | None = None
    beta1: float | None = None
    beta2: float | None = None
    epsilon: float | None = None
    weight_decay: float | None = None
    decoupled_weight_decay: bool = False
    clip_norm: float | None = None
    schedule: str = "constant"
    schedule_epochs: int = 10
    schedule_factor: float = 0.1
    warmup_epochs: float = 0.0
    dropout: float = 0.0
    precision: str = "auto"
    shuffle: bool = True
    patience: int | None = None
    min_delta: float = 0.0
    seed: int = 0
    stream: str = "auto"
    buffer_rows: int | None = None

    def __post_init__(self) -> None:
        check_range("epochs", self.epochs, low=1, whole=True)
        check_range("batch_size", self.batch_size, low=1, whole=True)
        if self.loss != "auto":
            check_choice("loss", self.loss, ("auto", *LOSS_NAMES))
        Loss("huber", self.huber_delta, self.quantile, self.label_smoothing)
        check_choice("optimizer", self.optimizer, OPTIMIZER_NAMES)
        check_range("learning_rate", self.learning_rate, low=0.0, low_open=True)
        if self.weight_decay is not None:
            check_range("weight_decay", self.weight_decay, low=0.0)
        for name in ("momentum", "beta1", "beta2"):
            value = getattr(self, name)
            if value is not None:
                check_range(name, value, low=0.0, high=1.0, high_open=True)
        for name in ("epsilon", "clip_norm"):
            value = getattr(self, name)
            if value is not None:
                check_range(name, value, low=0.0, low_open=True)
        check_choice("schedule", self.schedule, SCHEDULE_NAMES)
        check_range("schedule_epochs", self.schedule_epochs, low=1, whole=True)
        check_range("schedule_factor", self.schedule_factor, low=0.0, high=1.0, low_open=True)
        check_range("warmup_epochs", self.warmup_epochs, low=0.0)
        check_range("dropout", self.dropout, low=0.0, high=1.0, high_open=True)
        _check_precision_name(self.precision)
        if self.patience is not None:
            check_range("patience", self.patience, low=1, whole=True)
        check_range("min_delta", self.min_delta, low=0.0)
        check_range("seed", self.seed, low=0, high=LARGEST_SEED, whole=True)
        check_choice("stream", self.stream, STREAM_NAMES)
        if self.buffer_rows is not None:
            check_range("buffer_rows", self.buffer_rows, low=1, whole=True)

    def loss_settings(self, *, labels: bool) -> Loss:
        """The loss with its parameters; `labels` says whether "auto" means integer labels."""
        name = self.loss
        if name == "auto":
            name = "softmax_cross_entropy" if labels else "squared_error"
        return Loss(name, self.huber_delta, self.quantile, self.label_smoothing)

"""The optimizers: their constants, their state on the flat buffer, and the call of the backend's primitive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.config import TrainingConfig, check_range
from gpu_mlp.errors import ConfigError

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Lion",
    "Optimizer",
    "OptimizerState",
    "RMSprop",
    "optimizer_from",
]


@dataclass(frozen=True)
class Optimizer:
    """What every optimizer has: a learning rate, and a weight decay that is an L2 gradient unless decoupled.

    learning_rate is the schedule's starting point. Raises ConfigError where a constant is out of range.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    decoupled_weight_decay: bool = False

    # The field of `Ops` that computes the update.
    primitive: ClassVar[str] = ""

    def __post_init__(self) -> None:
        check_range("learning_rate", self.learning_rate, low=0.0, low_open=True)
        check_range("weight_decay", self.weight_decay, low=0.0)
        for name, value in self.own_constants().items():
            low_open = name == "epsilon"
            high = float("inf") if name in ("epsilon", "learning_rate_decay") else 1.0
            bounded = name not in (
                "epsilon",
                "epsilon_hat",
                "learning_rate_decay",
                "momentum",
                "nesterov",
                "dampening",
            )
            check_range(name, value, low=0.0, low_open=low_open, high=high, high_open=bounded)

    @property
    def state_names(self) -> tuple[str, ...]:
        """A name for each state array."""
        return ()

    def own_constants(self) -> dict[str, float]:
        """The primitive's keyword arguments beside learning rate, step and decay."""
        return {}

    def constants(self) -> dict[str, float]:
        """The primitive's keyword arguments that do not change from step to step."""
        return {
            **self.own_constants(),
            "weight_decay": self.weight_decay,
            "decoupled": float(self.decoupled_weight_decay),
        }


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum (Polyak, 1964) and Nesterov's form (Sutskever et al., 2013) if asked.

    b <- momentum b + (1 - dampening) g, p <- p - learning_rate b; Nesterov steps along g + momentum b.
    """

    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    primitive: ClassVar[str] = "sgd"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and (self.momentum == 0.0 or self.dampening != 0.0):
            raise ConfigError(
                f"nesterov is asked for with momentum {self.momentum!r} and dampening {self.dampening!r}, "
                "but needs a momentum above 0 and no dampening"
            )

    @property
    def state_names(self) -> tuple[str, ...]:
        """The velocity, where there is momentum."""
        return ("velocity",) if self.momentum else ()

    def own_constants(self) -> dict[str, float]:
        """momentum, dampening, nesterov"""
        return {"momentum": self.momentum, "dampening": self.dampening, "nesterov": float(self.nesterov)}


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """v <- alpha v + (1 - alpha) g^2, p <- p - learning_rate g / (sqrt(v) + epsilon) (Tieleman and Hinton, 2012)."""

    alpha: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0
    primitive: ClassVar[str] = "rmsprop"

    @property
    def state_names(self) -> tuple[str, ...]:
        """The mean square, and the velocity where there is momentum."""
        return ("mean_square", "velocity") if self.momentum else ("mean_square",)

    def own_constants(self) -> dict[str, float]:
        """alpha, epsilon, momentum"""
        return {"alpha": self.alpha, "epsilon": self.epsilon, "momentum": self.momentum}


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """v <- v + g^2, p <- p - rate g / (sqrt(v) + epsilon) (Duchi et al., 2011).

    rate = learning_rate / (1 + (step - 1) learning_rate_decay)
    """

    learning_rate: float = 1e-2
    learning_rate_decay: float = 0.0
    epsilon: float = 1e-10
    primitive: ClassVar[str] = "adagrad"

    @property
    def state_names(self) -> tuple[str, ...]:
        """The sum of squares."""
        return ("sum_of_squares",)

    def own_constants(self) -> dict[str, float]:
        """learning_rate_decay, epsilon"""
        return {"learning_rate_decay": self.learning_rate_decay, "epsilon": self.epsilon}


@dataclass(frozen=True)
class Adam(Optimizer):
    """m <- beta1 m + (1 - beta1) g, v <- beta2 v + (1 - beta2) g^2 (Kingma and Ba, 2015).

    p <- p - learning_rate (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + epsilon)

    With epsilon_hat epsilon is added to sqrt(v) before it is divided, as in the paper's shorter form and scikit-learn.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    epsilon_hat: bool = False
    primitive: ClassVar[str] = "adam"

    @property
    def state_names(self) -> tuple[str, ...]:
        """The decayed sums of the gradient and of its square: Adam's averages over 1 - beta1 and 1 - beta2."""
        return ("decayed_sum", "decayed_sum_of_squares")

    def own_constants(self) -> dict[str, float]:
        """beta1, beta2, epsilon, epsilon_hat"""
        return {
            "beta1": self.beta1,
            "beta2": self.beta2,
            "epsilon": self.epsilon,
            "epsilon_hat": float(self.epsilon_hat),
        }


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019), 1e-2 as in torch.optim unless said otherwise."""

    weight_decay: float = 1e-2
    decoupled_weight_decay: bool = True


@dataclass(frozen=True)
class Lion(Optimizer):
    """p <- p - learning_rate sign(beta1 m + (1 - beta1) g), m <- beta2 m + (1 - beta2) g (Chen et al., 2023).

    Its weight decay is decoupled. It wants a third to a tenth of Adam's learning rate.
    """

    learning_rate: float = 1e-4
    decoupled_weight_decay: bool = True
    beta1: float = 0.9
    beta2: float = 0.99
    primitive: ClassVar[str] = "lion"

    @property
    def state_names(self) -> tuple[str, ...]:
        """The mean of the gradient."""
        return ("mean",)

    def own_constants(self) -> dict[str, float]:
        """beta1, beta2"""
        return {"beta1": self.beta1, "beta2": self.beta2}


class OptimizerState:
    """An optimizer at work on one flat buffer: its state arrays and the number of steps done."""

    def __init__(self, ops: Ops, optimizer: Optimizer, parameters: Array) -> None:
        self.optimizer = optimizer
        self.step = 0
        self._parameters = parameters
        self._at_once = ops.elements_at_once
        self.arrays: dict[str, Array] = {
            name: ops.xp.zeros_like(parameters) for name in optimizer.state_names
        }
        self._views = tuple(self.arrays.values())
        self.scratch = ops.xp.empty_like(parameters)
        # (), int32: where not 0 a step changes nothing. None where no step is ever skipped.
        self.skip: Array | None = None
        self._constants: Mapping[str, float] = optimizer.constants()
        self._update: Callable[..., None] = getattr(ops, optimizer.primitive)

    def update(self, gradients: Array, learning_rate: float) -> None:
        """One step on all parameters; a backend may add an L2 penalty to `gradients` in place."""
        self.begin_step()
        self.update_range(gradients, learning_rate, 0, self._parameters.size)

    def begin_step(self) -> None:
        """Count the step whose ranges are updated next."""
        self.step += 1

    def update_range(self, gradients: Array, learning_rate: float, start: int, stop: int) -> None:
        """This step on the parameters from `start` to `stop` alone, a cacheful at a time."""
        for first in range(start, stop, self._at_once):
            part = slice(first, min(first + self._at_once, stop))
            self._update(
                self._parameters[part],
                gradients[part],
                [array[part] for array in self._views],
                self.scratch[part],
                learning_rate=learning_rate,
                step=self.step,
                skip=self.skip,
                **self._constants,
            )


def optimizer_from(config: TrainingConfig) -> Optimizer:
    """The optimizer a TrainingConfig names; constants it leaves unset keep the optimizer's own defaults."""
    given: dict[str, Any] = {
        "learning_rate": config.learning_rate,
        "decoupled_weight_decay": config.decoupled_weight_decay or config.optimizer in ("adamw", "lion"),
    }
    if config.weight_decay is not None:
        given["weight_decay"] = config.weight_decay

    def with_set(*names: str) -> dict[str, Any]:
        return given | {name: getattr(config, name) for name in names if getattr(config, name) is not None}

    match config.optimizer:
        case "sgd":
            return SGD(**given)
        case "momentum" | "nesterov":
            momentum = 0.9 if config.momentum is None else config.momentum
            return SGD(**given, momentum=momentum, nesterov=config.optimizer == "nesterov")
        case "rmsprop":
            return RMSprop(**with_set("momentum", "epsilon"))
        case "adagrad":
            return Adagrad(**with_set("epsilon"))
        case "adam":
            return Adam(**with_set("beta1", "beta2", "epsilon"))
        case "adamw":
            return AdamW(**with_set("beta1", "beta2", "epsilon"))
        case _:
            return Lion(**with_set("beta1", "beta2"))

"""`TrainingStep`: gather, forward, loss, backward, clip and update, for a loop of one's own or for `train`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from gpu_mlp.backends.base import Array
from gpu_mlp.backends.numpy_compiled import can_compile
from gpu_mlp.config import LARGEST_SEED, Loss, check_range, check_type
from gpu_mlp.errors import ShapeError
from gpu_mlp.learning.loss_scaling import allocate_loss_scale
from gpu_mlp.learning.optimizers import Adam, Optimizer, OptimizerState
from gpu_mlp.learning.steps.after import After, Told
from gpu_mlp.learning.steps.batch import Batch
from gpu_mlp.learning.steps.cuda_graph import GraphStep
from gpu_mlp.learning.steps.finish import Finish
from gpu_mlp.learning.steps.layerwise import LayerwiseStep
from gpu_mlp.learning.steps.threaded import ThreadedStep, threads_for
from gpu_mlp.network.factors import Factors
from gpu_mlp.network.losses import to_targets, to_weights
from gpu_mlp.network.network import Network
from gpu_mlp.network.parameters import ParameterBuffer

if TYPE_CHECKING:
    from gpu_mlp.learning.steps.compiled import CompiledStep

__all__ = ["TrainingStep"]


# Steps between which other Python threads may have their turn at BLAS.
STEPS_A_TURN = 16
# What a batch of one size has: its rows, and the step that fits the machine and the size.
Room: TypeAlias = "tuple[Batch, LayerwiseStep | ThreadedStep | CompiledStep | GraphStep]"


class TrainingStep:
    """One training step on preallocated memory: `loss = step(x, y)`.

    Args:
        network: whose parameters are trained, in place.
        loss: a name or a `Loss` with parameters.
        optimizer: an `Optimizer`; its learning rate is `step.learning_rate`, which may be changed between steps.
        batch_size: rows of a full batch; a smaller batch gets its own memory when it first comes.
        clip_norm: largest norm of all gradients together, or None.
        l2_penalty: alpha of alpha / 2 sum |Omega_k|^2 / S, which is added to the mean loss of a batch; S is the sum of
            its sample weights, or its number of rows. Biases have none.
        dropout: share of hidden units dropped, in [0, 1).
        seed: of the dropout masks.
        precision: of the products, as in `TrainingConfig`. With "fp16" the loss is scaled by `loss_scale.scale` (), on
            the device; a step whose gradients overflow is skipped, and `gradients` then hold what overflowed.
        beside_reader: whether another thread reads rows meanwhile, to which small steps leave a processor; the last
            bits of products may then differ from those that BLAS spreads over its threads.

    A step neither allocates arrays nor waits for the device, except that NumPy's rounding to another precision than
    the network's own takes memory in every step; `float(loss)` waits. Targets' ranges are not looked at here, since
    that would wait too: see `gpu_mlp.losses` for what each loss takes.
    """

    def __init__(
        self,
        network: Network,
        *,
        loss: str | Loss,
        optimizer: Optimizer | None = None,
        batch_size: int = 128,
        clip_norm: float | None = None,
        l2_penalty: float = 0.0,
        dropout: float = 0.0,
        seed: int = 0,
        precision: str = "auto",
        beside_reader: bool = False,
    ) -> None:
        check_range("batch_size", batch_size, low=1, whole=True)
        check_range("dropout", dropout, low=0.0, high=1.0, high_open=True)
        check_range("seed", seed, low=0, high=LARGEST_SEED, whole=True)
        check_range("l2_penalty", l2_penalty, low=0.0)
        if clip_norm is not None:
            check_range("clip_norm", clip_norm, low=0.0, low_open=True)
        loss = Loss(loss) if isinstance(loss, str) else loss
        check_type("loss", loss, Loss, "a name, or a Loss such as Loss('huber', huber_delta=2.0)")
        optimizer = Adam() if optimizer is None else optimizer
        check_type("optimizer", optimizer, Optimizer, "an optimizer, such as gpu_mlp.Adam(1e-3)")
        ops = network.ops
        self.network = network
        self.loss = loss
        self.optimizer = OptimizerState(ops, optimizer, network.parameters.flat)
        self.learning_rate = self.optimizer.optimizer.learning_rate
        self.batch_size = batch_size
        self.clip_norm = clip_norm
        self.l2_penalty = l2_penalty
        self.gradient_norm: Array = ops.xp.zeros((), network.dtype)
        self._clip_coefficient: Array = ops.xp.zeros((), network.dtype)
        self.precision = precision
        self._dropout, self._seed, self._beside_reader = dropout, seed, beside_reader
        self._factors = Factors(ops, network.parameters, precision)
        self.loss_scale = allocate_loss_scale(ops) if precision == "fp16" else None
        if self.loss_scale is not None:
            self.optimizer.skip = self.loss_scale.skip
        self._finishes = (
            clip_norm is not None or l2_penalty > 0.0 or loss.reported != 1.0 or self.loss_scale is not None
        )
        self._gradients = ParameterBuffer(ops, network.parameters.layout, network.dtype)
        self._rooms: dict[int, Room] = {batch_size: self._room(batch_size)}

    @property
    def gradients(self) -> ParameterBuffer:
        """The gradients of the last step, `gradients.weights[k]` and `gradients.biases[k]`, after clipping."""
        return self._gradients

    def __call__(self, x: Any, y: Any, sample_weight: Any = None) -> Array:
        """One step on the batch x (B, D_0), y (B,) or (B, O), with weights (B,) if given; returns the mean loss, ().

        Raises ShapeError where a shape or a type does not fit.
        """
        x, y, weights = self._checked(x, y, sample_weight)
        batch, room = self.room_for(len(x))
        finish = self._finish(batch, weights)
        room.run(batch.inputs(x), y, batch.shares(weights), self.optimizer, self.learning_rate, finish)
        return room.loss.copy()

    def run_rows(self, x: Array, y: Array, weights: Array | None, index: Array, loss: Array) -> None:
        """One step on the rows `index` (B,) of a checked table x (N, D_0), y (N,) or (N, O), weights (N,).

        Writes the loss into loss ().
        """
        batch, room = self.room_for(len(index))
        x, y, weights = batch.gather(x, y, weights, index)
        finish = self._finish(batch, weights)
        room.run(x, y, batch.shares(weights), self.optimizer, self.learning_rate, finish)
        loss[...] = room.loss

    def run_steps(
        self,
        table: tuple[Array, Array, Array | None],
        order: Array,
        learning_rates: Sequence[float],
        losses: Array,
        after: After,
    ) -> None:
        """The first steps of an epoch, one for each learning rate, on a checked table: x, y, and weights or None.

        order (N,) says which rows come when, `batch_size` of them to a step and what is left to the last one. Writes
        every step's loss into losses (S,) and calls `after` with the number of steps launched so far, which leaves the
        rest by returning True.
        """
        told = Told(after)
        rows, steps = self.batch_size, len(learning_rates)
        full = min(len(order) // rows, steps)
        for first, last, size in ((0, full, rows), (full, steps, len(order) - full * rows)):
            if first == last or told.enough:
                continue
            index = order[first * rows : first * rows + (last - first) * size]
            rates, values = learning_rates[first:last], losses[first:last]
            batch, room = self.room_for(size)
            if not isinstance(room, (LayerwiseStep, ThreadedStep)):
                tell = told.counting_from(first)
                finish = self._finish(batch, table[2])
                room.run_steps(table, index, rates, values, self.optimizer, finish, tell)
                self.learning_rate = rates[-1]
                continue
            for at in range(0, len(rates), STEPS_A_TURN):
                with room.products:
                    for i, self.learning_rate in enumerate(rates[at : at + STEPS_A_TURN], at):
                        self.run_rows(*table, index[i * size : (i + 1) * size], values[i, ...])
                        if after(first + i + 1):
                            return

    def room_for(self, rows: int) -> Room:
        """The memory and the step of a batch of `rows` rows, made when first needed."""
        room = self._rooms.get(rows)
        if room is None:
            if rows > self.batch_size:
                raise ShapeError(
                    f"a batch has {rows} rows, but batch_size is {self.batch_size}; "
                    "make it that large, or cut the batch"
                )
            if rows == 0:
                raise ShapeError("a batch has no rows; give at least one")
            room = self._rooms[rows] = self._room(rows)
        return room

    def _room(self, rows: int) -> Room:
        network, factors = self.network, self._factors
        batch = self._batch(rows)
        if (graphs := network.ops.graphs) is not None:
            what = self._dropouts | {"graphs": graphs, "batch": batch}
            return batch, GraphStep(network, factors, self.loss, self._gradients, rows, **what)
        if self._dropout == 0.0 and can_compile(factors.ops, network.activations):
            from gpu_mlp.learning.steps.compiled import CompiledStep

            reader = self._beside_reader
            return batch, CompiledStep(network, self.loss, self._gradients, batch, beside_reader=reader)
        # Factors that are rounded are one copy for all rows.
        threads = threads_for(network, rows) if factors.ops.factor_dtype is None else 1
        if threads > 1:
            return batch, ThreadedStep(network, self._gradients, rows, self._part, threads=threads)
        return batch, self._part(self._gradients, 0, rows)

    def _batch(self, rows: int) -> Batch:
        return Batch(self._factors, self.loss, self.network.layer_sizes, rows, self.network.dtype)

    def _part(self, gradients: ParameterBuffer, start: int, stop: int) -> LayerwiseStep:
        """Of those rows of a batch, on the threads that BLAS has."""
        what = self._dropouts | {"first_row": start, "beside_reader": self._beside_reader}
        return LayerwiseStep(self.network, self._factors, self.loss, gradients, stop - start, **what)

    @property
    def _dropouts(self) -> dict[str, Any]:
        what: dict[str, Any] = {"dropout": self._dropout, "seed": self._seed}
        if self.loss_scale is not None:
            what["loss_scale"] = self.loss_scale.scale
        return what

    def _finish(self, batch: Batch, weights: Array | None) -> Finish | None:
        """What stands between the backward pass and the update of a batch, if anything does."""
        if not self._finishes:
            return None
        parameters = self.network.parameters
        return Finish(
            ops=self.network.ops,
            scratch=self.optimizer.scratch,
            weights=parameters.flat[: parameters.layout.bias_offsets[0]],
            total=batch.total(weights),
            reported=self.loss.reported,
            l2_penalty=self.l2_penalty,
            clip_norm=self.clip_norm,
            norm=self.gradient_norm,
            coefficient=self._clip_coefficient,
            loss_scale=self.loss_scale,
        )

    def _checked(self, x: Any, y: Any, sample_weight: Any) -> tuple[Array, Array, Array | None]:
        network = self.network
        x = network.to_inputs(x)
        y = to_targets(network.ops, self.loss, y, outputs=network.layer_sizes[-1], dtype=network.dtype)
        if len(y) != len(x):
            raise ShapeError(f"y has {len(y)} rows, but x has {len(x)}; give one target a row")
        if sample_weight is None:
            return x, y, None
        return x, y, to_weights(network.ops, sample_weight, rows=len(x), dtype=network.dtype)

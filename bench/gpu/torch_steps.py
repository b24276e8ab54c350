"""PyTorch's contestants: eager, compiled in two modes, and a CUDA graph captured by hand.

tf32 is a setting of float32's products, bf16 and fp16 are autocast's, and fp16 has a GradScaler in every form.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from gpu.problems import BETA1, BETA2, EPSILON, FIRST_SCALE, Problem

__all__ = ["torch_compiled", "torch_eager", "torch_eager_fused", "torch_graph"]

# What is to be captured runs so often before, on a stream of its own, as PyTorch's documentation wants it.
WARM_UP = 3


class TorchSteps:
    """A step as PyTorch's users write it, on a batch that is on the device; `optimizer` are Adam's options."""

    steps_a_call = 1

    def __init__(self, problem: Problem, device: str, mode: str | None = None, **optimizer: bool) -> None:
        import torch

        # Sets the older switch, allow_tf32, and the newer one, fp32_precision, alike.
        torch.set_float32_matmul_precision("high" if problem.precision == "tf32" else "highest")
        self.torch, self.device = torch, torch.device(device)
        self.model = _model(torch, problem).to(self.device)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), problem.learning_rate, betas=(BETA1, BETA2), eps=EPSILON, **optimizer
        )
        self.scaler: Any = None
        if problem.precision == "fp16":
            self.scaler = torch.amp.GradScaler(self.device.type, init_scale=FIRST_SCALE)
        self.x, self.y = (torch.tensor(each, device=self.device) for each in problem.data())
        self.evaluate: Callable[[], Any] = self._evaluation(problem)
        self.compiled = mode is not None
        if mode is not None:
            torch.compiler.reset()  # else the same code of one problem too many would run without being compiled
            self.evaluate = torch.compile(self.evaluate, mode=mode)

    def _evaluation(self, problem: Problem) -> Callable[[], Any]:
        """What computes the loss in the problem's precision."""
        torch, square = self.torch, problem.loss == "squared_error"
        criterion = torch.nn.MSELoss() if square else torch.nn.CrossEntropyLoss()
        half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(problem.precision)
        if half is None:
            return lambda: criterion(self.model(self.x), self.y)

        def evaluate() -> Any:
            with torch.autocast(self.device.type, half):
                # Autocast takes the loss in float32 on CUDA too; not all of it on a CPU.
                return criterion(self.model(self.x).float(), self.y)

        return evaluate

    def step(self) -> Any:
        """One step; returns the loss without reading it."""
        self.optimizer.zero_grad()
        if self.compiled:
            self.torch.compiler.cudagraph_mark_step_begin()
        return self.work()

    def work(self) -> Any:
        """Forward, backward and update from no gradients."""
        loss = self.evaluate()
        if self.scaler is None:
            loss.backward()
            self.optimizer.step()
        else:
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        return loss.detach()

    def prepare(self) -> None:
        """Nothing: what is compiled is so in the first steps."""

    def losses(self, count: int) -> list[float]:
        """Of the next `count` steps."""
        return [float(self.step()) for _ in range(count)]

    def run(self, steps: int) -> None:
        """Steps, and then wait for the device."""
        for _ in range(steps):
            self.step()
        self.synchronize()

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            self.torch.cuda.synchronize()


class TorchGraph(TorchSteps):
    """The whole step captured with static inputs and a fused Adam, and replayed.

    In fp16 the GradScaler is captured with it: a fused Adam reads on the device the scale and whether a gradient
    overflowed, and the scale is updated in place.
    """

    def __init__(self, problem: Problem, device: str) -> None:
        super().__init__(problem, device, fused=True, capturable=True)

    def prepare(self) -> None:
        """Warm up, capture, and start anew from the initial weights."""
        torch = self.torch
        initial = [each.detach().clone() for each in self.model.parameters()]
        scale = self.scaler.state_dict() if self.scaler is not None else None
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                super().step()
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(self.graph):
            self.loss = self.work()
        if scale is not None:
            self.scaler.load_state_dict(scale)  # into the same memory
        with torch.no_grad():
            for parameter, value in zip(self.model.parameters(), initial, strict=True):
                parameter.copy_(value)
            for state in self.optimizer.state.values():
                for value in state.values():
                    value.zero_()

    def step(self) -> Any:
        """One replay."""
        self.graph.replay()
        return self.loss


def _model(torch: Any, problem: Problem) -> Any:
    """The network with gpu_mlp's initial weights."""
    network = problem.network("cpu")
    layers: list[Any] = []
    for omega, beta in zip(network.weights, network.biases, strict=True):
        linear = torch.nn.Linear(omega.shape[1], omega.shape[0], dtype=getattr(torch, problem.dtype))
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(omega))
            linear.bias.copy_(torch.tensor(beta))
        layers += [torch.nn.ReLU(), linear] if layers else [linear]
    return torch.nn.Sequential(*layers)


def torch_eager(problem: Problem, device: str) -> TorchSteps:
    """As most write it."""
    return TorchSteps(problem, device)


def torch_eager_fused(problem: Problem, device: str) -> TorchSteps:
    """With the optimizer in one kernel."""
    return TorchSteps(problem, device, fused=True)


def torch_graph(problem: Problem, device: str) -> TorchSteps:
    """A CUDA graph."""
    return TorchGraph(problem, device)


def torch_compiled(mode: str) -> Callable[[Problem, str], TorchSteps]:
    """torch.compile of the forward and backward pass, whose graphs PyTorch captures, and a fused Adam."""
    return partial(TorchSteps, mode=mode, fused=True)

"""Right kernels give right results, in both modes and in every order of threads, and are accused of nothing."""

from __future__ import annotations

from functools import partial

import pytest

from tests.emulator import examples
from tests.emulator.examples import ACTIVATIONS, Runner, Setup
from tests.emulator.module import ORDERS

pytestmark = pytest.mark.usefixtures("emulator")

CASES: dict[str, Runner] = {
    **{f"bias_activation-{rows}x{cols}": partial(examples.bias_activation, rows=rows, cols=cols)
       for rows, cols in ((1, 1), (37, 19), (64, 256), (5, 1023), (33, 4))},
    **{f"activation_backward-{rows}x{cols}": partial(examples.activation_backward, rows=rows, cols=cols)
       for rows, cols in ((1, 1), (129, 33), (1000, 10))},
    **{f"sum_atomic-{rows}x{cols}": partial(examples.sum_atomic, rows=rows, cols=cols)
       for rows, cols in ((1, 1), (129, 33), (1000, 10))},
    **{f"softmax_cross_entropy-{rows}x{cols}": partial(examples.softmax_cross_entropy, rows=rows, cols=cols)
       for rows, cols in ((1, 2), (130, 33), (5, 1000))},
    **{f"adam-{n}": partial(examples.adam, n=n) for n in (1, 3, 1024, 10007)},
    **{f"tiny_network-{batch}": partial(examples.tiny_network, batch=batch, threads=threads, steps=steps)
       for batch, threads, steps in ((5, 32, 20), (100, 64, 30), (300, 256, 10))},
    **{f"gemm_bf16-{m}x{n}x{k}": partial(examples.gemm_bf16, m=m, n=n, k=k)
       for m, n, k in ((1, 1, 1), (70, 50, 37), (128, 65, 64))},
    "gemm_wmma": examples.gemm_wmma,
    **{f"normalise-{blocks}-blocks": partial(examples.normalise, n=n, blocks=blocks)
       for n, blocks in ((77, 3), (5000, 66))},
    "pipeline": examples.pipeline,
    "sum_by_last_block": examples.sum_by_last_block,
    "spin_barrier": examples.spin_barrier,
    **{f"tile_sums-{size}": partial(examples.tile_sums, size=size) for size in (2, 4, 8, 16, 32)},
}  # fmt: skip


@pytest.mark.parametrize("mode", ["fast", "check"])
@pytest.mark.parametrize("run", CASES.values(), ids=CASES)
def test_the_result_is_right(run: Runner, mode: str) -> None:
    for result in run(Setup(mode)):
        result.check()


@pytest.mark.parametrize("mode", ["fast", "check"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_template_instance_is_its_own_kernel(activation: str, mode: str) -> None:
    forward = examples.bias_activation(Setup(mode), activation=activation, instances=ACTIVATIONS)
    backward = examples.activation_backward(Setup(mode), activation=activation, instances=ACTIVATIONS)
    for result in (*forward, *backward):
        result.check()


ORDERED: dict[str, Runner] = {
    "activation_backward": examples.activation_backward,
    "tiny_network": examples.tiny_network,
    "pipeline": examples.pipeline,
    "sum_by_last_block": examples.sum_by_last_block,
    "normalise": examples.normalise,
    "tile_sums": examples.tile_sums,
}


@pytest.mark.parametrize("mode", ["fast", "check"])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("run", ORDERED.values(), ids=ORDERED)
def test_the_result_does_not_depend_on_the_order_of_threads(run: Runner, order: str, mode: str) -> None:
    for seed in range(3):
        for result in run(Setup(mode, launch={"order": order, "seed": seed})):
            result.check()


@pytest.mark.parametrize("run", ORDERED.values(), ids=ORDERED)
def test_the_result_does_not_depend_on_where_a_thread_gives_way(run: Runner) -> None:
    for result in run(Setup("check", launch={"preemption": 0.05})):
        result.check()

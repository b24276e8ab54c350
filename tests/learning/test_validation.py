"""The loss and the metric of a validation table that takes several blocks of rows."""

from __future__ import annotations

import numpy as np
import pytest

from gpu_mlp.backends.base import LOSS_NAMES, Array, Ops
from gpu_mlp.learning.tables import given_table
from gpu_mlp.learning.validation import validate
from gpu_mlp.network import network as network_module
from gpu_mlp.network.losses import evaluate_loss, to_targets
from tests.learning.tables import network_at_start, table_problem


@pytest.mark.parametrize("loss", LOSS_NAMES)
@pytest.mark.parametrize("rows_at_once", [1, 16, 100])
def test_it_is_the_mean_over_all_rows(
    ops: Ops, loss: str, rows_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of different sizes count by their rows; the metric sees all outputs and targets at once."""
    monkeypatch.setattr(network_module, "ROWS_AT_ONCE", rows_at_once)
    problem = table_problem(loss, rows=37)
    net = network_at_start(problem, ops.device)
    seen: list[tuple[Array, Array]] = []

    def metric(outputs: Array, targets: Array) -> float:
        seen.append((outputs, targets))
        return 0.25

    table = given_table(net, problem.loss, "validation table", problem.x, problem.y)
    found, measured = validate(net, problem.loss, table, metric)
    outputs = net.forward(problem.x).output
    y = to_targets(ops, problem.loss, problem.y, outputs=4, dtype="float64")
    expected, _ = evaluate_loss(ops, problem.loss, outputs, y)
    assert found == pytest.approx(float(expected), rel=1e-12)
    assert measured == 0.25
    ((all_outputs, all_targets),) = seen
    np.testing.assert_allclose(all_outputs, ops.to_host(outputs), rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(all_targets, problem.y)
    assert validate(net, problem.loss, table, None) == (found, None)

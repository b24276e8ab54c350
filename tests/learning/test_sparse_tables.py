"""Tables that are mostly zeros train to the bits of their dense twins, without the memory of those."""

from __future__ import annotations

import logging
import tracemalloc
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import gpu_mlp
from gpu_mlp.backends.base import Ops
from gpu_mlp.config import TrainingConfig
from gpu_mlp.errors import DataError
from gpu_mlp.learning import placement
from gpu_mlp.learning.training import train
from gpu_mlp.network.network import Network

RNG = np.random.default_rng(0)
DENSE = np.where(RNG.random((90, 6)) < 0.3, RNG.normal(size=(90, 6)), 0.0)
LABELS = RNG.integers(0, 3, 90)


def trained(ops: Ops, x: Any, stream: str = "auto") -> bytes:
    """The parameters, and the losses of the rows held out."""
    network = Network((6, 5, 3), seed=1, device=ops.device)
    config = TrainingConfig(epochs=3, batch_size=16, dropout=0.2, stream=stream)
    history = train(network, x[:70], LABELS[:70], config, validation=(x[70:], LABELS[70:]))
    assert len({each.validation_loss for each in history}) == 3
    return (
        bytes(ops.to_host(network.parameters.flat).tobytes())
        + repr([each.validation_loss for each in history]).encode()
    )


@pytest.mark.parametrize("stream", ["auto", "always", "never"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_they_train_to_the_bits_of_the_dense_table(ops: Ops, stream: str, dtype: str) -> None:
    table = DENSE.astype(dtype)
    assert trained(ops, scipy.sparse.csr_array(table), stream) == trained(ops, table)


def test_a_large_one_is_streamed_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ops = Network((6, 3), device="cpu").ops
    expected = trained(ops, DENSE)
    caplog.set_level(logging.INFO, "gpu_mlp")
    monkeypatch.setattr(placement, "LARGEST_DENSE_BYTES", 70 * 6 * 4)
    assert trained(ops, scipy.sparse.csr_array(DENSE)) == expected
    assert caplog.messages == []
    monkeypatch.setattr(placement, "LARGEST_DENSE_BYTES", 70 * 6 * 4 - 1)
    assert trained(ops, scipy.sparse.csr_array(DENSE)) == expected
    assert caplog.messages == ["the training table is streamed: with its zeros it has 2.2 KiB"]
    assert trained(ops, DENSE) == expected  # what lies in memory whole already
    assert len(caplog.messages) == 1


def test_memory_is_that_of_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dense it would have 320 MB."""
    x = scipy.sparse.random_array((4000, 20_000), density=1e-3, format="csr", dtype=np.float32, rng=RNG)
    y = RNG.integers(0, 2, 4000)
    network = Network((20_000, 2), device="cpu")
    tracemalloc.start()
    try:
        train(network, x, y, TrainingConfig(epochs=1, batch_size=100))
        network(x)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Two slots twice over, the blocks of the check and of the prediction, and some for the optimizer.
    assert peak < 200e6


@pytest.mark.parametrize("stream", ["never", "always"])
def test_a_value_that_is_none_is_refused_with_its_place(stream: str) -> None:
    x = scipy.sparse.csr_array(DENSE)
    x.data[:] = np.where(np.arange(x.nnz) == 40, np.nan, x.data)
    row, column = np.argwhere(np.isnan(x.toarray()))[0]
    with pytest.raises(DataError, match=f"nan in row {row}, column {column}"):
        train(Network((6, 3), device="cpu"), x, LABELS, TrainingConfig(stream=stream))


@pytest.mark.parametrize("kind", [scipy.sparse.csr_array, scipy.sparse.csc_matrix])
def test_estimators_stream_them(
    kind: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def coefficients(x: Any) -> bytes:
        classifier = gpu_mlp.MLPClassifier(
            (7,), max_iter=4, random_state=0, early_stopping=True, batch_size=9
        )
        with pytest.warns(match="Maximum iterations"):
            classifier.fit(x, LABELS)
        return b"".join(each.tobytes() for each in (*classifier.coefs_, classifier.predict_proba(x)))

    expected = coefficients(DENSE)
    caplog.set_level(logging.INFO, "gpu_mlp")
    monkeypatch.setattr(placement, "LARGEST_DENSE_BYTES", 0)
    assert coefficients(kind(DENSE)) == expected
    assert [message[:33] for message in caplog.messages] == ["the training data is streamed: wi"]

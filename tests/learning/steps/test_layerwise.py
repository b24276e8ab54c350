"""The layerwise step's manners."""

from __future__ import annotations

import numpy as np
import pytest

from gpu_mlp.learning.steps import TrainingStep
from gpu_mlp.network.network import Network


@pytest.mark.usefixtures("without_numba")
def test_numpys_buffer_size_is_as_it_was_after_a_step() -> None:
    """A step makes NumPy's conversion buffers small, which is a setting of the user's whole thread."""
    users = 1024 * 16
    before = np.setbufsize(users)
    try:
        step = TrainingStep(Network((3, 2), device="cpu"), loss="squared_error", batch_size=4)
        step(np.ones((4, 3)), np.ones((4, 2)))
        assert np.getbufsize() == users
        del step.room_for(4)[1].trace  # type: ignore[union-attr]
        with pytest.raises(AttributeError):
            step.room_for(4)[1].run(None, None, None, step.optimizer, 0.1, None)  # type: ignore[arg-type]
        assert np.getbufsize() == users
    finally:
        np.setbufsize(before)

"""One training step in the ways that a device offers, behind one `TrainingStep`."""

from gpu_mlp.learning.steps.training_step import TrainingStep

__all__ = ["TrainingStep"]

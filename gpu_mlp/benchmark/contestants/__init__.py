"""Who is measured: gpu_mlp on each device, and the libraries that are installed."""

from gpu_mlp.benchmark.contestants.base import Contestant, UnableError, Work
from gpu_mlp.benchmark.contestants.registry import PEERS, contestants_of

__all__ = ["PEERS", "Contestant", "UnableError", "Work", "contestants_of"]

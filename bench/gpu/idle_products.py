"""Products that are not computed, so that what stands between them can be timed alone."""

from __future__ import annotations

from gpu_mlp.backends.base import Array
from gpu_mlp.backends.fused.products import NOTHING, Applied, Products

__all__ = ["IdleProducts"]


class IdleProducts:
    """Every product does nothing; with `adds_up` they say that they did the bias gradient too."""

    captures = True
    leaves_signs = False
    adds_up = False

    def forward(
        self,
        h: Array,
        omega: Array,
        beta: Array,
        f: Array,
        h_next: Array,
        activation: str | None,
        signs: Array | None,
    ) -> Applied:
        """Nothing."""
        return NOTHING

    def weights(self, dl_df: Array, h: Array, dl_domega: Array, dl_dbeta: Array) -> bool:
        """Nothing."""
        return self.adds_up

    def below(self, dl_df: Array, omega: Array, dl_dh: Array) -> None:
        """Nothing."""

    def below_activation(
        self, dl_df: Array, omega: Array, activation: str, of: Array, dl_df_below: Array
    ) -> bool:
        """Left to the kernel."""
        return False

    def in_precision(self, precision: str) -> Products:
        """As idle in any."""
        return self

"""The three matrix products of a layer, by the array module's own `dot`."""

from __future__ import annotations

from typing import Any, Protocol

from gpu_mlp.backends.base import Array

__all__ = ["DotProducts", "Products"]


class Products(Protocol):
    """What multiplies matrices: h (B, I), omega (O, I), f and dl_df (B, O), dl_dh (B, I)."""

    def forward(self, h: Array, omega: Array, f: Array) -> None:
        """f = h Omega^T"""

    def weights(self, dl_df: Array, h: Array, dl_domega: Array) -> None:
        """dL/dOmega = (dL/df)^T h"""

    def below(self, dl_df: Array, omega: Array, dl_dh: Array) -> None:
        """dL/dh = dL/df Omega"""


class DotProducts:
    """`xp.dot`, which cannot be captured in a CUDA graph."""

    def __init__(self, xp: Any) -> None:
        self._dot = xp.dot

    def forward(self, h: Array, omega: Array, f: Array) -> None:
        """f = h Omega^T"""
        self._dot(h, omega.T, out=f)

    def weights(self, dl_df: Array, h: Array, dl_domega: Array) -> None:
        """dL/dOmega = (dL/df)^T h"""
        self._dot(dl_df.T, h, out=dl_domega)

    def below(self, dl_df: Array, omega: Array, dl_dh: Array) -> None:
        """dL/dh = dL/df Omega"""
        self._dot(dl_df, omega, out=dl_dh)

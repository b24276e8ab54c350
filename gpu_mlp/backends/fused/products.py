"""The three matrix products of a layer, by the array module's own `dot`."""

from __future__ import annotations

from typing import Any, Protocol

from gpu_mlp.backends.base import Array
from gpu_mlp.errors import DeviceError

__all__ = ["DotProducts", "Products"]


class Products(Protocol):
    """What multiplies matrices: h (B, I), omega (O, I), beta (O,), f and dl_df (B, O), dl_dh (B, I).

    `captures` says whether its products can be captured in a CUDA graph.
    """

    captures: bool

    def forward(self, h: Array, omega: Array, f: Array, beta: Array, activation: str | None) -> str | None:
        """f = h Omega^T, and then None; or f = a[h Omega^T + beta], and then the name of a.

        a is the activation that is asked for if that can be done in the same go; it may be "identity" for another.
        """

    def weights(self, dl_df: Array, h: Array, dl_domega: Array, dl_dbeta: Array) -> bool:
        """dL/dOmega = (dL/df)^T h; and dL/dbeta if that can be done in the same go, and then True."""

    def below(self, dl_df: Array, omega: Array, dl_dh: Array) -> None:
        """dL/dh = dL/df Omega"""

    def in_precision(self, precision: str) -> Products:
        """Those that round to "tf32", or take factors of "bf16" or "fp16"; DeviceError where there are none."""


class DotProducts:
    """`xp.dot`, and nothing in the same go."""

    captures = False

    def __init__(self, xp: Any) -> None:
        self._dot = xp.dot

    def forward(self, h: Array, omega: Array, f: Array, beta: Array, activation: str | None) -> str | None:
        """f = h Omega^T"""
        self._dot(h, omega.T, out=f)
        return None

    def weights(self, dl_df: Array, h: Array, dl_domega: Array, dl_dbeta: Array) -> bool:
        """dL/dOmega = (dL/df)^T h"""
        self._dot(dl_df.T, h, out=dl_domega)
        return False

    def below(self, dl_df: Array, omega: Array, dl_dh: Array) -> None:
        """dL/dh = dL/df Omega"""
        self._dot(dl_df, omega, out=dl_dh)

    def in_precision(self, precision: str) -> Products:
        """None."""
        raise DeviceError(
            f"precision {precision!r} on CUDA needs cuBLASLt, but nvmath-python is not installed; "
            "pip install nvmath-python, or leave precision at 'auto'"
        )

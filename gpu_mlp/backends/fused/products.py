"""The three matrix products of a layer, by the array module's own `dot`."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from gpu_mlp.backends.base import Array
from gpu_mlp.errors import DeviceError

__all__ = ["NOTHING", "Applied", "DotProducts", "Products"]


class Applied(NamedTuple):
    """What a product did beside itself.

    activation: None: f is without its bias; "identity": f has it, and h_next is not written; else h_next = a[f] too.
    signs: whether the signs of f were left.
    """

    activation: str | None
    signs: bool = False


NOTHING = Applied(None)


class Products(Protocol):
    """What multiplies matrices: h (B, I), omega (O, I), beta (O,), f and dl_df (B, O), dl_dh (B, I).

    `captures` says whether its products can be captured in a CUDA graph, `leaves_signs` whether ReLU may leave the
    signs of f.
    """

    captures: bool
    leaves_signs: bool

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
        """f = h Omega^T, and what else could be done in the same go.

        Where `activation` is given, h_next = a[f] for f with its bias, and f may be the memory of h_next. Where `signs`
        (B, bytes) is given, ReLU may leave a bit for each f > 0 in it.
        """

    def weights(self, dl_df: Array, h: Array, dl_domega: Array, dl_dbeta: Array) -> bool:
        """dL/dOmega = (dL/df)^T h; and dL/dbeta if that can be done in the same go, and then True."""

    def below(self, dl_df: Array, omega: Array, dl_dh: Array) -> None:
        """dL/dh = dL/df Omega"""

    def below_activation(
        self, dl_df: Array, omega: Array, activation: str, of: Array, dl_df_below: Array
    ) -> bool:
        """dL/df_{k-1} = a'[f_{k-1}] * (dL/df Omega), or False and nothing is done.

        `of` are the signs that ReLU left, or f.
        """

    def in_precision(self, precision: str) -> Products:
        """Those that round to "tf32", or take factors of "bf16" or "fp16"; DeviceError where there are none."""


class DotProducts:
    """`xp.dot`, and nothing in the same go."""

    captures = False
    leaves_signs = False

    def __init__(self, xp: Any) -> None:
        self._dot = xp.dot

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
        """f = h Omega^T"""
        self._dot(h, omega.T, out=f)
        return NOTHING

    def weights(self, dl_df: Array, h: Array, dl_domega: Array, dl_dbeta: Array) -> bool:
        """dL/dOmega = (dL/df)^T h"""
        self._dot(dl_df.T, h, out=dl_domega)
        return False

    def below(self, dl_df: Array, omega: Array, dl_dh: Array) -> None:
        """dL/dh = dL/df Omega"""
        self._dot(dl_df, omega, out=dl_dh)

    def below_activation(
        self, dl_df: Array, omega: Array, activation: str, of: Array, dl_df_below: Array
    ) -> bool:
        """Not in the same go."""
        return False

    def in_precision(self, precision: str) -> Products:
        """None."""
        raise DeviceError(
            f"precision {precision!r} on CUDA needs cuBLASLt, but nvmath-python is not installed; "
            "pip install nvmath-python, or leave precision at 'auto'"
        )

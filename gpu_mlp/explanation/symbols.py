"""The letters of the walkthrough, each with the key of its quantity."""

from __future__ import annotations

from gpu_mlp.explanation.expressions import Derivative, Symbol

__all__ = ["LOSS", "beta", "by_beta", "by_omega", "dl_df", "dl_dh", "f", "h", "omega"]

LOSS = Symbol("L", key="loss")
_L = Symbol("L")


def f(k: int) -> Symbol:
    """f_k, the pre-activations of layer k."""
    return Symbol("f", str(k), f"f_{k}")


def h(k: int) -> Symbol:
    """h_k, what layer k reads."""
    return Symbol("h", str(k), f"h_{k}")


def omega(k: int) -> Symbol:
    """Omega_k, the weights of layer k."""
    return Symbol("omega", str(k), f"omega_{k}")


def beta(k: int) -> Symbol:
    """beta_k, the biases of layer k."""
    return Symbol("beta", str(k), f"beta_{k}")


def dl_df(k: int) -> Derivative:
    """dL/df_k"""
    return Derivative(_L, Symbol("f", str(k)), f"dl_df_{k}")


def dl_dh(k: int) -> Derivative:
    """dL/dh_k"""
    return Derivative(_L, Symbol("h", str(k)), f"dl_dh_{k}")


def by_omega(k: int) -> Derivative:
    """dL/dOmega_k"""
    return Derivative(_L, Symbol("omega", str(k)), f"dl_domega_{k}")


def by_beta(k: int) -> Derivative:
    """dL/dbeta_k"""
    return Derivative(_L, Symbol("beta", str(k)), f"dl_dbeta_{k}")

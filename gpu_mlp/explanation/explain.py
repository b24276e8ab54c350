"""`gpu_mlp.explain`: one step of back-propagation of a network, worked through."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from typing import Any

import numpy as np

from gpu_mlp.backends.numpy_backend import to_host_array
from gpu_mlp.config import Loss, check_choice, check_type
from gpu_mlp.errors import ShapeError
from gpu_mlp.explanation.cost import cost_of
from gpu_mlp.explanation.derivative_check import check_derivatives
from gpu_mlp.explanation.document import as_data
from gpu_mlp.explanation.latex import as_document
from gpu_mlp.explanation.names import UnitNames, names_of
from gpu_mlp.explanation.page import as_page
from gpu_mlp.explanation.passes import run_passes
from gpu_mlp.explanation.quantities import NOTATIONS, Notation
from gpu_mlp.explanation.quirks import show_quirks
from gpu_mlp.explanation.terminal import as_terminal
from gpu_mlp.explanation.walker import walk
from gpu_mlp.explanation.walkthrough import Walkthrough
from gpu_mlp.model import Model
from gpu_mlp.network.network import Network

__all__ = ["Explanation", "explain"]


class Explanation(Walkthrough):
    """One step of back-propagation with the numbers that the package computes, to be read in several formats."""

    def text(self) -> str:
        """For a terminal of 100 columns."""
        return as_terminal(self)

    def latex(self) -> str:
        """A document that LaTeX compiles with amsmath and geometry."""
        return as_document(self)

    def html(self) -> str:
        """A page of one file, with the network drawn and every matrix to be looked at."""
        return as_page(self)

    def document(self) -> dict[str, Any]:
        """Plain data with all numbers; see `gpu_mlp.explanation.document` for its schema."""
        return as_data(self)

    def _repr_html_(self) -> str:
        """The page in a frame of a notebook, whose own styles and scripts stay as they are."""
        page = escape(self.html(), quote=True)
        style = "width: 100%; height: 800px; border: 1px solid #8886"
        return f'<iframe title="back-propagation in {self.name}" style="{style}" srcdoc="{page}"></iframe>'

    def __repr__(self) -> str:
        batch = self.walk.notation.batch
        samples = f"{batch} sample{'s' if batch > 1 else ''}"
        return f"<Explanation of {self.name}, {self.loss.name} of {samples}, {len(self.walk.steps)} steps>"


def explain(
    network: Network | Model, x: Any, y: Any, *, loss: str | Loss = "auto", notation: str = "columns"
) -> Explanation:
    """Work one step of back-propagation through with the network's own numbers.

    The forward pass f_k = Omega_k h_k + beta_k, h_{k+1} = a[f_k], the loss, and the backward pass
    dL/dh_k = Omega_k^T dL/df_k, dL/df_{k-1} = a'[f_{k-1}] * dL/dh_k, dL/dOmega_k = dL/df_k h_k^T, dL/dbeta_k = dL/df_k,
    in the notation of Prince, Understanding Deep Learning (2023), ch. 7. Everything is computed by the package's own
    forward and backward pass in the network's type on its device, and held against finite differences.

    Args:
        network: a `Network`, or a `Model`, whose loss is then used, and the names of its columns and classes.
        x: (B, D_0), or one sample (D_0,), as the network takes it: a model's prepared columns.
        y: what the loss takes, for one sample also without the axis of the batch.
        loss: a loss's name or a `Loss`; "auto" is the model's, or softmax_cross_entropy for labels and else
            squared_error. A factor of what is reported alone (`Loss.reported`) is left out: it is not differentiated.
        notation: "columns", with samples as columns as in books, or "rows", as in code.

    In a notebook the result is shown as a page; `text()`, `html()`, `latex()` and `document()` give it in a format.

    Raises ShapeError for what does not fit the network, ConfigError for an unknown loss or notation, and DataError
    where the network's numbers are not finite.
    """
    check_choice("notation", notation, NOTATIONS)
    chosen = None if loss == "auto" else loss if isinstance(loss, Loss) else Loss(loss)
    names = UnitNames()
    if isinstance(network, Model):
        names = names_of(network)
        chosen = network.loss if chosen is None else chosen
        network = network.network
    check_type("network", network, Network, "a gpu_mlp.Network or a gpu_mlp.Model")
    rows, targets = _as_batch(network, x, y)
    if chosen is None:
        labels = targets.ndim == 1 and targets.dtype.kind in "iub" and network.layer_sizes[-1] > 1
        chosen = Loss("softmax_cross_entropy" if labels else "squared_error")
    chosen = replace(chosen, reported=1.0)
    passes = run_passes(network, rows, targets, chosen)
    return Explanation(
        network=network,
        loss=chosen,
        walk=walk(passes, chosen, Notation(notation, len(rows)), names),
        quirks=show_quirks(network.ops, passes),
        cost=cost_of(network.layer_sizes),
        checks=tuple(check_derivatives(passes)),
    )


def _as_batch(network: Network, x: Any, y: Any) -> tuple[Any, Any]:
    """(B, D_0) and targets on the host; one sample becomes a batch of one."""
    rows, targets = to_host_array(x), to_host_array(y)
    outputs = network.layer_sizes[-1]
    if rows.ndim == 1:
        if rows.shape != (network.layer_sizes[0],):
            raise ShapeError(
                f"the input has {rows.size} numbers, but the network {network!r} takes {network.layer_sizes[0]}"
            )
        rows = rows[np.newaxis, :]
        if targets.ndim == 0 or (targets.shape == (outputs,) and outputs > 1):
            targets = targets[np.newaxis]
    return rows, targets

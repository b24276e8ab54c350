"""Where a table goes: onto the device where it fits, else it stays on the host and is streamed."""

from __future__ import annotations

import logging

import numpy as np

from gpu_mlp.config import Loss
from gpu_mlp.errors import DeviceError
from gpu_mlp.learning.tables import Table, check_values
from gpu_mlp.network.network import Network

__all__ = ["place_table"]

logger = logging.getLogger("gpu_mlp")

# What a table leaves free for all that is allocated after it, such as workspaces and what callbacks keep: a tenth of
# what is free, at least 256 MiB, and besides the outputs and hidden units of `Network.rows_at_once` rows.
RESERVED_SHARE = 0.1
RESERVED_BYTES = 2**28
# Up to here a sparse table is made dense on the CPU, where its rows are gathered faster.
LARGEST_DENSE_BYTES = 2**28


def place_table(
    network: Network,
    loss: Loss,
    table: Table,
    stream: str,
    *,
    precision: str = "auto",
    more_bytes: int = 0,
) -> tuple[Table, bool]:
    """The table with its values checked, on the device or, where it is to be streamed, on the host; and whether it is.

    stream: "auto", "always" or "never", and precision, as in `TrainingConfig`. more_bytes: of memory that is
    allocated beside the table where it is on the device. What the step and the optimizer need must have been allocated.

    Raises DataError or ShapeError for values that cannot be taken, DeviceError where "never" leaves no room.
    """
    ops = network.ops
    streamed = _is_streamed(network, table, stream, more_bytes)
    with np.errstate(over="ignore"):  # what overflows the type is refused
        table = table.on_host(ops) if streamed else table.on_device(ops)
        check_values(ops, loss, table, outputs=network.layer_sizes[-1], precision=precision)
    return table, streamed


def _is_streamed(network: Network, table: Table, stream: str, more_bytes: int) -> bool:
    """Decide, and log why where it is."""
    ops = network.ops
    if stream == "always":
        size = _size(table.nbytes)
        logger.info('the %s (%s) is streamed from the host: stream is "always"', table.what, size)
        return True
    needed = sum(column.missing_bytes(ops) for column in table.columns) + more_bytes
    free = ops.free_memory()
    if free is None:
        return _is_large_sparse(table) and stream != "never"
    if stream == "never":
        if needed > free:
            raise DeviceError(
                f"{ops.device} has {_size(free)} free, but the {table.what} needs {_size(needed)}; "
                'let it be streamed (stream="auto"), give fewer rows, or end what else runs there'
            )
        return False
    reserve = max(int(free * RESERVED_SHARE), RESERVED_BYTES) + _forward_bytes(network)
    if needed <= free - reserve:
        return False
    logger.info(
        "the %s is streamed from the host: it needs %s of %s, which has %s free, and %s are kept for other work",
        *(table.what, _size(needed), ops.device, _size(free), _size(reserve)),
    )
    return True


def _is_large_sparse(table: Table) -> bool:
    """Whether the table with its zeros would be large, where nothing says how much memory there is."""
    large = table.x.is_sparse and table.x.nbytes > LARGEST_DENSE_BYTES
    if large:
        logger.info("the %s is streamed: with its zeros it has %s", table.what, _size(table.nbytes))
    return large


def _forward_bytes(network: Network) -> int:
    """About what `Network.output_blocks` allocates."""
    widths = network.layer_sizes
    itemsize = network.parameters.flat.itemsize
    return network.rows_at_once * (2 * sum(widths) + 2 * max(widths)) * itemsize


def _size(count: int) -> str:
    """Bytes as people read them: `3.2 GiB`."""
    size, units = float(count), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1000.0 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.0f} {units[0]}" if units[0] == "bytes" or size >= 100 else f"{size:.1f} {units[0]}"

"""The blocks of memory that the slab consists of: how they grow, and how rows are written to them.

Shapes: S rows in a block, W the width of one, B rows that are written, Q statistics of a row.
"""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection.observation import Float64, Int64

LARGE_BYTES = 2**26
"""A block of at least this size is allocated with room for all the rows that there may ever be. Memory that has never
been written to is not occupied."""


def longer(block_SW: npt.NDArray[Any], rows: int, most: int) -> npt.NDArray[Any]:
    """Return the block with this many rows; the contents of the new rows are undefined. `most`: the largest number of
    rows that there may ever be.

    A large block has room to grow and is not copied, so a step that needs one more row does not wait for a copy of the
    whole slab. numpy asks the system for huge pages when it allocates a large array. They matter because with a million
    streams the row of every event is on another page.
    """
    whole = block_SW if block_SW.base is None else block_SW.base
    if len(whole) < rows:
        large = block_SW.nbytes >= LARGE_BYTES
        whole = _room(rows, most if large else rows, block_SW)
        whole[: len(block_SW)] = block_SW
    return whole[:rows]


def _room(rows: int, most: int, like: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array with room for `most` rows, or for as many (at least `rows`) as the system grants memory for."""
    while most > rows:
        try:
            return np.empty((most, like.shape[1]), like.dtype)
        except MemoryError:
            most //= 2
    return np.empty((rows, like.shape[1]), like.dtype)


@compiled
def put(block_SW: npt.NDArray[Any], rows_B: Int64, block_BW: npt.NDArray[Any]) -> None:
    """Write each row of `block_BW` to its place in `block_SW`."""
    for b in range(len(rows_B)):
        to_W, from_W = block_SW[rows_B[b]], block_BW[b]
        for w in range(len(from_W)):
            to_W[w] = from_W[w]


@compiled
def fall_due(due_S: Float64, rows_B: Int64, statistics_BQ: Float64, at: Int64) -> float:
    """Store the earliest deadline of each of these rows, and return the earliest of all of them. `at`: the places of
    the deadlines in a row."""
    earliest = inf
    for b in range(len(rows_B)):
        due = inf
        for place in at:
            due = min(due, statistics_BQ[b, place])
        due_S[rows_B[b]] = due
        earliest = min(earliest, due)
    return earliest

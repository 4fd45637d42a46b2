"""The slab's blocks of memory: made longer, and written to.

Shapes: S rows in a block, W the width of one, B rows that are written.
"""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection.observation import Float64, Int64

LARGE_BYTES = 2**26
"""A block this large gets room for all the rows that there may ever be. Memory that nothing was written to is none."""


def longer(block_SW: npt.NDArray[Any], rows: int, most: int) -> npt.NDArray[Any]:
    """The block with so many rows; anything may stand in those that are new. `most`: as many as there may ever be.

    A large block is not copied for it, so a step that needs one row more does not wait for the whole slab. numpy asks the
    system for large pages for what it makes, if that is large: of a million streams every event's row is on another page.
    """
    whole = block_SW if block_SW.base is None else block_SW.base
    if len(whole) < rows:
        large = block_SW.nbytes >= LARGE_BYTES
        whole = _room(rows, most if large else rows, block_SW)
        whole[: len(block_SW)] = block_SW
    return whole[:rows]


def _room(rows: int, most: int, like: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """For `most`, or as many as the system promises memory for."""
    while most > rows:
        try:
            return np.empty((most, like.shape[1]), like.dtype)
        except MemoryError:
            most //= 2
    return np.empty((rows, like.shape[1]), like.dtype)


@compiled
def put(block_SW: npt.NDArray[Any], rows_B: Int64, block_BW: npt.NDArray[Any]) -> None:
    """Each row in its place."""
    for b in range(len(rows_B)):
        to_W, from_W = block_SW[rows_B[b]], block_BW[b]
        for w in range(len(from_W)):
            to_W[w] = from_W[w]


@compiled
def fall_due(due_S: Float64, rows_B: Int64, statistics_BQ: Float64, at: Int64) -> float:
    """Note the earliest deadline of each row; of all of them."""
    earliest = inf
    for b in range(len(rows_B)):
        due = inf
        for place in at:
            due = min(due, statistics_BQ[b, place])
        due_S[rows_B[b]] = due
        earliest = min(earliest, due)
    return earliest

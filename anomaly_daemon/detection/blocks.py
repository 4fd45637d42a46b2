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


def longer(block: npt.NDArray[Any], more: int) -> npt.NDArray[Any]:
    """A copy with room for more rows, in which anything may stand. numpy asks the system for large pages for what it makes
    anew and is large; they stay large when it is resized."""
    rows, width = block.shape
    copied = np.empty((rows + more, width), block.dtype)
    copied[:rows] = block
    return copied


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

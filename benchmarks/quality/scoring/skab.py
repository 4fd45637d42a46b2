"""SKAB's own protocol for outliers: every row is called normal or not, and all files count as one.

F1 of the anomalous rows, the false alarm rate (normal rows called anomalous) and the missing alarm rate (anomalous rows
called normal), in per cent (Katser and Kozitsin, "Skoltech Anomaly Benchmark", 2020).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.quality.series import Bool


def skab_scores(labels: Sequence[Bool], called: Sequence[Bool]) -> dict[str, float]:
    """`skab_f1` from 0 to 1, `skab_far` and `skab_mar` in per cent; of the rows that count."""
    label_N, called_N = np.concatenate(labels), np.concatenate(called)
    right, false, missed = (
        int(column.sum()) for column in (label_N & called_N, ~label_N & called_N, label_N & ~called_N)
    )
    return {
        "skab_f1": 2 * right / max(2 * right + false + missed, 1),
        "skab_far": 100 * false / max(int((~label_N).sum()), 1),
        "skab_mar": 100 * missed / max(int(label_N.sum()), 1),
    }

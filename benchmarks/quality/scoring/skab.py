"""SKAB's own protocol for outliers: every row is called normal or anomalous, and all files count as one.

It has the F1 of the anomalous rows, the false alarm rate (normal rows called anomalous) and the missing alarm rate
(anomalous rows called normal), both in per cent (Katser and Kozitsin, "Skoltech Anomaly Benchmark", 2020).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.quality.series import Bool, Float64


def past_training(score_N: Float64, start: int) -> Bool:
    """Return whether each row from `start` on has a score above all of the second half of the part before `start`. The
    first half is ignored because the detector may warm up in it."""
    return score_N[start:] > score_N[start // 2 : start].max(initial=-np.inf)


def best_threshold(labels: Sequence[Bool], scores: Sequence[Float64]) -> float:
    """Return the threshold that gives the highest F1 over all files when their labels are known. This is a bound, not a
    detector."""
    label_N, score_N = np.concatenate(labels), np.concatenate(scores)
    order = np.argsort(-score_N, kind="stable")
    f1_N = 2 * np.cumsum(label_N[order]) / (np.arange(1, len(order) + 1) + label_N.sum())
    last_of_equals = np.append(np.diff(score_N[order]) != 0, True)  # equal scores share one threshold
    return float(score_N[order][last_of_equals][np.argmax(f1_N[last_of_equals])])


def skab_scores(prefix: str, labels: Sequence[Bool], called: Sequence[Bool]) -> dict[str, float]:
    """Return `prefix`_f1 from 0 to 1, and `prefix`_far and `prefix`_mar in per cent, over the rows that count."""
    label_N, called_N = np.concatenate(labels), np.concatenate(called)
    right, false, missed = (
        int(column.sum()) for column in (label_N & called_N, ~label_N & called_N, label_N & ~called_N)
    )
    return {
        f"{prefix}_f1": 2 * right / max(2 * right + false + missed, 1),
        f"{prefix}_far": 100 * false / max(int((~label_N).sum()), 1),
        f"{prefix}_mar": 100 * missed / max(int(label_N.sum()), 1),
    }

"""AUC-PR: average precision over the events of a series, and precision and recall of the highest scores. Shapes: N
events."""

from __future__ import annotations

import numpy as np

from benchmarks.quality.series import Bool, Float64


def average_precision(label_N: Bool, score_N: Float64) -> float:
    """Return the precision at each threshold, weighted by the recall it adds; NaN without a label. Equal scores share
    one threshold."""
    if not label_N.any():
        return float("nan")
    order = np.argsort(-score_N, kind="stable")
    last_of_equals = np.append(np.diff(score_N[order]) != 0, True)
    true_N = np.cumsum(label_N[order])[last_of_equals]
    told_N = np.flatnonzero(last_of_equals) + 1
    return float(np.sum(np.diff(true_N, prepend=0) / true_N[-1] * true_N / told_N))


def precision_recall_at(label_N: Bool, score_N: Float64, most: int) -> tuple[float, float]:
    """Return the share of the `most` highest scores that are labelled, and the share of all labels among them."""
    highest = np.argsort(-score_N, kind="stable")[:most]
    found = int(label_N[highest].sum())
    return found / max(len(highest), 1), found / max(int(label_N.sum()), 1)

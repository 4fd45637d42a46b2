"""NAB's score: early detections in a window are rewarded, detections outside cost, and one threshold is used for all
files.

After Lavin and Ahmad, "Evaluating Real-Time Anomaly Detection Algorithms: the Numenta Anomaly Benchmark" (2015). Every
detection has a weight between -1 and 1 that depends on its place relative to the window that it is in, or else to the
last window before it. Of the detections within a window only the earliest counts. The raw score is the sum over all
files, at the threshold that is best for the profile. 0 is the score of a detector without any detection, 100 that of a
detector that finds every window at its first row.

Shapes: N events of a file, M rows that change the sum, or thresholds that are tried; K such rows of one window.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.quality.budget import episodes
from benchmarks.quality.series import Bool, Float64, Int64, Series, probation, spans

LEVELS = 400
"""Number of thresholds tried where episodes are the detections."""

REACH = 3.0
"""Window widths after a window beyond which a detection no longer belongs to it."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The weights of an application: the gain of a window found, and the costs of a false detection and of a missed
    window."""

    true_positive: float
    false_positive: float
    false_negative: float


PROFILES = {
    "standard": Profile(1.0, 0.11, 1.0),
    "low_fp": Profile(1.0, 0.22, 1.0),
    "low_fn": Profile(1.0, 0.11, 2.0),
}


def nab_scores(series: Sequence[Series], scores: Sequence[Float64]) -> dict[str, float]:
    """Return the score by profile, NaN without a window. `scores` are those of every row. A row is detected at a
    threshold that its score reaches."""
    columns = [_columns(one.label_N, score_N) for one, score_N in zip(series, scores, strict=True)]
    windows = sum(len(spans(one.label_N)) for one in series)
    if not windows:
        return dict.fromkeys(PROFILES, float("nan"))
    return {name: _best(columns, windows, profile) for name, profile in PROFILES.items()}


def nab_scores_of_episodes(series: Sequence[Series], scores: Sequence[Float64]) -> dict[str, float]:
    """Return the score by profile, where a detection is not each row above the threshold but the row at which an
    episode of such rows opens, which is what raises an alarm. One threshold for all files, and NaN, as above."""
    if not any(one.label_N.any() for one in series):
        return dict.fromkeys(PROFILES, float("nan"))
    kept = [score_N[probation(len(score_N)) :] for score_N in scores]
    level_M = np.unique(np.quantile(np.concatenate(kept), np.linspace(0.5, 1.0, LEVELS)))
    detected = [[episodes(score_N >= level)[0].astype(float) for score_N in scores] for level in level_M]
    return {
        name: max(_total(series, opened, profile) for opened in detected) / _perfect(series, profile)
        for name, profile in PROFILES.items()
    }


def _total(series: Sequence[Series], opened: Sequence[Float64], profile: Profile) -> float:
    """Return 100 times the gain, over having no detection, of detections at the rows that are 1; at least 0."""
    gain = 0.0
    for one, opened_N in zip(series, opened, strict=True):
        told = _columns(one.label_N, opened_N)
        for score_M, gain_M in _changes(told, profile):
            gain += float(gain_M[score_M > 0].sum())
    return 100.0 * max(gain, 0.0)


def _perfect(series: Sequence[Series], profile: Profile) -> float:
    return sum(len(spans(one.label_N)) for one in series) * (profile.true_positive + profile.false_negative)


def sigmoid(position: Float64) -> Float64:
    """Return the weight of a detection: 0 at a window's end, 0.99 at its start (position -1), and -1 from `REACH`
    widths after its end."""
    return np.where(position > REACH, -1.0, 2.0 / (1.0 + np.exp(5.0 * np.minimum(position, REACH))) - 1.0)


def weights(label_N: Bool) -> tuple[Float64, Int64]:
    """Return the weight of a detection at each row, and the number of the window that the row is in (-1: none)."""
    weight_N, window_N = np.full(len(label_N), -1.0), np.full(len(label_N), -1, np.int64)
    place_N = np.arange(len(label_N), dtype=np.float64)
    for number, (first, last) in enumerate(spans(label_N)):
        inside, width = slice(first, last + 1), last - first + 1
        weight_N[inside] = sigmoid(-(last - place_N[inside] + 1) / width) / sigmoid(np.array(-1.0))
        window_N[inside] = number
        weight_N[last + 1 :] = sigmoid((place_N[last + 1 :] - last) / max(width - 1, 1))
    return weight_N, window_N


@dataclass(frozen=True, slots=True)
class _Columns:
    """The rows of one file that count, that is without its probationary period."""

    score_N: Float64
    weight_N: Float64
    window_N: Int64


def _columns(label_N: Bool, score_N: Float64) -> _Columns:
    counts = slice(probation(len(label_N)), None)
    weight_N, window_N = weights(label_N)
    return _Columns(score_N[counts], weight_N[counts], window_N[counts])


def _best(columns: Iterable[_Columns], windows: int, profile: Profile) -> float:
    """Return the normalised score at the best threshold. Each row changes the sum when the threshold falls to its
    score."""
    changes = [change for one in columns for change in _changes(one, profile)]
    score_M, gain_M = (np.concatenate(parts) for parts in zip(*changes, strict=True))
    order = np.argsort(-score_M, kind="stable")
    score_M, total_M = score_M[order], np.cumsum(gain_M[order])
    reached = np.append(score_M[1:] != score_M[:-1], True)  # rows with the same score are detected together
    best = max(0.0, float(total_M[reached].max()))
    return 100.0 * best / (windows * (profile.true_positive + profile.false_negative))


def _changes(one: _Columns, profile: Profile) -> Iterable[tuple[Float64, Float64]]:
    """Yield (score, gain over having no detection) of the rows that change the sum of this file."""
    outside = one.window_N < 0
    yield one.score_N[outside], profile.false_positive * one.weight_N[outside]
    for number in range(int(one.window_N.max(initial=-1)) + 1):
        inside = np.flatnonzero(one.window_N == number)
        if len(inside):
            yield _window_changes(one.score_N[inside], one.weight_N[inside], profile)


def _window_changes(score_N: Float64, weight_N: Float64, profile: Profile) -> tuple[Float64, Float64]:
    """Return (score, gain) for the rows of one window. As the threshold falls, only a row before all those detected so
    far changes the gain of the window."""
    leads = score_N > np.append(-np.inf, np.maximum.accumulate(score_N)[:-1])
    score_K, weight_K = score_N[leads][::-1], profile.true_positive * weight_N[leads][::-1]
    return score_K, np.diff(weight_K, prepend=-profile.false_negative)

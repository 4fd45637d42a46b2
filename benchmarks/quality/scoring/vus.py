"""VUS-PR: the volume under the precision-recall surface over thresholds and tolerances.

After Paparrizos et al., "Volume Under the Surface" (VLDB 2022), as their library `vus` and TSB-AD compute it. Each
labelled span is softened at its edges over a tolerance of 0 to `window` events. Precision and recall are computed at
250 quantiles of the scores, and recall is multiplied by the share of spans that have any detection. The library
recomputes everything for each threshold and tolerance. Here each event is counted at the first threshold that it
reaches, so a tolerance takes one pass.

Shapes: N events, K thresholds, E events near a label, L lags.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.quality.series import Bool, Float64, Int64, Span, spans

LAGS = (3, 400)
"""The shortest and the longest lag among which a period is searched, as in TSB-AD."""
LONGEST_PERIOD, NO_PERIOD = 300, 125
"""The longest period that counts (compared before `LAGS[0]` is added), and the period of a series that shows none; in
events, as in TSB-AD."""
PERIOD_EVENTS = 20_000

THRESHOLDS = 250


def vus_pr(label_N: Bool, score_N: Float64, window: int) -> float:
    """Return the VUS-PR; NaN without a label. `window` is the largest tolerance: the `period` of the series."""
    labelled = spans(label_N)
    if not labelled:
        return float("nan")
    threshold_K = np.sort(score_N)[::-1][np.linspace(0, len(score_N) - 1, THRESHOLDS).astype(int)]
    # the first of the descending thresholds that an event reaches
    reached_N = np.searchsorted(-threshold_K, -score_N, side="left")
    told_K = np.cumsum(np.bincount(reached_N, minlength=THRESHOLDS))
    areas = [_area(labelled, label_N, reached_N, told_K, tolerance) for tolerance in range(window + 1)]
    return float(np.mean(areas))


def period(value_N: Float64) -> int:
    """Return the lag, in events, at which a series is most similar to itself: the highest local maximum of its
    autocorrelation."""
    known_N = value_N[:PERIOD_EVENTS][~np.isnan(value_N[:PERIOD_EVENTS])]
    if not len(known_N):
        return NO_PERIOD
    centred_N = known_N - known_N.mean()
    size = 2 * len(centred_N)
    spectrum = np.fft.rfft(centred_N, size)
    alike_L = np.fft.irfft(spectrum * spectrum.conj(), size)[LAGS[0] : min(LAGS[1] + 1, len(centred_N))]
    peaks = np.flatnonzero((alike_L[1:-1] > alike_L[:-2]) & (alike_L[1:-1] > alike_L[2:])) + 1
    if not len(peaks):
        return NO_PERIOD
    highest = int(peaks[np.argmax(alike_L[peaks])])
    return highest + LAGS[0] if LAGS[0] <= highest <= LONGEST_PERIOD else NO_PERIOD


def _area(labelled: Sequence[Span], label_N: Bool, reached_N: Int64, told_K: Int64, tolerance: int) -> float:
    """Return the area under the precision-recall curve at one tolerance."""
    soft_N = softened(label_N, labelled, tolerance)
    near_E = np.flatnonzero(soft_N)
    hits_K = _entering(reached_N[near_E], soft_N[near_E])
    margin_E = near_E[~label_N[near_E]]
    positives, margin_K = int(label_N.sum()), _entering(reached_N[margin_E], soft_N[margin_E])
    # the library counts half of what the softened margins add, as a compromise between too large and too small a recall
    recall_K = np.minimum(hits_K / (positives + margin_K / 2), 1.0)
    recall_K *= _share_seen(_widened(labelled, tolerance, len(label_N)), reached_N)
    return float(np.sum(np.diff(recall_K, prepend=0.0) * hits_K / told_K))


def _entering(reached_E: Int64, weight_E: Float64) -> Float64:
    return np.cumsum(np.bincount(reached_E, weight_E, minlength=THRESHOLDS))


def softened(label_N: Bool, labelled: Sequence[Span], tolerance: int) -> Float64:
    """Return 1 on a label. Outside, up to half the tolerance away, return the square root of the share of the tolerance
    that is left at that distance."""
    soft_N = label_N.astype(np.float64)
    distance = np.arange(1, tolerance // 2 + 1)
    margin = np.sqrt(1.0 - distance / max(tolerance, 1))
    for first, last in labelled:
        after, before = last + distance, first - distance
        soft_N[after[after < len(soft_N)]] += margin[after < len(soft_N)]
        soft_N[before[before >= 0]] += margin[before >= 0]
    return np.minimum(soft_N, 1.0)


def _widened(labelled: Sequence[Span], tolerance: int, events: int) -> list[Span]:
    """Return the spans with their margins; those that touch are merged."""
    half = tolerance // 2
    widened = [(max(labelled[0][0] - half, 0), labelled[0][1] + half)]
    for first, last in labelled[1:]:
        if widened[-1][1] < first - half:
            widened.append((first - half, last + half))
        else:
            widened[-1] = (widened[-1][0], last + half)
    return [(first, min(last, events - 1)) for first, last in widened]


def _share_seen(widened: Sequence[Span], reached_N: Int64) -> Float64:
    """Return the share of the spans in which some event has reached each threshold [K]."""
    first_seen = [int(reached_N[first : last + 1].min()) for first, last in widened]
    return np.cumsum(np.bincount(first_seen, minlength=THRESHOLDS)) / len(widened)

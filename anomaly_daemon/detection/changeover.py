"""The change from one detector to the next over the same streams: another model, or other rules, that apply from an
offset on.

What is known of a stream (its normaliser, cadence, calibration, watched values, open episodes) moves over unchanged.
Hidden and cell state mean nothing to another network (law L9). They are rebuilt from the stream's recent events, for
each stream when its row is next used, so that the change itself is short. The scales of the network's errors are reset.
If the new model normalises by another kind of statistics, a stream's recent events mean nothing either, and the network
starts from the blank state. Episodes stay open in every case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anomaly_daemon.detection import calibration
from anomaly_daemon.detection.columns import moved
from anomaly_daemon.detection.observation import Int64
from anomaly_daemon.detection.signals import NETWORK_SIGNALS
from anomaly_daemon.detection.state import Rows

if TYPE_CHECKING:
    from anomaly_daemon.detection.detector import Detector
    from anomaly_daemon.detection.scorer import Scorer

TOGETHER = 4096
"""Number of streams moved at once: a bound on the copies, and large enough for the network."""

NETWORK_COLUMNS = ("hidden", "cell")
NETWORK_ERRORS = ("error_mean", "error_variance", "error_count", "slow_error")
NORMALISED = ("window", "window_time", "window_codes", "norm_low", "norm_high", "norm_count")


def follow(former: Detector, new: Detector) -> Int64:
    """Copy every stream of `former` into `new`, and return the streams' rows there. `former` is not changed."""
    return _laid(former, new, take=False)


def hand_over(former: Detector, new: Detector) -> Int64:
    """As `follow`, but `former` must not be used any more, because `new` takes over its slab. An array of the slab
    whose rows have the same layout stays where it is. Of an array with another layout, the columns that both layouts
    have are moved."""
    return _laid(former, new, take=True)


def _laid(former: Detector, new: Detector, *, take: bool) -> Int64:
    if len(new.slab) or former.slab.buckets != new.slab.buckets:
        return change_over(former, new)
    same_network = former.scorer.digest == new.scorer.digest
    left = _left(former, new)
    if take:  # `rebuild` makes these blank, row by row
        left = tuple(name for name in left if name not in NETWORK_COLUMNS)
    new.hold(former.slab.under(new.slab.layout, left, take=take))
    if not same_network:
        _begin_anew(new)
    return new.slab.live()


def change_over(former: Detector, new: Detector) -> Int64:
    """`follow`, stream by stream, for the case that `new` has streams already or other buckets."""
    same_network, left = former.scorer.digest == new.scorer.digest, _left(former, new)
    live, there = np.sort(former.slab.live()), [np.zeros(0, np.int64)]
    for start in range(0, len(live), TOGETHER):
        row_B = live[start : start + TOGETHER]
        rows = moved(former.slab.gather(row_B), new.slab.layout, left)
        if not same_network:
            _begin_errors(rows, new.scorer)
        moved_B = new.slab.rows([former.slab.key_of[row] for row in row_B.tolist()])
        new.slab.scatter(moved_B, rows)
        there.append(moved_B)
        new.slab.stale_S[moved_B] = former.slab.stale_S[row_B] if same_network else True
    return np.concatenate(there)


def _left(former: Detector, new: Detector) -> tuple[str, ...]:
    """Return the columns that mean nothing to the new detector, and are left behind."""
    left = () if former.scorer.digest == new.scorer.digest else NETWORK_COLUMNS + NETWORK_ERRORS
    return left + (NORMALISED if former.scorer.normalizer.kind is not new.scorer.normalizer.kind else ())


def _begin_anew(new: Detector) -> None:
    slab = new.slab
    for start in range(0, len(slab.stale_S), TOGETHER):
        which = slice(start, start + TOGETHER)
        rows = Rows(slab.layout, slab.carried_SP[which], slab.statistics_SQ[which])
        _begin_errors(rows, new.scorer)
        rows.reset(~slab.used_S[which])
    slab.stale_S[:] = slab.used_S


def rebuild(detector: Detector, row_B: Int64) -> None:
    """Compute the network's state of those of these rows that are marked as stale. Its input changes only with the
    stream's events, and every event's row passes through here first. It may therefore be done at any time, and gives
    the same bits."""
    stale_B = np.unique(row_B[detector.slab.stale_S[row_B]])
    for start in range(0, len(stale_B), TOGETHER):
        some_B = stale_B[start : start + TOGETHER]
        rows = detector.slab.gather(some_B)
        for name in NETWORK_COLUMNS:
            if name in rows.layout.places:
                rows[name] = 0.0  # of a slab that was taken over: the other network's state
        detector.scorer.recurrence.rebuild(rows)
        detector.slab.scatter(some_B, rows)
    detector.slab.stale_S[stale_B] = False


def _begin_errors(rows: Rows, scorer: Scorer) -> None:
    """Reset the distributions of evidence from the network's errors to those of a new stream."""
    calibration.begin(rows, scorer.shared, slice(None), NETWORK_SIGNALS, scorer.rules.shared_events)

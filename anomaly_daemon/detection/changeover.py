"""From one detector to the next over the same streams: another model, or other rules, in force from an offset on.

What a stream is (its normaliser, cadence, calibration, watched values, open episodes) moves over as it stands. Hidden and
cell state mean nothing to another network (law L9): they are rebuilt from the stream's recent events, each stream's when
it is next looked at, so that the change itself is short. The scales of the network's errors begin anew. Where the new model
normalises by another kind of statistics, its recent events mean nothing either, and the network begins blank; episodes
stay open all the same.
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
"""Streams moved at once: a bound on the copies, and large enough for the network."""

NETWORK_COLUMNS = ("hidden", "cell")
NETWORK_ERRORS = ("error_mean", "error_variance", "error_count", "slow_error")
NORMALISED = ("window", "window_time", "window_codes", "norm_low", "norm_high", "norm_count")


def follow(former: Detector, new: Detector) -> Int64:
    """Copy every stream of `former` into `new`; returns their rows there. `former` stays as it is."""
    return _laid(former, new, take=False)


def hand_over(former: Detector, new: Detector) -> Int64:
    """As `follow`, but `former` is at its end, and must not be used any more: its slab changes hands. An array of it whose
    rows are laid out alike stays where it is; of another, the columns that both have are moved."""
    return _laid(former, new, take=True)


def _laid(former: Detector, new: Detector, *, take: bool) -> Int64:
    if len(new.slab) or former.slab.buckets != new.slab.buckets:
        return change_over(former, new)
    same_network = former.scorer.digest == new.scorer.digest
    left = _left(former, new)
    if take:  # `rebuild` makes them blank, row by row
        left = tuple(name for name in left if name not in NETWORK_COLUMNS)
    new.hold(former.slab.under(new.slab.layout, left, take=take))
    if not same_network:
        _begin_anew(new)
    return new.slab.live()


def change_over(former: Detector, new: Detector) -> Int64:
    """`follow`, stream by stream: `new` may have some already."""
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
    """The columns that mean nothing to the new one."""
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
    """The network's state of those of these rows that have none yet. What it is made of changes by the stream's events
    alone, and each of them comes through here first: so it may be done at any time, and gives the same bits."""
    stale_B = np.unique(row_B[detector.slab.stale_S[row_B]])
    for start in range(0, len(stale_B), TOGETHER):
        some_B = stale_B[start : start + TOGETHER]
        rows = detector.slab.gather(some_B)
        for name in NETWORK_COLUMNS:
            if name in rows.layout.places:
                rows[name] = 0.0  # of a slab that changed hands: the other network's
        detector.scorer.recurrence.rebuild(rows)
        detector.slab.scatter(some_B, rows)
    detector.slab.stale_S[stale_B] = False


def _begin_errors(rows: Rows, scorer: Scorer) -> None:
    """Evidence of the network's errors is what it would be in a new stream."""
    calibration.begin(rows, scorer.shared, slice(None), NETWORK_SIGNALS, scorer.rules.shared_events)

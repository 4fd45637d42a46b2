"""Interruptions: gaps many times as long as usual. What a stream did before such a gap says nothing about how it moves
after it.

Examples are a machine that stood still overnight, an outage, or a maintenance window that was skipped. If the first
value after it were compared with the values before it as if it had come a moment later, it would be an anomaly each
time. What is usual for the stream stays, and the value is compared with that, but the last values are forgotten. The
network starts from the blank state, as with a new stream, from which it was trained to be of use soon. The value counts
as no step from the one before it, and neither autoregression nor shape contributes until all the last values that it
needs have come after the gap.

A gap is long if the exponential distribution, which is that of events that keep no time at all, makes it improbable
(`timers.apart`); but only in a stream that keeps time. Payments keep none, and their last values are as informative
after one gap as after another. Events that come in bursts keep none either, and would always be at a beginning.

Shapes: B rows.
"""

from __future__ import annotations

from math import nan

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection.autoregression import ORDER
from anomaly_daemon.detection.observation import Float64
from anomaly_daemon.detection.passage import Moment
from anomaly_daemon.detection.state import Rows

LATE, SELDOM = 2.0, 1.0 / ORDER
"""A gap of more than `LATE` usual gaps is late, and a stream keeps time if at most a share of `SELDOM` of its gaps is
late. Between two late gaps there are then as many values, on average, as the autoregression needs. Of events that keep
no time, an eighth of the gaps is late."""

LONG = 24.0
"""A gap of more than this many usual gaps is long in training, where it is not known how often such gaps come."""

LAST = {
    "hidden": 0.0,
    "cell": 0.0,
    "window": nan,
    "window_time": nan,
    "last_x": nan,
    "autoregression_recent": nan,
}
"""The columns that hold the last values or what follows from them, and what they contain when there are none."""


def pass_over(rows: Rows, moment: Moment) -> Moment:
    """Forget the last values of the rows whose event comes after a long gap. Return the moment with these events' gaps
    unknown, as if no event had come before them."""
    apart_B = moment.apart_B
    if not apart_B.any():
        return moment
    for name in LAST.keys() & rows.layout.places.keys():
        rows[name][apart_B] = LAST[name]
    return moment._replace(gap_B=np.where(apart_B, nan, moment.gap_B))


def long(gap_B: Float64, usual_B: Float64) -> npt.NDArray[np.bool_]:
    """Return which gaps are long, whatever the stream's other gaps are."""
    return np.asarray((gap_B > LONG * usual_B) & (usual_B > 0.0))

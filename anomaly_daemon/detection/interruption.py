"""A gap many times as long as usual: what a stream did before it says nothing of how it moves after it.

A machine that stood still over night, an outage, a window of maintenance that was left out: held against the values before
it as if it came a moment later, the first value is an anomaly each time. What is usual of the stream stays, and the value
is held against that; what came last is forgotten. The network begins blank, as with a new stream, from where it was trained
to be of use soon. The value is no step from the one before it, and neither the autoregression nor the shape has a word
until all the last values that it asks for came after the gap.

A gap is long that the exponential law, of events which keep no time at all, calls improbable (`timers.apart`); of a stream
that keeps time. Payments keep none, and what came last says as much or as little after any of their gaps. Nor does what
comes in bursts, which would always be at a beginning.

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
"""A stream keeps time of which no larger share of the gaps is so many times the usual one: from one of them to the next
there are as many values, on average, as the autoregression asks for. Of events that keep none it is an eighth."""

LONG = 24.0
"""Usual gaps: longer ones are long where it is not known how often they come, in training."""

LAST = {
    "hidden": 0.0,
    "cell": 0.0,
    "window": nan,
    "window_time": nan,
    "last_x": nan,
    "autoregression_recent": nan,
}
"""The columns that hold what came last, and what stands there where nothing did."""


def pass_over(rows: Rows, moment: Moment) -> Moment:
    """Of the rows that come after a long gap, forget what came last. Their event then follows on none."""
    apart_B = moment.apart_B
    if not apart_B.any():
        return moment
    for name in LAST.keys() & rows.layout.places.keys():
        rows[name][apart_B] = LAST[name]
    return moment._replace(gap_B=np.where(apart_B, nan, moment.gap_B))


def long(gap_B: Float64, usual_B: Float64) -> npt.NDArray[np.bool_]:
    """Which gaps are, whatever the stream's other gaps."""
    return np.asarray((gap_B > LONG * usual_B) & (usual_B > 0.0))

"""A gap many times as long as usual: what a stream did before it says nothing of how it moves after it.

A machine that stood still over night, an outage, a window of maintenance that was left out: held against the values before
it as if it came a moment later, the first value is an anomaly each time. What is usual of the stream stays, and the value
is held against that; what came last is forgotten. The network begins blank, as with a new stream, from where it was trained
to be of use soon. The value is no step from the one before it, and neither the autoregression nor the shape has a word
until all the last values that it asks for came after the gap.

No more than one gap in `LONG` is so many times their mean, so a stream that comes in bursts is not always at a beginning.

Shapes: B rows.
"""

from __future__ import annotations

from math import nan

import numpy as np

from anomaly_daemon.detection.autoregression import ORDER
from anomaly_daemon.detection.passage import Moment
from anomaly_daemon.detection.state import Rows

LONG = float(ORDER)
"""Of the usual gap: from one such gap to the next there are as many values, on average, as the autoregression asks for."""

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
    long_B = moment.gap_B > LONG * moment.typical_gap_B
    long_B &= moment.typical_gap_B > 0.0
    if not long_B.any():
        return moment
    for name in LAST.keys() & rows.layout.places.keys():
        rows[name][long_B] = LAST[name]
    return moment._replace(gap_B=np.where(long_B, nan, moment.gap_B))

"""Feedback: the labels that people give alerts, and how these move the threshold of the stream.

The p-value that an alarm needs is lowered by the labels on the stream's last alerts: by half a decade for each false
alert, and by a quarter for each expected one. The move is therefore bounded (two decades), and it never loosens the
budget. It goes back as later alerts are labelled true, and a changed label moves it by the difference. A move takes
effect once no pattern episode is open, so that each episode is reported by one threshold, and can be recomputed from
its opening.

Shapes: Q statistics of a row.
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection.observation import Float64
from anomaly_daemon.detection.state import Column, Rows, StateLayout


class Label(StrEnum):
    """The label that a person gives an alert."""

    TRUE = "true"
    """The alert was an anomaly."""
    EXPECTED = "expected"
    """Unusual, but known in advance: a planned stop, a test."""
    FALSE = "false"
    """Nothing unusual."""
    NEW_NORMAL = "new_normal"
    """Unusual until now, and normal from now on."""


DECADES = {Label.TRUE: 0.0, Label.EXPECTED: 0.25, Label.FALSE: 0.5, Label.NEW_NORMAL: 0.0}
"""By how many decades each label lowers the p-value that an alarm needs. Alerts of an anomaly, or of what will be
normal, were right."""

REMEMBERED = 4
"""Number of a stream's alerts whose labels count: those whose first labels came last."""

LEAST = 1e-9
"""No threshold is moved below this p-value, because the tail is not informative about rarer events."""

COLUMNS = (
    Column("label_alert", (REMEMBERED,)),
    Column("label_decades", (REMEMBERED,)),
    Column("label_next"),
    Column("threshold_decades"),
)
"""The alerts that count, in reverse order of their first labels; the decades that each adds; the feedback offset after
the last label; and the decades in force."""


class At(NamedTuple):
    """The places in a row of the columns that decide its threshold."""

    label_decades: int
    threshold_decades: int


def at(layout: StateLayout) -> At:
    """Return the places of these columns in rows of this layout."""
    return At(*(layout.start(name) for name in At._fields))


def take_in(rows: Rows, alert_id: str, label: Label, offset: int) -> bool:
    """Store the label that was given, at this feedback offset, to an alert of the stream of the one row in `rows`.
    Return False if the row includes it already."""
    if offset < rows["label_next"][0]:
        return False
    name, alerts, decades = _number(alert_id), rows["label_alert"][0], rows["label_decades"][0]
    places = np.flatnonzero(alerts == name)
    if len(places) == 0:
        alerts[1:], decades[1:] = alerts[:-1].copy(), decades[:-1].copy()
        alerts[0] = name
    decades[places[0] if len(places) else 0] = DECADES[label]
    rows["label_next"] = offset + 1
    return True


@compiled
def moved(row_Q: Float64, at: At, threshold: float) -> float:
    """Return the threshold by which this row's patterns are judged."""
    decades = row_Q[at.threshold_decades]
    return max(threshold * 10.0**-decades, LEAST) if decades > 0 else threshold


@compiled
def settle(row_Q: Float64, at: At, is_open: bool) -> None:
    """Let the labels take effect if no pattern episode is open."""
    if is_open:
        return
    decades = 0.0
    for place in range(REMEMBERED):
        decades += row_Q[at.label_decades + place]
    row_Q[at.threshold_decades] = decades


def _number(alert_id: str) -> float:
    """Return the number that stands for an alert id: exact in a float64, and never 0, which means no alert."""
    return float(1 + int.from_bytes(blake2b(alert_id.encode("utf-8", "surrogatepass"), digest_size=6).digest(), "big"))

"""What a person says of an alert, and what it does to its stream's threshold.

The p-value that an alarm needs is lowered by what was said of the stream's last alerts: half a decade for each false one,
a quarter for each that was expected. So the move is bounded (two decades), never loosens the budget, goes back as later
alerts are called true, and who changes their mind moves it by the difference. It takes hold once no pattern episode is
open: an episode is told of by one threshold, and can be computed again from its opening.

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
    """One word on one alert."""

    TRUE = "true"
    """An anomaly."""
    EXPECTED = "expected"
    """Unusual, and no news: a planned stop, a test."""
    FALSE = "false"
    """Nothing unusual."""
    NEW_NORMAL = "new_normal"
    """It will be so from now on."""


DECADES = {Label.TRUE: 0.0, Label.EXPECTED: 0.25, Label.FALSE: 0.5, Label.NEW_NORMAL: 0.0}
"""By how much each lowers the p-value that an alarm needs. What is true, or will be normal, was told of rightly."""

REMEMBERED = 4
"""Alerts of a stream whose labels count, the last ones."""

LEAST = 1e-9
"""No threshold is moved below this p-value: the tail has nothing to say of what is rarer."""

COLUMNS = (
    Column("label_alert", (REMEMBERED,)),
    Column("label_decades", (REMEMBERED,)),
    Column("label_next"),
    Column("threshold_decades"),
)
"""The alerts that count, the newest first, and what each adds; the place after the last label; what is in force."""


class At(NamedTuple):
    """Where a row has what decides its threshold."""

    label_decades: int
    threshold_decades: int


def at(layout: StateLayout) -> At:
    """Where the rows of this layout hold it."""
    return At(*(layout.start(name) for name in At._fields))


def take_in(rows: Rows, alert_id: str, label: Label, offset: int) -> bool:
    """What was said, at this place of the feedback, of an alert of this one row's stream; False: it knew already."""
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
    """The threshold by which this row's patterns are judged."""
    decades = row_Q[at.threshold_decades]
    return max(threshold * 10.0**-decades, LEAST) if decades > 0 else threshold


@compiled
def settle(row_Q: Float64, at: At, is_open: bool) -> None:
    """Let what was said take hold, where no pattern episode is open."""
    if is_open:
        return
    decades = 0.0
    for place in range(REMEMBERED):
        decades += row_Q[at.label_decades + place]
    row_Q[at.threshold_decades] = decades


def _number(alert_id: str) -> float:
    """Exact in a float64, and never that of no alert."""
    return float(1 + int.from_bytes(blake2b(alert_id.encode("utf-8", "surrogatepass"), digest_size=6).digest(), "big"))

"""What a person says of an alert, and what it does to its stream's threshold.

The p-value that an alarm needs is lowered by what was said of the stream's last alerts: half a decade for each false one,
a quarter for each that was expected. So the move is bounded (two decades), never loosens the budget, goes back as later
alerts are called true, and who changes their mind moves it by the difference. It takes hold once no pattern episode is
open: an episode is told of by one threshold, and can be computed again from its opening.

Shapes: B rows.
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection.observation import Float64
from anomaly_daemon.detection.state import Column, Rows


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


def moved(rows: Rows, threshold_B: Float64) -> Float64:
    """The threshold [B] by which these rows' patterns are judged."""
    decades_B = rows["threshold_decades"]
    return np.where(decades_B > 0, np.maximum(threshold_B * 10.0**-decades_B, LEAST), threshold_B)


def settle(rows: Rows, open_B: npt.NDArray[np.bool_]) -> None:
    """Let what was said take hold where no pattern episode is open."""
    rows["threshold_decades"] = np.where(open_B, rows["threshold_decades"], rows["label_decades"].sum(axis=1))


def _number(alert_id: str) -> float:
    """Exact in a float64, and never that of no alert."""
    return float(1 + int.from_bytes(blake2b(alert_id.encode("utf-8", "surrogatepass"), digest_size=6).digest(), "big"))

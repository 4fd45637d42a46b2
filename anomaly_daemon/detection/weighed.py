"""What is known of an event after the network, and what it is worth as evidence.

Shapes: B rows, D numeric and C categorical features, F = D + C, J kinds of evidence.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection.observation import Float32, Float64, Int64
from anomaly_daemon.detection.relation import Room
from anomaly_daemon.detection.shape import PROTOTYPES


class Seen(NamedTuple):
    """What is known of one event of each row after the network step. NaN: not known."""

    time_B: Int64
    x_BD: Float64
    """The transformed values."""
    raw_B2F: Float64
    """Errors of both heads, not standardised."""
    pace_B: Float64
    gap_B: Float64
    """Microseconds since the stream's previous event."""


class Weighed(NamedTuple):
    """What the event is worth as evidence, and what it was compared with."""

    evidence_BJ: Float64
    """On a log scale."""
    parts_BJ2F: Float64
    """The squared parts of each kind of evidence, by head and feature."""
    standard_B2F: Float64
    """Errors in standard deviations of the stream's own errors."""
    level_BD: Float64
    """Mean of the values before this event; `level_scale_BD` is their standard deviation."""
    level_scale_BD: Float64
    usual_BD: Float64
    """The usual value at this time of day; `usual_scale_BD` is the standard deviation from it."""
    usual_scale_BD: Float64
    related_BD: Float64
    """What the other fields suggest; `related_scale_BD` is the standard deviation from it."""
    related_scale_BD: Float64
    related_off_BD: Float64
    """Distance from that value, in standard deviations of the feature."""
    regressed_BD: Float64
    """What the stream's own last values predict; `regressed_scale_BD` is the standard deviation from it."""
    regressed_scale_BD: Float64
    regressed_off_BD: Float64
    shaped_BD: Float64
    """What the nearest shape of the stream suggests; `shaped_scale_BD` is the standard deviation from it."""
    shaped_scale_BD: Float64
    shaped_off_BD: Float64
    """The largest difference of the last values from that shape, in standard deviations of the feature."""
    shaped_there_BD: Float64
    """The value of the shape at the place of that difference."""
    rests_BD: npt.NDArray[np.bool_]
    """Whether the value is exactly the last one."""
    near_K: Float32
    """Work space for the distances of a piece from the prototypes of its field."""
    room: Room

    @classmethod
    def blank(cls, rows: int, kinds: int, numeric: int, features: int) -> Self:
        """Return arrays for `rows` rows."""
        parts_BJ2F = np.zeros((rows, kinds, 2, features))
        standard_B2F, evidence_BJ = np.empty((rows, 2, features)), np.empty((rows, kinds))
        against = {name: np.full((rows, numeric), np.nan) for name in cls._fields[3:-3]}
        rests_BD, near_K = np.zeros((rows, numeric), bool), np.empty(PROTOTYPES, np.float32)
        room = Room.blank(numeric)
        return cls(evidence_BJ, parts_BJ2F, standard_B2F, **against, rests_BD=rests_BD, near_K=near_K, room=room)

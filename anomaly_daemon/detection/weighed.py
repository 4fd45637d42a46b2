"""What is known of an event after the network, and what it comes to as evidence.

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
    """What is known of one event of each row, after the network has passed over it. NaN: not known."""

    time_B: Int64
    x_BD: Float64
    """The transformed values."""
    raw_B2F: Float64
    """Errors of both heads."""
    pace_B: Float64
    gap_B: Float64
    """Microseconds since the stream's event before."""


class Weighed(NamedTuple):
    """What the event is worth as evidence, and what it was held against."""

    evidence_BJ: Float64
    """On a log scale."""
    parts_BJ2F: Float64
    """What each is the sum of."""
    standard_B2F: Float64
    """Errors in standard deviations of the stream's own."""
    level_BD: Float64
    """Mean of the values before this event, and their standard deviation."""
    level_scale_BD: Float64
    usual_BD: Float64
    """At this time of day, and the standard deviation from it."""
    usual_scale_BD: Float64
    related_BD: Float64
    """By the other fields, and the standard deviation from that."""
    related_scale_BD: Float64
    related_off_BD: Float64
    """How far from that, in deviations of the feature's own."""
    regressed_BD: Float64
    """By the stream's own last values, and the standard deviation from that."""
    regressed_scale_BD: Float64
    regressed_off_BD: Float64
    shaped_BD: Float64
    """By the nearest shape that the stream has shown, and the standard deviation from that."""
    shaped_scale_BD: Float64
    shaped_off_BD: Float64
    """How far the last values are from that shape where it is most, in deviations of the feature's own ..."""
    shaped_there_BD: Float64
    """... and the shape there."""
    rests_BD: npt.NDArray[np.bool_]
    """Its value is the last one, to the last digit."""
    near_K: Float32
    """Room for the distances of a piece from the prototypes of its field."""
    room: Room

    @classmethod
    def blank(cls, rows: int, kinds: int, numeric: int, features: int) -> Self:
        """Room for so many."""
        parts_BJ2F = np.zeros((rows, kinds, 2, features))
        standard_B2F, evidence_BJ = np.empty((rows, 2, features)), np.empty((rows, kinds))
        against = {name: np.full((rows, numeric), np.nan) for name in cls._fields[3:-3]}
        rests_BD, near_K = np.zeros((rows, numeric), bool), np.empty(PROTOTYPES, np.float32)
        room = Room.blank(numeric)
        return cls(evidence_BJ, parts_BJ2F, standard_B2F, **against, rests_BD=rests_BD, near_K=near_K, room=room)

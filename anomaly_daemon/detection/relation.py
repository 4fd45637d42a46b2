"""Fields that depend on each other: each value is compared with what all the other fields suggest at the same moment.

A flow that falls while its pump runs as before may be an ordinary flow, and the pump's an ordinary speed. The
deviations of the fields from their long-term means have a covariance, which the stream shows over its long memory. The
rows of its inverse P are each field's regression on all the others (Whittaker 1990): the part of field d that they do
not explain is (P z)_d / P_dd. A ridge keeps fields that are nearly the same from being compared to the last digit.

Not every field depends on others. The covariance of a field that rests most of the time, as a switch does, comes from
its few moves. A field of which the others explain less than half has no relation that could break. Neither is judged.
Where relations hold for a while and then change, their residuals wander, and are measured by how far they usually do.

Shapes: P carried numbers and Q statistics of a row, D numeric features.
"""

from __future__ import annotations

from math import isnan, nan
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection import errors, joint, moments, precision
from anomaly_daemon.detection.averages import Window, moved
from anomaly_daemon.detection.errors import Sides
from anomaly_daemon.detection.observation import Float32, Float64
from anomaly_daemon.detection.precision import place
from anomaly_daemon.detection.quiet import RESTS
from anomaly_daemon.detection.rules import MOST_RELATED
from anomaly_daemon.detection.state import Column, StateLayout

KNOWN_AFTER, TRUSTED_AFTER = 50, 600
"""Events before a field is compared with the others, and residuals before it is judged by them."""

RIDGE = 0.1
"""Added to each field's variance, which is about 1."""

EVERY = 32
"""Events between two inversions of the covariance."""

EXPLAINED = 0.5
"""The least share of a field's variance that the others must have explained so far for the field to be judged."""

WINSOR, RESIDUAL_WINSOR = 5.0, 10.0
"""A field's deviation counts as at most the first, in its standard deviations; a residual as at most the second, in its
own."""

RESIDUAL_FLOOR = 0.05
"""The least standard deviation of a residual, in standard deviations of its field."""

SQUARE_WINSOR = 16.0
"""The square of the moving average is learned as at most this many times its usual value."""

SWEEPS = 2
"""Iterations in which missing fields are estimated from the others."""

UNIT = 15.0
"""Factor on the evidence, with which its logarithm also separates small evidence in the bins of a distribution."""


class At(NamedTuple):
    """Where a row stores each; the triangles of the covariance and of its inverse are among the carried numbers."""

    covariance: int
    inverse: int
    residual: moments.At
    slow: int
    """The moving average of the residuals, in their standard deviations."""
    square: int
    """The usual square of that moving average."""
    rests: int
    """The column of `quiet`."""
    events: int
    joint: joint.At


class Fields(NamedTuple):
    """The fields of one event, [D] each."""

    x: Float64
    seen: Float64
    """How many values each field has had."""
    level: Float64
    scale: Float64


class Residuals(NamedTuple):
    """The result for one event, [D] each."""

    part: Float64
    """Each field's part of the evidence."""
    expected: Float64
    """The value that the other fields suggest, in the feature's transformed units."""
    scale: Float64
    """Standard deviation from the expected value."""
    off: Float64
    """What the others do not explain of the value, in standard deviations of the field."""


class Weights(NamedTuple):
    """The settings that follow from the rules."""

    slowest: float
    """One over the memory."""
    window: Window
    joint: Window


class Met(NamedTuple):
    """The result for one event as a whole."""

    hangs: bool
    """Whether a field was present that depends on others, and so was judged."""
    distance: float
    """The distance of all fields at once (`joint`); NaN where it is not known."""


class Room(NamedTuple):
    """Work space for one event."""

    standing_D: Float64
    product_D: Float64
    rate_D: Float64
    known_D: npt.NDArray[np.bool_]
    apart_D: npt.NDArray[np.bool_]
    nothing_D: npt.NDArray[np.bool_]
    """False for every field."""
    square_DD: Float64

    @classmethod
    def blank(cls, numeric: int) -> Self:
        """Return work space for `numeric` fields."""
        standing_D, product_D, rate_D = (np.empty(numeric) for _ in range(3))
        known_D, apart_D, nothing_D = (np.zeros(numeric, bool) for _ in range(3))
        return cls(standing_D, product_D, rate_D, known_D, apart_D, nothing_D, np.empty((numeric, numeric)))


@compiled
def possible(numeric: int) -> bool:
    """Return whether relations are kept between this many fields."""
    return bool(2 <= numeric <= MOST_RELATED)


def columns(numeric: int) -> tuple[list[Column], list[Column]]:
    """Return the columns that a row must have: (carried, statistics)."""
    fields = numeric if possible(numeric) else 0
    triangle = (fields * (fields + 1) // 2,)
    own = [Column(f"relation_{name}", (fields,)) for name in ("slow", "square")]
    carried = [Column("relation_covariance", triangle), Column("relation_inverse", triangle)]
    more = joint.columns(fields)
    return [*carried, *more[0]], [
        *more[1],
        *moments.columns("relation", (fields,)),
        *own,
        Column("relation_events", (min(fields, 1),)),
    ]


@compiled
def begin(row_Q: Float64, at: At, d: int) -> None:
    """Reset field `d`: its covariances with other fields are learned as if it were present for the first time."""
    moments.begin(row_Q, at.residual, d, 0.0, 0.0, 0.0)
    row_Q[at.slow + d] = 0.0


def at(layout: StateLayout) -> At:
    """Return where rows of this layout store each."""
    covariance, inverse = (layout.start(f"relation_{name}") for name in ("covariance", "inverse"))
    slow, square, events = (layout.start(f"relation_{name}") for name in ("slow", "square", "events"))
    residual, rests = moments.at(layout, "relation"), layout.start("quiet_rests")
    return At(covariance, inverse, residual, slow, square, rests, events, joint.at(layout))


@compiled
def meet(
    carried_P: Float32,
    row_Q: Float64,
    at: At,
    fields: Fields,
    weights: Weights,
    sides: Sides,
    room: Room,
    evidence: Residuals,
) -> Met:
    """Compare an event with the relations, into `evidence`, and let the row learn the event."""
    numeric, any_judged, distance = len(fields.x), False, nan
    stands = _stand(carried_P, row_Q, at, fields, room) and row_Q[at.events] >= KNOWN_AFTER
    if stands:
        precision.times(carried_P, at.inverse, room.standing_D, room.product_D)
    for d in range(numeric):
        evidence.part[d], evidence.off[d] = 0.0, nan
        if stands and not isnan(fields.x[d]):
            _hold(carried_P, row_Q, at, fields, d, weights, room, evidence)
            if _hangs(carried_P, row_Q, at, d):
                slow, usual = errors.counted(sides, d, row_Q[at.slow + d]), row_Q[at.square + d]
                evidence.part[d] = UNIT * slow * slow / (max(usual, 1.0 / weights.window.events) * numeric)
                any_judged = True
    if stands:
        distance = joint.meet(carried_P, row_Q, at.joint, room.standing_D, sides, weights.joint, room.product_D)
    _learn(carried_P, row_Q, at, fields, weights.slowest, room)
    return Met(any_judged, distance)


@compiled
def _shown(row_Q: Float64, at: At, d: int) -> float:
    """Return at how many events this field was present. For a field that appeared later this is `KNOWN_AFTER` too many,
    because only residuals are counted."""
    return float(row_Q[at.residual.count + d] + KNOWN_AFTER)


@compiled
def _stand(carried_P: Float32, row_Q: Float64, at: At, fields: Fields, room: Room) -> bool:
    """Compute where each field is, in standard deviations; return whether two are present to be compared. A missing
    field is taken to be where the others suggest, by Gauss-Seidel iteration."""
    numeric, there = len(fields.x), 0
    for d in range(numeric):
        off = (fields.x[d] - fields.level[d]) / fields.scale[d]
        known = not isnan(off) and fields.seen[d] >= moments.KNOWN_AFTER
        room.known_D[d], room.standing_D[d] = known, min(max(off, -WINSOR), WINSOR) if known else 0.0
        there += known
    if 2 <= there < numeric and row_Q[at.events] >= KNOWN_AFTER:
        for _ in range(SWEEPS):
            for d in range(numeric):
                if not room.known_D[d]:
                    room.standing_D[d] -= _unexplained(carried_P, at, room.standing_D, d)
    return there >= 2


@compiled
def _unexplained(carried_P: Float32, at: At, standing_D: Float64, d: int) -> float:
    """Return what the others do not explain of field `d`."""
    total = 0.0
    for e in range(len(standing_D)):
        total += float(carried_P[at.inverse + place(d, e)]) * standing_D[e]
    return total / float(carried_P[at.inverse + place(d, d)])


@compiled
def _hold(
    carried_P: Float32,
    row_Q: Float64,
    at: At,
    fields: Fields,
    d: int,
    weights: Weights,
    room: Room,
    evidence: Residuals,
) -> None:
    """Compare field `d` with the others, and learn what they do not explain of it."""
    off = evidence.off[d] = room.product_D[d] / float(carried_P[at.inverse + place(d, d)])
    scale = moments.scale(row_Q, at.residual, d, RESIDUAL_FLOOR)
    evidence.expected[d] = fields.level[d] + fields.scale[d] * (room.standing_D[d] - off)
    evidence.scale[d] = fields.scale[d] * scale
    standard = moments.meet(row_Q, at.residual, d, off, scale, weights.slowest)
    slow = moved(row_Q, at.slow + d, min(max(standard, -RESIDUAL_WINSOR), RESIDUAL_WINSOR), weights.window)
    usual, rate = row_Q[at.square + d], max(weights.slowest, 1.0 / row_Q[at.residual.count + d])
    most = SQUARE_WINSOR * max(usual, 1.0 / weights.window.events)
    row_Q[at.square + d] += rate * (min(slow * slow, most) - usual)


@compiled
def _hangs(carried_P: Float32, row_Q: Float64, at: At, d: int) -> bool:
    """Return whether the others explain enough of field `d`, and it moves often enough, for it to be judged by them."""
    variance = float(carried_P[at.covariance + place(d, d)])
    explained = row_Q[at.residual.variance + d] < (1.0 - EXPLAINED) * variance
    return bool(explained and row_Q[at.residual.count + d] > TRUSTED_AFTER and row_Q[at.rests + d] < RESTS)


@compiled
def _learn(carried_P: Float32, row_Q: Float64, at: At, fields: Fields, slowest: float, room: Room) -> None:
    """Learn the covariance of each pair of present fields, at the rate of the one that was present at fewer events."""
    numeric, z_D = len(fields.x), room.standing_D
    events = row_Q[at.events] = row_Q[at.events] + 1.0
    for d in range(numeric):
        room.rate_D[d] = max(1.0 / min(events, _shown(row_Q, at, d)), slowest)
    for d in range(numeric):
        start = at.covariance + place(d, 0)
        pair_E = carried_P[start : start + d + 1]
        for e in range(d + 1 if room.known_D[d] else 0):
            step = max(room.rate_D[d], room.rate_D[e]) * (z_D[d] * z_D[e] - float(pair_E[e]))
            pair_E[e] += step if room.known_D[e] else 0.0
    if events == KNOWN_AFTER or events % EVERY == 0:
        precision.invert(carried_P, at.covariance, at.inverse, RIDGE, room.nothing_D, room.square_DD)
        for d in range(numeric):
            room.apart_D[d] = row_Q[at.rests + d] >= RESTS or _shown(row_Q, at, d) <= joint.TRUSTED_AFTER
        joint.learn(carried_P, at.joint, room.apart_D, room.square_DD)

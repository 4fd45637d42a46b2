"""Floors: deviations that are too small to matter, however improbable. Each numeric field may have a floor in its own
units.

A kind of evidence counts if a field that leads it is far enough off: a field with the largest share of the evidence, or
nearly the largest. Evidence that is led only by fields under their floors counts as evidence with a p-value of 1, and
the event is judged again by what is left. A field that wobbles a little therefore does not hide a fault in another
field.

How far off a field is depends on the kind. For evidence from the network's errors, from steps, from the last values and
from all fields at once, it is the distance of this event's value from the predicted one. For shapes the last values
are averaged in twos, and the mean that is furthest off counts. For evidence from values it is the distance of their
moving average. A moving average limits values that are far off, so a value that is further off than it takes in counts
as it is. For quiet evidence it is how much less the value moves from event to event.

Shapes: B rows, D numeric features, F all features, J kinds of evidence, Q statistics of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isnan, nan
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection import expectation, judging, quiet, signals
from anomaly_daemon.detection.errors import Sides, counted
from anomaly_daemon.detection.judging import Judgement
from anomaly_daemon.detection.observation import Float64, Numeric, Transform, UInt8
from anomaly_daemon.detection.signals import Signal
from anomaly_daemon.detection.verdict import Verdict

NEARLY = 0.5
"""A field leads if it has this share of the largest share or more. Shares are fourth powers of errors, so its error is
at least 0.84 of the largest."""

SMALL, PERHAPS, FAR = 0, 1, 2
"""How far off a field is, compared with its floors. `PERHAPS` means that its value is missing."""


class Floors(NamedTuple):
    """The floors of all numeric fields, [D] each; 0 where there is none."""

    least_D: Float64
    """The floor in the field's own units."""
    share_D: Float64
    """The floor as a share of the size of the expected value. Where both are set, both must be reached."""
    sides: Sides
    log_D: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, numeric: Sequence[Numeric]) -> Self | None:
        """Return the floors that the schema sets; None if no field has one."""
        least_D = np.array([one.min_deviation for one in numeric], np.float64)
        share_D = np.array([one.min_deviation_percent for one in numeric], np.float64) / 100.0
        if not (least_D.any() or share_D.any()):
            return None
        log_D = np.array([one.transform is Transform.LOG for one in numeric], bool)
        return cls(least_D, share_D, Sides.of(numeric), log_D)


class Aside(NamedTuple):
    """What is too small to matter in the events of a round. P-values are NaN where nothing is known."""

    event_B: Float64
    """The p-value with all evidence."""
    alarm_B: Float64
    """The p-value with the evidence that is known to be far enough off. Alarms are decided by it."""
    calm_B: Float64
    """The p-value with the evidence that is, or may be, far enough off. Calm events are decided by it: an event is calm
    because it is known to be too small, not because a value is missing."""
    small_BD: npt.NDArray[np.bool_]
    """The fields that are not known to be far enough from the value with which the leading evidence compares them."""
    size_BJD: UInt8
    """How far off each field is by each kind of evidence: `SMALL`, `PERHAPS` or `FAR`."""

    @classmethod
    def blank(cls, rows: int, kinds: int, numeric: int) -> Self:
        """Return uninitialised arrays of this size."""
        event_B, alarm_B, calm_B = (np.empty(rows) for _ in range(3))
        return cls(
            event_B, alarm_B, calm_B, np.empty((rows, numeric), bool), np.empty((rows, kinds, numeric), np.uint8)
        )


def settle(aside: Aside, wide_B: Float64, found: Verdict) -> None:
    """Correct which events are calm, and whether their streams are surprising. An event too small for an alarm is calm
    only if it is known to be too small. Then the stream's average surprise does not keep its episode open either.
    `wide_B`: the p-value above which an event is calm."""
    np.logical_and(found.calm, aside.calm_B > wide_B, out=found.calm)
    small_B = found.calm & (aside.event_B <= wide_B)
    np.logical_and(found.surprising, ~small_B, out=found.surprising)


@compiled
def set_aside(
    statistics_BQ: Float64,
    at: signals.At,
    floors: Floors,
    odds_J: Float64,
    values_BD: Float64,
    x_BD: Float64,
    found: Judgement,
    aside: Aside,
) -> None:
    """Judge each event again by its floors, into `aside`. What `found` holds on the leading evidence is replaced if
    another kind leads now. The rows have been updated with the event already."""
    for b in range(len(values_BD)):
        for j in range(len(odds_J)):
            for d in range(values_BD.shape[1]):
                off, reference = _off(statistics_BQ[b], at, floors, values_BD[b, d], x_BD[b, d], found, b, j, d)
                aside.size_BJD[b, j, d] = _size(floors, d, off, reference)
        aside.event_B[b] = found.combined.p[b]
        led = _judge_anew(odds_J, found, aside, b)
        if led != found.combined.leading[b]:
            found.combined.leading[b] = led
            judging.led_by(found, b, led)
            for d in range(values_BD.shape[1]):
                weighed, predicted, log, compared_BD = found.weighed, found.predicted, floors.log_D[d], found.compared
                expectation.against(statistics_BQ[b], at, weighed, led, predicted, x_BD[b, d], log, compared_BD, b, d)
        for d in range(values_BD.shape[1]):
            aside.small_BD[b, d] = aside.size_BJD[b, led, d] != FAR
            if aside.small_BD[b, d]:
                found.compared.deviation[b, d] = nan


@compiled
def _off(
    row_Q: Float64,
    at: signals.At,
    floors: Floors,
    value: float,
    x: float,
    found: Judgement,
    b: int,
    j: int,
    d: int,
) -> tuple[float, float]:
    """Return how far off a field is by this kind of evidence, and the value that it is compared with, in the field's
    own units."""
    if j == Signal.QUIET:
        often, lately = quiet.sizes(row_Q, at.values.quiet, d)
        level = expectation.untransformed(found.weighed.level_BD[b, d], floors.log_D[d])
        less = found.weighed.level_BD[b, d] - max(often - lately, 0.0)
        return expectation.untransformed(less, floors.log_D[d]) - level, level
    if expectation.by_network(j):
        expected = found.compared.expected[b, d]
        return value - expected, expected
    middle, _ = expectation.usual(found.weighed, j, b, d)
    if j == Signal.SHAPE:
        middle = found.weighed.shaped_there_BD[b, d]
    reference, off = expectation.untransformed(middle, floors.log_D[d]), x - middle
    if j == Signal.SHAPE:
        off = found.weighed.shaped_off_BD[b, d] * found.weighed.level_scale_BD[b, d]
    elif j != Signal.JOINT and j != Signal.AUTOREGRESSION:
        off = expectation.standing(row_Q, at, found.weighed, j, x, b, d)
    return expectation.untransformed(middle + off, floors.log_D[d]) - reference, reference


@compiled
def _size(floors: Floors, d: int, off: float, reference: float) -> int:
    """Compare a distance with the floors of a field. A missing value is never `FAR` if the field has a floor."""
    least, share = floors.least_D[d], floors.share_D[d]
    if least == 0.0 and share == 0.0:
        return FAR
    deviation = abs(counted(floors.sides, d, off))
    if isnan(deviation):
        return PERHAPS
    return FAR if deviation >= least and deviation >= share * abs(reference) else SMALL


@compiled
def _judge_anew(odds_J: Float64, found: Judgement, aside: Aside, b: int) -> int:
    """Compute `combination.harmonic` with a p-value of 1 for evidence under its floors, for alarms and for calm. Return
    the kind that leads now, or the former one if none is left."""
    total, alarm, calm, least, leading = 0.0, 0.0, 0.0, inf, found.combined.leading[b]
    for j in range(len(odds_J)):
        p, odds = found.judged.p[b, j], odds_J[j] * found.judged.weight[b, j]
        if isnan(p):
            continue
        size = _of_kind(found.weighed.parts_BJ2F[b, j], aside.size_BJD[b], j)
        total += odds
        alarm += odds / max(p, 1e-300) if size == FAR else odds
        calm += odds / max(p, 1e-300) if size != SMALL else odds
        if size == FAR and p / odds < least:
            least, leading = p / odds, j
    aside.alarm_B[b] = total / alarm if total > 0 else nan
    aside.calm_B[b] = total / calm if total > 0 else nan
    return int(leading)


@compiled
def _of_kind(part_2F: Float64, size_JD: UInt8, j: int) -> int:
    """Return whether a field that leads this evidence is far enough off: `PERHAPS` if it is missing, or far enough off
    by another kind only. Evidence that belongs to no field is far enough off for all floors."""
    if j == Signal.BURST:
        return FAR
    most, size = 0.0, SMALL
    for f in range(part_2F.shape[1]):
        most = max(most, part_2F[0, f] + part_2F[1, f])
    for f in range(part_2F.shape[1]):
        if part_2F[0, f] + part_2F[1, f] >= NEARLY * most:
            if f >= size_JD.shape[1] or size_JD[j, f] == FAR:
                return FAR
            for k in range(len(size_JD)):
                size = PERHAPS if size_JD[k, f] == FAR or size_JD[j, f] == PERHAPS else size
    return size

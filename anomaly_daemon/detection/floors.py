"""Deviations that are too small to matter, however improbable: each numeric field may have a floor in its own units.

Evidence of a kind counts where a field that leads it is far enough off: one with the largest share of it, or nearly.
Evidence that only fields under their floors lead says nothing, as one with a p-value of 1 does, and the event is judged
anew by what is left. So a field that wobbles a little hides no other's fault.

How far off a field is depends on the kind. Evidence of the network's errors, of steps, of the last values and of all
fields at once: this event's value from what was predicted. Of shapes: the mean of two of the last values that is furthest
off. Evidence of values: their moving average. That takes a value far off for less than it is, so one which is that far off
stands for itself. Of quiet: how much less it moves from value to value.

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
"""A field leads where it has this much of the largest share. Shares are of fourth powers: it errs 0.84 as much."""

SMALL, PERHAPS, FAR = 0, 1, 2
"""How far off a field is, against its floors; the second where it is missing."""


class Floors(NamedTuple):
    """[D] each; 0: none."""

    least_D: Float64
    """In the field's own units ..."""
    share_D: Float64
    """... and of the size of what was expected."""
    sides: Sides
    log_D: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, numeric: Sequence[Numeric]) -> Self | None:
        """As the schema says; None where no field has one."""
        least_D = np.array([one.min_deviation for one in numeric], np.float64)
        share_D = np.array([one.min_deviation_percent for one in numeric], np.float64) / 100.0
        if not (least_D.any() or share_D.any()):
            return None
        log_D = np.array([one.transform is Transform.LOG for one in numeric], bool)
        return cls(least_D, share_D, Sides.of(numeric), log_D)


class Aside(NamedTuple):
    """What of a round's events is too small to matter. P-values: NaN where nothing is known."""

    event_B: Float64
    """With everything that there is ..."""
    alarm_B: Float64
    """... with what is known to be far enough off: what alarms go by ..."""
    calm_B: Float64
    """... and with what may be: an event is calm by what is known to be too small, not by what is missing."""
    small_BD: npt.NDArray[np.bool_]
    """The fields that are not known to be far enough off what the leading evidence holds them against."""
    size_BJD: UInt8
    """How far off each kind of evidence has each field."""

    @classmethod
    def blank(cls, rows: int, kinds: int, numeric: int) -> Self:
        """Room for so many."""
        event_B, alarm_B, calm_B = (np.empty(rows) for _ in range(3))
        return cls(
            event_B, alarm_B, calm_B, np.empty((rows, numeric), bool), np.empty((rows, kinds, numeric), np.uint8)
        )


def settle(aside: Aside, wide_B: Float64, found: Verdict) -> None:
    """What was too small for an alarm is calm where it is known to be too small, and then its stream's being surprising on
    average holds no episode open. `wide_B`: what the p-value of a calm event is above."""
    np.logical_and(found.calm, aside.calm_B > wide_B, out=found.calm)
    small_B = found.calm & (aside.event_B <= wide_B)
    np.logical_and(found.odd, ~small_B, out=found.odd)


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
    """Judge each event anew, into `aside`; of `found`, what tells of the leading evidence. The rows have moved on."""
    for b in range(len(values_BD)):
        for j in range(len(odds_J)):
            for d in range(values_BD.shape[1]):
                off, held = _off(statistics_BQ[b], at, floors, values_BD[b, d], x_BD[b, d], found, b, j, d)
                aside.size_BJD[b, j, d] = _size(floors, d, off, held)
        aside.event_B[b] = found.combined.p[b]
        led = _judge_anew(odds_J, found, aside, b)
        if led != found.combined.leading[b]:
            found.combined.leading[b] = led
            judging.led_by(found, b, led)
            for d in range(values_BD.shape[1]):
                weighed, predicted, log, held_BD = found.weighed, found.predicted, floors.log_D[d], found.held
                expectation.against(statistics_BQ[b], at, weighed, led, predicted, x_BD[b, d], log, held_BD, b, d)
        for d in range(values_BD.shape[1]):
            aside.small_BD[b, d] = aside.size_BJD[b, led, d] != FAR
            if aside.small_BD[b, d]:
                found.held.deviation[b, d] = nan


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
    """How far evidence of this kind has a field from what it holds it against, and that: in the field's own units."""
    if j == Signal.QUIET:
        often, lately = quiet.sizes(row_Q, at.values.quiet, d)
        level = expectation.untransformed(found.weighed.level_BD[b, d], floors.log_D[d])
        less = found.weighed.level_BD[b, d] - max(often - lately, 0.0)
        return expectation.untransformed(less, floors.log_D[d]) - level, level
    if expectation.by_network(j):
        expected = found.held.expected[b, d]
        return value - expected, expected
    middle, _ = expectation.usual(found.weighed, j, b, d)
    if j == Signal.SHAPE:
        middle = found.weighed.shaped_there_BD[b, d]
    held, off = expectation.untransformed(middle, floors.log_D[d]), x - middle
    if j == Signal.SHAPE:
        off = found.weighed.shaped_off_BD[b, d] * found.weighed.level_scale_BD[b, d]
    elif j != Signal.JOINT and j != Signal.AUTOREGRESSION:
        off = expectation.standing(row_Q, at, found.weighed, j, x, b, d)
    return expectation.untransformed(middle + off, floors.log_D[d]) - held, held


@compiled
def _size(floors: Floors, d: int, off: float, held: float) -> int:
    """Against the floors of a field. What is missing is never far enough off."""
    least, share = floors.least_D[d], floors.share_D[d]
    if least == 0.0 and share == 0.0:
        return FAR
    told = abs(counted(floors.sides, d, off))
    if isnan(told):
        return PERHAPS
    return FAR if told >= least and told >= share * abs(held) else SMALL


@compiled
def _judge_anew(odds_J: Float64, found: Judgement, aside: Aside, b: int) -> int:
    """`combination.harmonic`, of what is left; which kind leads now, or the one that did, where none is left."""
    total, alarm, calm, least, leading = 0.0, 0.0, 0.0, inf, found.combined.leading[b]
    for j in range(len(odds_J)):
        p, odds = found.judged.p[b, j], odds_J[j] * found.judged.extremal[b, j]
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
    """Whether a field that leads this evidence is far enough off: perhaps, where another kind has it so. What is of no
    field is far enough off for all floors."""
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

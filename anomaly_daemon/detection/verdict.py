"""Whether an event is an anomaly by its pattern: the p-value against the threshold, and the magnitude floor.

Shapes: B rows, D numeric features, F all features.
"""

from __future__ import annotations

from math import isnan, log10, nan
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection.episode import SEVERITY_AT_LIMIT
from anomaly_daemon.detection.observation import MISSING_CATEGORY, Float64, Int64, UInt8
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.detection.scores import Status
from anomaly_daemon.detection.state import StateLayout

CATEGORY_FLOOR = 2.0
"""A standardised categorical error of this size passes the magnitude floor. Before standardisation it would mean that
the class is e**2 times rarer than the likeliest."""

MISSING, WARMING, SCORED = Status.MISSING.value, Status.WARMING.value, Status.SCORED.value


class At(NamedTuple):
    """Where a row stores each: the number of its calibrated events, its average surprise, and whether its last event
    was as improbable as an alarm but too small for one."""

    count: int  # type: ignore[assignment]  # hides a method of tuples that nothing asks for
    surprise: int
    withheld: int


class Limits(NamedTuple):
    """The rules, as the numbers that the computation uses."""

    grace: float
    floor: float
    """The magnitude floor, in the feature's own standard deviations."""
    close_ratio: float
    close_surprise: float

    @classmethod
    def of(cls, rules: Rules) -> Self:
        """Convert the rules on episodes."""
        episode = rules.episode
        limits = rules.grace_events, episode.magnitude_floor, episode.close_ratio, episode.close_surprise
        return cls(*(float(limit) for limit in limits))


class Verdict(NamedTuple):
    """The verdict on one event of each row, [B] each."""

    severity: Float64
    """NaN where nothing is known."""
    alarm: npt.NDArray[np.bool_]
    calm: npt.NDArray[np.bool_]
    surprising: npt.NDArray[np.bool_]
    """Whether the stream is surprising on average, whether or not this event is calm."""
    status: UInt8

    @classmethod
    def blank(cls, rows: int) -> Self:
        """Return uninitialised arrays for `rows` rows."""
        alarm, calm, surprising = (np.empty(rows, bool) for _ in range(3))
        return cls(np.empty(rows), alarm, calm, surprising, np.empty(rows, np.uint8))


def at(layout: StateLayout) -> At:
    """Return where rows of this layout store each."""
    return At(layout.start("cal_count"), layout.start("surprise"), layout.start("withheld"))


@compiled
def judge(
    statistics_BQ: Float64,
    at: At,
    p_B: Float64,
    event_B: Float64,
    threshold_B: Float64,
    deviation_BD: Float64,
    standard_B2F: Float64,
    faster_B: Float64,
    values_BD: Float64,
    codes_BC: Int64,
    limits: Limits,
    out: Verdict,
) -> int:
    """Judge one event of each row into `out`; return the number of alarms. The rows have already moved past this event.
    `event_B`: the p-value including evidence that is too small to matter. `faster_B`: how many times faster than usual
    events come, where burst leads, which has a floor of its own; otherwise NaN."""
    alarms = 0
    for b in range(len(p_B)):
        p, threshold, warm = p_B[b], threshold_B[b], statistics_BQ[b, at.count] >= limits.grace
        out.severity[b] = _severity(p, threshold)
        beyond = warm and p <= threshold
        much = not isnan(faster_B[b]) or _large(deviation_BD[b], standard_B2F[b], limits.floor)
        out.alarm[b] = beyond and much
        statistics_BQ[b, at.withheld] = warm and event_B[b] <= threshold and not out.alarm[b]
        out.calm[b] = not out.alarm[b] and p > threshold * limits.close_ratio
        out.surprising[b] = statistics_BQ[b, at.surprise] > limits.close_surprise
        out.status[b] = _status(warm and not isnan(p), _nothing(values_BD[b], codes_BC[b]))
        alarms += out.alarm[b]
    return alarms


@compiled
def _status(known: bool, nothing: bool) -> int:
    """Return the status of an event. Without a p-value nothing was scored, however many events the row has had."""
    if nothing:
        return MISSING
    return SCORED if known else WARMING


@compiled
def _severity(p: float, threshold: float) -> float:
    if isnan(p):
        return nan
    return 100.0 if p <= 0 else min(max(SEVERITY_AT_LIMIT * log10(p) / log10(threshold), 0.0), 100.0)


@compiled
def _large(deviation_D: Float64, standard_2F: Float64, floor: float) -> bool:
    """Return whether some feature is far from what was expected in its own units, and not only improbable."""
    for d in range(len(deviation_D)):
        if deviation_D[d] >= floor:
            return True
    for f in range(len(deviation_D), standard_2F.shape[1]):  # noqa: SIM110 - compiled code has no generators
        if standard_2F[0, f] >= CATEGORY_FLOOR:
            return True
    return False


@compiled
def _nothing(values_D: Float64, codes_C: Int64) -> bool:
    """Return whether no feature has a value."""
    for d in range(len(values_D)):
        if not isnan(values_D[d]):
            return False
    for c in range(len(codes_C)):  # noqa: SIM110 - compiled code has no generators
        if codes_C[c] != MISSING_CATEGORY:
            return False
    return True

"""What is usual at this time of day: a profile of each stream's earlier days, and how far a value is from it.

A visit to a bin of the day is averaged, and joins the profile when it is over: a value is never held against its own
day. The clock is the local one, so a change to summer time moves nothing.

Shapes: B rows, D numeric features, Z bins of the day.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomaly_daemon.detection.context import SECOND, offsets
from anomaly_daemon.detection.observation import Float64, Int64
from anomaly_daemon.detection.state import Column, Rows

BINS = 48
"""Half an hour each."""

RATE = 0.3
"""By how much the profile moves towards a day: half of it is two days old."""

WINSOR = 6.0
"""A residual counts, and teaches, as at most this many of its own standard deviations."""

KNOWN_AFTER = 8
"""Residuals before they have a standard deviation."""

SMALLEST = 1e-9


@dataclass(frozen=True, slots=True)
class Residual:
    """Of one event of each row, [B, D]. NaN where no earlier day reached this time of day."""

    standard: Float64
    usual: Float64
    """The profile's value."""
    scale: Float64
    """Standard deviation of the residuals."""


def columns(numeric: int) -> tuple[list[Column], list[Column]]:
    """What a row must hold: (carried, statistics)."""
    visit = [Column("season_visit"), Column("season_sum", (numeric,)), Column("season_weight", (numeric,))]
    known = [Column("season_seen", (numeric,)), Column("season_square", (numeric,)), Column("season_count", (numeric,))]
    return [Column("season", (BINS, numeric), np.nan)], [*visit, *known]


def residual(
    rows: Rows, time_B: Int64, x_BD: Float64, floor_BD: Float64, timezone: str, memory: float, pace_B: Float64
) -> Residual:
    """Hold the values against the profile, and learn them. `floor_BD`: the least standard deviation."""
    local_B = time_B / SECOND + offsets(time_B, timezone)
    visit_B = np.floor(local_B * (BINS / 86_400.0))
    _end_visits(rows, visit_B)
    bin_B = (visit_B % BINS).astype(np.int64)
    usual_BD = rows.carried("season")[np.arange(len(rows)), bin_B].astype(np.float64)
    square_BD, count_BD = rows["season_square"], rows["season_count"]
    scale_BD = np.maximum(np.maximum(np.sqrt(square_BD), floor_BD), SMALLEST)
    off_BD = x_BD - usual_BD
    there_BD, known_BD = ~np.isnan(off_BD), count_BD >= KNOWN_AFTER
    standard_BD = np.clip(off_BD / scale_BD, -WINSOR, WINSOR)
    told_BD = np.where(known_BD, standard_BD * scale_BD, off_BD)
    standard_BD = np.where(there_BD & ~known_BD, 0.0, standard_BD)
    count_BD += there_BD
    rate_BD = np.maximum(1.0 / np.maximum(count_BD, 1.0), 1.0 / memory) * pace_B[:, None]
    square_BD += np.where(there_BD, rate_BD * (told_BD**2 - square_BD), 0.0)
    _visit(rows, x_BD, pace_B)
    return Residual(standard_BD, usual_BD, scale_BD)


def _end_visits(rows: Rows, visit_B: Float64) -> None:
    """The rows that have come to another bin, or to another day: what they saw before joins the profile."""
    gone = np.flatnonzero(rows["season_visit"] != visit_B)
    if not len(gone):
        return
    left_G = (rows["season_visit"][gone] % BINS).astype(np.int64)
    weight_GD, seen_GD = rows["season_weight"][gone], rows["season_seen"][gone]
    profile = rows.carried("season")
    former_GD = profile[gone, left_G].astype(np.float64)
    mean_GD = rows["season_sum"][gone] / np.where(weight_GD > 0, weight_GD, 1.0)
    rate_GD = RATE * weight_GD / np.maximum(seen_GD, 1.0)
    moved_GD = np.where(np.isnan(former_GD), mean_GD, former_GD + rate_GD * (mean_GD - former_GD))
    profile[gone, left_G] = np.where(weight_GD > 0, moved_GD, former_GD)
    for name in ("season_sum", "season_weight", "season_seen"):
        rows[name][gone] = 0.0
    rows["season_visit"] = visit_B


def _visit(rows: Rows, x_BD: Float64, pace_B: Float64) -> None:
    there_BD = ~np.isnan(x_BD)
    weight_BD = there_BD * pace_B[:, None]
    rows["season_sum"] += weight_BD * np.where(there_BD, x_BD, 0.0)
    rows["season_weight"] += weight_BD
    rows["season_seen"] += there_BD

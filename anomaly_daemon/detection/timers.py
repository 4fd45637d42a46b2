"""Timers on event time: a stream that stopped, and one that stopped for good.

They turn on the partition's watermark, the largest event time so far, so a replay agrees with the first run. A timer
that falls due between two records is told of at the record whose time passed it, wherever a batch ends. A stream is
retired, its episodes closed, when it has been silent for long, and forgotten when it was unseen for `idle_stream_seconds`.

Shapes: B rows.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection.alert import Kind
from anomaly_daemon.detection.episode import KINDS, SEVERITY_AT_LIMIT, Sighting, Turn, end, turn
from anomaly_daemon.detection.observation import Float64
from anomaly_daemon.detection.rules import DAY_SECONDS, EpisodeRule, Rules
from anomaly_daemon.detection.state import Column, Rows
from anomaly_daemon.detection.watch import durations, keep

SECOND = 1e6
P_RANGE = (1e-9, 0.05)
"""Bounds of the alarm threshold, whatever the budget and the stream's rate."""

DEADLINES = ("silence_at", "retire_at")
"""The columns that hold the event time at which a timer falls due."""

COLUMNS = (
    *(Column(f"gap_{name}") for name in ("mean", "longest", "count")),
    Column("seen_at"),
    Column("silence_at", (), np.inf),
    Column("retire_at", (), np.inf),
    Column("last_offset"),
    Column("last_index"),
)


def threshold(rows: Rows, rules: Rules) -> Float64:
    """The p-value at which this many events a day give the budget's alarms a day, [B]."""
    return np.clip(rules.alarms_per_day * rows["gap_mean"] / (DAY_SECONDS * SECOND), *P_RANGE)


def beat(rows: Rows, time_B: Float64, watermark_B: Float64, gap_B: Float64, rules: Rules) -> None:
    """An event came: learn its gap (NaN for a stream's first), and set the timers anew.

    They run from the watermark at which it came: a stream whose times lag behind the others' (a backfill, a slow uploader)
    is neither silent nor unseen as long as its records come.
    """
    known = durations(rows, "gap")
    limit = _limit(rows, rules)
    ended = ~np.isnan(gap_B)
    keep(rows, "gap", known.absorb(np.where(ended, gap_B, 0.0), ended, limit))
    now_B = np.maximum(time_B, watermark_B)
    rows["seen_at"] = now_B
    rows["silence_at"] = now_B + _limit(rows, rules)
    lasting = rules.episode.accept_seconds * SECOND
    retire_B = np.where(np.isfinite(rows["silence_at"]), rows["silence_at"], now_B + lasting) + lasting
    rows["retire_at"] = np.minimum(retire_B, _forget_at(rows, rules))


def _limit(rows: Rows, rules: Rules) -> Float64:
    if not rules.silence.enabled:
        return np.full(len(rows), np.inf)
    known = durations(rows, "gap")
    minimum = np.maximum(rules.silence.minimum * known.mean, 1.0)
    return known.limit(minimum, rules.silence.longest_ratio, threshold(rows, rules))


def fall_due(rows: Rows, watermark_B: Float64, rules: Rules) -> list[tuple[float, Turn]]:
    """The turns of every timer due at `watermark_B`, with the event time each was due at."""
    if not (watermark_B >= np.minimum(rows["silence_at"], rows["retire_at"])).any():
        return []
    due_B = rows["silence_at"].copy()
    silent = watermark_B >= due_B
    turns = [(due_B[one.row], one) for one in turn(rows, Kind.SILENCE, _sighting(rows, silent, due_B), at_once(rules))]
    rows["silence_at"] = np.where(silent, np.inf, due_B)
    gone_B = rows["retire_at"].copy()
    gone = watermark_B >= gone_B
    turns += [(gone_B[one.row], one) for kind in KINDS for one in end(rows, kind, gone, gone_B)]
    rows["retire_at"] = np.where(gone, _forget_at(rows, rules), gone_B)
    return turns


def forgotten(rows: Rows, watermark_B: Float64, rules: Rules) -> npt.NDArray[np.bool_]:
    """The streams unseen for `idle_stream_seconds`: they begin anew. Their episodes were closed before, or just now."""
    return (rows["seen"] > 0) & (watermark_B >= _forget_at(rows, rules))


def _forget_at(rows: Rows, rules: Rules) -> Float64:
    return rows["seen_at"] + rules.idle_stream_seconds * SECOND


def back(rows: Rows, time_B: Float64, offset_B: Float64, rules: Rules) -> list[Turn]:
    """An event came: close the silence of each row that had one."""
    nothing, all_B = np.zeros(len(rows), bool), np.ones(len(rows), bool)
    calm = Sighting(nothing, all_B, np.zeros(len(rows)), time_B, offset_B, np.zeros(len(rows)))
    return turn(rows, Kind.SILENCE, calm, at_once(rules))


def at_once(rules: Rules) -> EpisodeRule:
    """The rule of the kinds whose end is plain to see: they close on the first calm event."""
    return replace(rules.episode, close_after=1)


def _sighting(rows: Rows, silent: npt.NDArray[np.bool_], due_B: Float64) -> Sighting:
    """A silence is sighted when it falls due, and stands on the last record before it."""
    time_B = np.where(silent, due_B, 0.0)
    half = np.full(len(rows), SEVERITY_AT_LIMIT)
    return Sighting(silent, np.zeros(len(rows), bool), half, time_B, rows["last_offset"], rows["last_index"])

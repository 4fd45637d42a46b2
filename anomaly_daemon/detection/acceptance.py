"""What happens when an episode is accepted: behaviour that has lasted for `accept_seconds` is the stream's new normal,
and is learned as such."""

from __future__ import annotations

import numpy as np

from anomaly_daemon.detection import calibration
from anomaly_daemon.detection.alert import Kind
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.detection.state import Rows

PATTERN_COUNTS = ("norm_count", "cal_count", "level_count", "season_count", "week_count", "rhythm_count", "burst_count")
"""The columns that count the values behind each long statistic of a stream."""


def forget(rows: Rows, row: int, kind: Kind, rules: Rules) -> None:
    """Let this row learn its new behaviour quickly, after the operator's rule (`accept_seconds`) has closed an episode
    of this kind as the new normal. The counts that slow learning down are reduced: to `grace_events` for a pattern, to
    0 for the other kinds."""
    counts = {
        Kind.PATTERN: PATTERN_COUNTS,
        Kind.STUCK: ("run_count", "run_longest"),
        Kind.SCHEMA: ("absent_count", "absent_longest", "magnitude_count", "magnitude_reach", "wrong", "off"),
        Kind.SILENCE: (),
    }[kind]
    kept = float(rules.grace_events) if kind is Kind.PATTERN else 0.0
    for name in counts:
        rows[name][row] = np.minimum(rows[name][row], kept)
    if kind is Kind.PATTERN:
        rows["surprise"][row] = 0.0
        calibration.learn_anew(rows, row)

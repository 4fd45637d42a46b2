"""What has gone on for `accept_seconds` is a stream's new normal, and is learned as that."""

from __future__ import annotations

import numpy as np

from anomaly_daemon.detection import calibration
from anomaly_daemon.detection.alert import Kind
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.detection.state import Rows


def forget(rows: Rows, row: int, kind: Kind, rules: Rules) -> None:
    """The operator's rule has accepted this row's new behaviour: let it be learned afresh, fast."""
    counts = {
        Kind.PATTERN: ("norm_count", "cal_count", "level_count", "season_count", "burst_count"),
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

"""Runs of equal values: how long one may last before it is an anomaly."""

from __future__ import annotations

import numpy as np

from anomaly_daemon.detection import watch
from anomaly_daemon.detection.observation import Presence
from anomaly_daemon.detection.rules import DurationRule, Rules
from anomaly_daemon.detection.state import StateLayout

RULE = watch.Rule.of(Rules(stuck=DurationRule(minimum=2, longest_ratio=2.0)))
DAILY = 1 / 1440
"""The threshold of an alarm a day, at an event a minute."""


def first_alarm(runs: list[int], last: int, p: float = DAILY, fields: int = 1) -> int | None:
    """How long the last run has lasted when it becomes an anomaly. The other fields change with every event."""
    layout = StateLayout([], watch.columns(fields, fields))
    rows, at = layout.blank(1), 0
    presence_BD, codes_BC = np.full((1, fields), Presence.PRESENT, np.uint8), np.zeros((1, 0), np.int64)
    for number, length in enumerate([*runs, last]):
        for lasted in range(1, length + 1):
            at += 1
            values_BD = np.full((1, fields), float(at))
            values_BD[0, 0] = number
            looked, _, _ = watch.look(rows, values_BD, presence_BD, codes_BC, np.array([p]), RULE)
            if looked.stuck.alarm[0] and number == len(runs):
                return lasted
    return None


def test_a_value_that_always_varies_is_stuck_soon() -> None:
    assert first_alarm([1] * 100, 50) == 8  # of the exponential law: 7.3 times the mean


def test_a_switch_that_once_rested_for_long_may_rest_for_longer() -> None:
    """Twice the longest, as once, would happen to every tenth such switch before the day is over."""
    bursts = [40] + [3] * 40
    assert first_alarm(bursts, 100) is None
    assert first_alarm(bursts, 1000) == 157  # 3.9 x (39.7 / 3.9) ** (ln(1440 / 3.9) / ln 41)


def test_what_is_to_be_seldomer_takes_longer() -> None:
    bursts = [40] + [3] * 40
    assert first_alarm(bursts, 3000, DAILY / 7) == 528


def test_the_fields_of_an_event_share_the_budget() -> None:
    bursts = [40] + [3] * 40
    assert first_alarm(bursts, 3000, DAILY / 7) == first_alarm(bursts, 3000, DAILY, fields=7)

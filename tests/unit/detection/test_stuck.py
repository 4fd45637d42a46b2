"""Runs of equal values: how long a run may last before it is an anomaly."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_daemon.detection import episode, watch
from anomaly_daemon.detection.observation import Presence
from anomaly_daemon.detection.rules import DurationRule, Rules
from anomaly_daemon.detection.state import StateLayout

RULE = watch.Rule.of(Rules(stuck=DurationRule(minimum=2, longest_ratio=2.0)))
DAILY = 1 / 1440
"""The threshold of one alarm a day, at an event a minute."""


def first_alarm(runs: list[int], last: int, p: float = DAILY, fields: int = 1) -> int | None:
    """Return how long the last run has lasted when it becomes an anomaly, or None if it does not. The other fields
    change with every event."""
    layout = StateLayout([], [*watch.columns(fields, fields), *episode.COLUMNS])
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
    assert first_alarm([1] * 100, 50) == 8  # by the exponential law: 7.3 times the mean


def test_a_switch_that_once_rested_for_long_may_rest_for_longer() -> None:
    """A limit of twice the longest run, as it used to be, would be exceeded by every tenth such switch within a day."""
    bursts = [40] + [3] * 40
    assert first_alarm(bursts, 100) is None
    assert first_alarm(bursts, 1000) == 157  # 3.9 x (39.7 / 3.9) ** (ln(1440 / 3.9) / ln 41)


def test_what_is_to_be_seldomer_takes_longer() -> None:
    bursts = [40] + [3] * 40
    assert first_alarm(bursts, 3000, DAILY / 7) == 528


def test_the_fields_of_an_event_share_the_budget() -> None:
    bursts = [40] + [3] * 40
    assert first_alarm(bursts, 3000, DAILY / 7) == first_alarm(bursts, 3000, DAILY, fields=7)


events = st.tuples(st.integers(0, 2), st.sampled_from([Presence.PRESENT, Presence.ABSENT, Presence.WRONG_TYPE]))


@given(st.lists(st.tuples(events, st.integers(1, 12)), max_size=60), st.floats(1e-6, 1.0))
@settings(deadline=None)
def test_a_limit_that_is_not_near_need_not_be_known(runs: list[tuple[tuple[int, Presence], int]], p: float) -> None:
    """In an open episode the limit is always computed. Both ways must raise the same alarms and learn the same."""
    layout = StateLayout([], [*watch.columns(1, 1), *episode.COLUMNS])
    rows, codes_BC = layout.blank(2), np.zeros((2, 0), np.int64)
    rows["episode_open"][1] = 1.0
    for (value, presence), length in [*[((0, Presence.PRESENT), 1), ((1, Presence.PRESENT), 2)] * 20, *runs]:
        there = float(value) if presence is Presence.PRESENT else np.nan
        for _ in range(length):
            values_BD, presence_BD = np.full((2, 1), there), np.full((2, 1), presence, np.uint8)
            looked, _, _ = watch.look(rows, values_BD, presence_BD, codes_BC, np.array([p, p]), RULE)
            for watched in looked:
                assert watched.alarm[0] == watched.alarm[1]
                assert not watched.alarm[0] or watched.ratio[0] == watched.ratio[1]
    rows["episode_open"][1] = 0.0
    assert np.array_equal(rows.statistics_BQ[0], rows.statistics_BQ[1], equal_nan=True)

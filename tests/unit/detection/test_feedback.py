"""Labels that people give to alerts: how far a label moves its stream's threshold, and from which event on."""

from __future__ import annotations

import numpy as np
import pytest
from streams import detector, wave

from anomaly_daemon.detection import feedback
from anomaly_daemon.detection.feedback import COLUMNS, REMEMBERED, Label, take_in
from anomaly_daemon.detection.state import Rows, StateLayout


def row() -> Rows:
    return StateLayout([], COLUMNS).blank(1)


def moved(rows: Rows, budget: float = 1e-3) -> float:
    return feedback.moved(rows.statistics_BQ[0], feedback.at(rows.layout), budget)


def settle(rows: Rows, is_open: bool) -> None:
    feedback.settle(rows.statistics_BQ[0], feedback.at(rows.layout), is_open)


def threshold(rows: Rows, budget: float = 1e-3) -> float:
    settle(rows, is_open=False)
    return moved(rows, budget)


def said(*labels: Label) -> float:
    rows = row()
    for place, label in enumerate(labels):
        assert take_in(rows, f"alert {place}", label, place)
    return threshold(rows)


@pytest.mark.parametrize(
    ("label", "factor"),
    [(Label.FALSE, 10**-0.5), (Label.EXPECTED, 10**-0.25), (Label.TRUE, 1.0), (Label.NEW_NORMAL, 1.0)],
)
def test_each_label_lowers_the_p_value_an_alarm_needs_by_its_share(label: Label, factor: float) -> None:
    assert said(label) == pytest.approx(1e-3 * factor)


def test_without_a_label_the_threshold_is_the_budgets_to_the_last_bit() -> None:
    assert threshold(row(), 0.1 + 0.2) == 0.1 + 0.2


def test_the_move_is_bounded_and_goes_back_as_later_alerts_are_true() -> None:
    assert said(*[Label.FALSE] * 20) == pytest.approx(1e-5)
    assert said(*[Label.FALSE] * 20, Label.TRUE) == pytest.approx(10**-4.5)
    assert said(*[Label.FALSE] * 20, *[Label.TRUE] * REMEMBERED) == 1e-3


def test_no_threshold_is_moved_below_the_least() -> None:
    rows = row()
    take_in(rows, "a", Label.FALSE, 0)
    assert threshold(rows, 1e-9) == feedback.LEAST


def test_who_says_something_else_later_means_that() -> None:
    rows = row()
    take_in(rows, "a", Label.FALSE, 0)
    take_in(rows, "b", Label.FALSE, 1)
    take_in(rows, "a", Label.TRUE, 2)
    assert threshold(rows) == pytest.approx(1e-3 * 10**-0.5)


def test_a_label_is_taken_in_once() -> None:
    rows = row()
    assert take_in(rows, "a", Label.FALSE, 7)
    before = rows.statistics_BQ.copy()
    assert not take_in(rows, "b", Label.FALSE, 7)
    assert not take_in(rows, "b", Label.FALSE, 3)
    assert np.array_equal(rows.statistics_BQ, before)


def test_an_open_episode_keeps_the_threshold_it_was_opened_by() -> None:
    rows = row()
    take_in(rows, "a", Label.FALSE, 0)
    settle(rows, is_open=True)
    assert moved(rows) == 1e-3
    settle(rows, is_open=False)
    assert moved(rows) == pytest.approx(1e-3 * 10**-0.5)


def test_a_detector_judges_the_labelled_stream_alone_by_it_from_the_event_after_the_next() -> None:
    one = detector()
    both = wave(streams=2, events=60)
    one.step(both.take(slice(0, 100)))
    assert one.take_in("s0", "x", Label.FALSE, 0)
    assert not one.take_in("nobody", "x", Label.FALSE, 0)
    assert one.buckets(1) == {0}
    threshold_N = one.step(both.take(slice(100, 120))).scores.threshold_N
    a, b = threshold_N[0::2], threshold_N[1::2]
    assert a[0] == b[0]
    assert a[1:] == pytest.approx(b[1:] * 10**-0.5)


def test_streams_that_hear_anew_take_in_what_a_new_topic_says_and_keep_what_they_heard() -> None:
    one = detector()
    one.step(wave(streams=2, events=60))
    one.take_in("s0", "x", Label.FALSE, 7)
    one.buckets(1)
    assert not one.take_in("s0", "y", Label.FALSE, 0)
    assert one.hear_anew(1) == one.buckets(1) == {0}
    assert one.take_in("s0", "y", Label.FALSE, 0)
    assert np.count_nonzero(one.slab.column("label_decades")) == 2
    assert detector().hear_anew(1) == set()

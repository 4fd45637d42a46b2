"""Event-wise precision and recall: what counts as found, and what counts as a false alarm."""

from __future__ import annotations

import pytest
from report_samples import HOUR, START, seen

from anomaly_daemon.report.matching import Window, match


def window(stream: str, start: float, end: float) -> Window:
    return Window(stream, int(START + start * HOUR), int(START + end * HOUR))


def test_an_episode_that_opens_inside_a_window_finds_it_with_the_delay_from_its_start() -> None:
    matched = match([window("a", 2, 4)], [seen("a", 3)])
    assert (matched.found, matched.false_alarms) == (1, ())
    assert matched.hits[0].delay == matched.median_delay == HOUR


def test_both_ends_of_a_window_belong_to_it() -> None:
    for hour in (2, 4):
        assert match([window("a", 2, 4)], [seen("a", hour)]).found == 1


def test_an_episode_of_another_stream_finds_nothing_and_is_a_false_alarm() -> None:
    matched = match([window("a", 2, 4)], [seen("b", 3)])
    assert (matched.found, len(matched.false_alarms)) == (0, 1)


def test_an_episode_that_opened_before_the_window_does_not_find_it_though_it_is_still_open() -> None:
    matched = match([window("a", 2, 4)], [seen("a", 1.9, hours=10)])
    assert (matched.found, len(matched.false_alarms)) == (0, 1)


def test_the_tolerance_extends_a_window_after_its_end_and_not_before_its_start() -> None:
    after, before = seen("a", 5), seen("a", 1)
    assert match([window("a", 2, 4)], [after], tolerance=HOUR).found == 1
    assert match([window("a", 2, 4)], [after], tolerance=HOUR - 1).found == 0
    assert match([window("a", 2, 4)], [before], tolerance=HOUR).found == 0


def test_an_alarm_as_a_window_ends_is_neither_a_hit_nor_false() -> None:
    matched = match([window("a", 2, 4)], [seen("a", 4.5), seen("a", 9)], aftermath=HOUR)
    assert matched.found == 0
    assert [one.opened for one in matched.aftermath] == [START + 4.5 * HOUR]
    assert [one.opened for one in matched.false_alarms] == [START + 9 * HOUR]


def test_the_first_of_several_episodes_counts_and_the_others_are_no_false_alarms() -> None:
    matched = match([window("a", 2, 4)], [seen("a", 3.5), seen("a", 2.5)])
    assert matched.hits[0].delay == HOUR / 2
    assert matched.false_alarms == ()
    assert matched.precision == 1.0


def test_one_episode_may_find_two_windows_that_overlap() -> None:
    assert match([window("a", 2, 4), window("a", 3, 5)], [seen("a", 3.5)]).found == 2


def test_precision_recall_and_f1_move_each_with_its_own_mistakes() -> None:
    windows = [window("a", 2, 4), window("b", 2, 4)]
    perfect = match(windows, [seen("a", 3), seen("b", 3)])
    assert (perfect.precision, perfect.recall, perfect.f1) == (1, 1, 1)
    one_missed = match(windows, [seen("a", 3)])
    assert (one_missed.precision, one_missed.recall) == (1, 0.5)
    assert one_missed.f1 == pytest.approx(2 / 3)
    one_false = match(windows, [seen("a", 3), seen("b", 3), seen("b", 9)])
    assert (one_false.precision, one_false.recall) == (pytest.approx(2 / 3), 1)
    assert one_false.f1 == pytest.approx(0.8)


def test_what_cannot_be_known_is_none_and_not_zero() -> None:
    nothing = match([], [])
    assert (nothing.precision, nothing.recall, nothing.f1, nothing.median_delay) == (None, None, None, None)
    silent = match([window("a", 2, 4)], [])
    assert (silent.precision, silent.recall, silent.f1, silent.median_delay) == (None, 0.0, 0.0, None)


def test_the_work_grows_with_the_number_of_streams_and_not_with_its_square() -> None:
    class Counted(str):
        compared = 0

        def __eq__(self, other: object) -> bool:
            Counted.compared += 1
            return super().__eq__(other)

        __hash__ = str.__hash__

    def comparisons(streams: int) -> int:
        Counted.compared = 0
        names = [f"s{number}" for number in range(streams)]
        windows = [window(Counted(name), 2, 4) for name in names]
        assert match(windows, [seen(name, 3 + at % 3) for at, name in enumerate(names)]).found == -(-streams * 2 // 3)
        return Counted.compared

    assert comparisons(300) <= 4 * comparisons(100)

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from running_sum import RunningSum

from anomaly_daemon.daemon.cap import MOST_HELD_BACK, admit
from anomaly_daemon.daemon.policy import MinuteLimit, Window
from anomaly_daemon.detection.alert import Alert, Event, Kind
from anomaly_daemon.transport.ports import Partition

MAKER = RunningSum(Partition("readings", 0))


def message(number: int, event: Event) -> Alert:
    return replace(MAKER._alert("a", Kind.PATTERN, event, number, number, 0), alert_id=str(number))


def test_opens_up_to_the_cap_are_let_through_and_the_rest_held_back() -> None:
    opened = [message(number, Event.OPEN) for number in range(5)]
    admitted = admit(opened, (), Window(), MinuteLimit(3), now=10.0)
    assert [alert.alert_id for alert in admitted.alerts] == ["0", "1", "2"]
    assert (admitted.held_back, admitted.held) == (2, ("3", "4"))


def test_what_was_held_back_stays_so_to_its_close() -> None:
    rest = [message(4, Event.UPDATE), message(4, Event.CLOSE), message(1, Event.CLOSE)]
    admitted = admit(rest, ("3", "4"), Window(10.0, 5), MinuteLimit(3), now=11.0)
    assert [alert.alert_id for alert in admitted.alerts] == ["1"]
    assert (admitted.held_back, admitted.held) == (2, ("3",))


def test_the_next_minute_has_room_again() -> None:
    admitted = admit([message(9, Event.OPEN)], (), Window(10.0, 50), MinuteLimit(3), now=70.0)
    assert len(admitted.alerts) == 1


def test_updates_and_closes_do_not_count_against_the_cap() -> None:
    told = [message(1, Event.UPDATE)] * 20 + [message(1, Event.CLOSE)]
    assert len(admit(told, (), Window(), MinuteLimit(1), now=0.0).alerts) == 21


def test_what_is_remembered_of_the_held_back_is_bounded() -> None:
    opened = [message(number, Event.OPEN) for number in range(MOST_HELD_BACK + 5)]
    admitted = admit(opened, (), Window(), MinuteLimit(0), now=0.0)
    assert len(admitted.held) == MOST_HELD_BACK
    assert admitted.held[-1] == str(MOST_HELD_BACK + 4)


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(Event)), max_size=40), st.integers(0, 4))
def test_nothing_vanishes_and_no_episode_is_told_in_part(told: list[tuple[int, Event]], most: int) -> None:
    messages, open_now = [], set()
    for number, event in told:  # a detector closes and updates only what it opened
        if (event is Event.OPEN) != (number in open_now):
            messages.append(message(number, event))
            open_now = open_now ^ {number} if event is not Event.UPDATE else open_now
    admitted = admit(messages, (), Window(), MinuteLimit(most), now=0.0)
    assert len(admitted.alerts) + admitted.held_back == len(messages)
    seen: set[str] = set()
    for alert in admitted.alerts:
        assert (alert.event is Event.OPEN) != (alert.alert_id in seen)
        seen = seen ^ {alert.alert_id} if alert.event is not Event.UPDATE else seen

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_daemon.detection.alert import Event, Kind
from anomaly_daemon.detection.episode import COLUMNS, GOES_ON, WORSE, Reason, Sighting, Turn, end, turn
from anomaly_daemon.detection.rules import EpisodeRule
from anomaly_daemon.detection.state import Rows, Slab, StateLayout

RULE = EpisodeRule(close_after=3, renotify_seconds=100, accept_seconds=1000)


SEEN = ("alarm", "calm", "surprising", "severity", "time", "offset", "index")


def rows(count: int = 1) -> Rows:
    slab = Slab(StateLayout([], COLUMNS))
    return slab.gather(slab.rows([str(i) for i in range(count)]))


def sight(
    alarm: bool, calm: bool, second: float, severity: float = 60.0, offset: int = 0, surprising: bool = False
) -> Sighting:
    one, told = np.array([0.0]), (np.array([mark]) for mark in (alarm, calm, surprising))
    return Sighting(*told, one + severity, one + second * 1e6, one + offset, one)


def play(script: str, every: float = 1.0, rule: EpisodeRule = RULE) -> list[Turn]:
    """Return what is reported of a script of events, one every `every` seconds. A: alarm, c: calm, o: calm in a stream
    that is surprising on average, -: neither."""
    state, told = rows(), []
    for place, mark in enumerate(script):
        seen = sight(mark == "A", mark in "co", place * every, offset=place, surprising=mark == "o")
        told += turn(state, Kind.PATTERN, seen, rule)
    return told


def events(told: list[Turn]) -> list[Event]:
    return [one.event for one in told]


def test_an_alarm_opens_and_enough_calm_closes() -> None:
    told = play("ccAAcccc")
    assert events(told) == [Event.OPEN, Event.CLOSE]
    assert told[1].reason is Reason.RECOVERED
    assert (told[1].offset, told[1].count, told[1].start, told[1].last, told[1].end) == (
        2,
        2,
        2_000_000,
        3_000_000,
        6_000_000,
    )


def test_calm_must_come_in_a_row() -> None:
    assert events(play("AccAccAcc")) == [Event.OPEN]


def test_calm_events_of_a_stream_that_is_odd_on_average_do_not_close() -> None:
    told = play("AoooooAoocc")
    assert events(told) == [Event.OPEN, Event.CLOSE]
    assert told[1].reason is Reason.RECOVERED
    assert (told[1].count, told[1].last, told[1].end) == (2, 6_000_000, 9_000_000)


def test_what_is_odd_without_alarms_is_no_new_level_and_closes_in_the_end() -> None:
    told = play("A" + "o" * 12, every=99)
    assert [one.reason for one in told] == [None, Reason.RECOVERED]
    assert told[1].end == 11 * 99_000_000


def test_alarms_that_come_back_after_long_calm_are_no_new_level() -> None:
    told = play("A" + "o" * 9 + "A" + "o" * 9 + "c", every=99)
    assert [one.event for one in told] == [Event.OPEN, Event.UPDATE, Event.CLOSE]
    assert told[2].reason is Reason.RECOVERED


def test_an_event_between_alarm_and_calm_neither_closes_nor_extends() -> None:
    told = play("A-----ccc")
    assert events(told) == [Event.OPEN, Event.CLOSE]
    assert told[1].count == 1


def test_an_open_episode_is_told_of_again_after_a_while() -> None:
    assert events(play("AAAAAA", every=50)) == [Event.OPEN, Event.UPDATE, Event.UPDATE]


def test_an_open_episode_is_told_of_at_once_when_it_is_much_worse() -> None:
    state = rows()
    told = turn(state, Kind.PATTERN, sight(True, False, 0, 50), RULE)
    told += turn(state, Kind.PATTERN, sight(True, False, 1, 50 + WORSE - 1), RULE)
    told += turn(state, Kind.PATTERN, sight(True, False, 2, 50 + WORSE), RULE)
    assert events(told) == [Event.OPEN, Event.UPDATE]
    assert told[1].peak == 50 + WORSE


def led_in_turn(fields: str) -> list[Turn]:
    """Return what is reported of events one second apart: a digit is an alarm led by that field, o a calm event in a
    stream that is surprising on average."""
    state, told = rows(), []
    for place, mark in enumerate(fields):
        seen = replace(
            sight(mark != "o", mark == "o", place, surprising=True), field_B=np.array([0 if mark == "o" else int(mark)])
        )
        told += turn(state, Kind.PATTERN, seen, RULE)
    return told


@pytest.mark.parametrize(
    ("fields", "updates"),
    [
        ("1ooo2", [4]),  # another field, after calm that would have closed the episode
        ("1oo2", []),  # the fault spreads to another field
        ("1ooo1", []),  # the same fault again
        ("1ooo2ooo2ooo1ooo3", [4, 16]),  # each field once
        ("1ooo22", [4]),
    ],
)
def test_a_fault_of_another_field_in_an_open_episode_is_reported_at_once(fields: str, updates: list[int]) -> None:
    told = led_in_turn(fields)
    assert events(told) == [Event.OPEN] + [Event.UPDATE] * len(updates)
    assert [one.last // 1_000_000 for one in told[1:]] == updates


def test_a_lasting_episode_is_accepted_as_the_new_level() -> None:
    told = play("A" * 12, every=99)
    assert told[-1].reason is Reason.ACCEPTED
    assert events(told)[-1] is Event.CLOSE


def accepted(severity: float = 60.0) -> tuple[Rows, float]:
    """Return a row whose episode of this severity was accepted as the new level, and the second of its last event."""
    state = rows()
    for second in range(0, 1200, 100):
        told = turn(state, Kind.PATTERN, sight(True, False, second, severity), RULE)
        if [one.reason for one in told] == [Reason.ACCEPTED]:
            return state, float(second)
    raise AssertionError("not accepted")


def test_what_was_accepted_is_not_told_of_once_more_while_it_goes_on() -> None:
    state, now = accepted()
    for place in range(1, 20):
        mark = "A-cc"[place % 4]
        assert turn(state, Kind.PATTERN, sight(mark == "A", mark == "c", now + 100 * place), RULE) == []


def test_after_enough_calm_what_was_accepted_is_told_of_again() -> None:
    state, now = accepted()
    for place in range(1, 4):
        assert turn(state, Kind.PATTERN, sight(False, True, now + place), RULE) == []
    assert events(turn(state, Kind.PATTERN, sight(True, False, now + 4), RULE)) == [Event.OPEN]


def test_what_was_accepted_is_told_of_again_after_some_days() -> None:
    state, now = accepted()
    last = now + GOES_ON * RULE.accept_seconds
    assert turn(state, Kind.PATTERN, sight(True, False, last), RULE) == []
    assert events(turn(state, Kind.PATTERN, sight(True, False, last + 1), RULE)) == [Event.OPEN]
    assert state["episode_accepted"][0, 0] == 0


@pytest.mark.parametrize(("was", "told_from"), [(60.0, 60.0 + WORSE), (90.0, 100.0)])
def test_what_is_much_worse_than_was_accepted_is_told_of(was: float, told_from: float) -> None:
    state, now = accepted(was)
    assert turn(state, Kind.PATTERN, sight(True, False, now + 1, told_from - 1), RULE) == []
    assert events(turn(state, Kind.PATTERN, sight(True, False, now + 2, told_from), RULE)) == [Event.OPEN]


def led_by(field: int, second: float) -> Sighting:
    return replace(sight(True, False, second), field_B=np.array([field]))


def test_another_field_than_led_what_was_accepted_is_told_of() -> None:
    state, now = accepted()
    assert turn(state, Kind.PATTERN, led_by(0, now + 1), RULE) == []
    assert events(turn(state, Kind.PATTERN, led_by(1, now + 2), RULE)) == [Event.OPEN]


def test_what_was_accepted_first_is_known_when_another_field_is_accepted_too() -> None:
    state, now = accepted()
    told = [one for second in range(1, 1200, 50) for one in turn(state, Kind.PATTERN, led_by(40, now + second), RULE)]
    assert [told[0].event, told[-1].reason] == [Event.OPEN, Reason.ACCEPTED]
    for field in (0, 40):
        assert turn(state, Kind.PATTERN, led_by(field, now + 1300), RULE) == []
    assert events(turn(state, Kind.PATTERN, led_by(41, now + 1400), RULE)) == [Event.OPEN]


def test_how_severe_what_was_accepted_was_is_known_when_another_field_is_accepted_too() -> None:
    state, now = accepted(90.0)
    for second in range(1, 1200, 50):
        turn(state, Kind.PATTERN, led_by(40, now + second), RULE)  # of severity 60
    assert turn(state, Kind.PATTERN, sight(True, False, now + 1300, 90.0), RULE) == []


def test_a_stream_that_has_ended_has_nothing_that_goes_on() -> None:
    state, now = accepted()
    assert end(state, Kind.PATTERN, np.array([True]), np.array([now * 1e6])) == []
    assert events(turn(state, Kind.PATTERN, sight(True, False, now + 1), RULE)) == [Event.OPEN]


def test_of_other_kinds_a_row_says_nothing_that_depends_on_the_rows_beside_it() -> None:
    """An accepted stuck value leaves no mark of its acceptance in the row, whether or not another row of the round has
    an alarm."""
    for beside in (False, True):
        state, one = rows(2), np.zeros(2)
        for second in range(0, 1400, 100):
            stuck, other = np.array([second < 1200, False]), np.array([False, beside and second > 1200])
            alarm = stuck | other
            turn(state, Kind.STUCK, Sighting(alarm, ~alarm, one > 0, one + 60, one + second * 1e6, one, one), RULE)
        assert (state["episode_accepted"] == 0).all()


def test_an_episode_knows_no_fields_of_one_before_it() -> None:
    state, now = accepted()
    for place in range(1, 4):
        turn(state, Kind.PATTERN, sight(False, True, now + place), RULE)
    turn(state, Kind.PATTERN, led_by(3, now + 10), RULE)
    assert (state["episode_leads"][0, 0], state["episode_led"][0, 0]) == (1 << 3, 0)


@pytest.mark.parametrize("script", ["AccA", "A-A"])
def test_a_lone_alarm_is_nothing_that_goes_on_however_it_closes(script: str) -> None:
    """An example is a stream with one event a day."""
    told = play(script + "A", every=600 if "c" in script else 1100)
    assert events(told)[:2] == [Event.OPEN, Event.CLOSE]
    assert events(told)[2:3] == [Event.OPEN]


def test_the_alarms_of_what_goes_on_are_no_part_of_an_episode_beside_it() -> None:
    """Nor do those alarms make a field that has one alarm of its own, or a higher severity, count as accepted."""
    for beside, again in ((led_by, 1), (lambda _, second: sight(True, False, second, 95.0), 1)):
        state, now = accepted()
        told = turn(state, Kind.PATTERN, beside(again, now + 1), RULE)
        for place in range(1, 15):
            told += turn(state, Kind.PATTERN, led_by(0, now + 100 * place), RULE)
        assert events(told) == [Event.OPEN, Event.CLOSE]
        assert (told[0].count, told[1].count) == (1, 1)
        assert events(turn(state, Kind.PATTERN, beside(again, now + 1600), RULE)) == [Event.OPEN]
        assert turn(state, Kind.PATTERN, led_by(0, now + 1700), RULE) == []


def test_what_is_accepted_beside_it_makes_nothing_known_for_longer() -> None:
    state, now = accepted()
    for field in (1, 2, 3):
        begun = now + field * 1.5 * RULE.accept_seconds
        for second in range(0, 1200, 100):
            turn(state, Kind.PATTERN, led_by(field, begun + second), RULE)
    last = now + GOES_ON * RULE.accept_seconds
    assert turn(state, Kind.PATTERN, led_by(0, last - 1), RULE) == []
    assert events(turn(state, Kind.PATTERN, led_by(0, last + 1), RULE)) in ([Event.OPEN], [Event.UPDATE])


def test_a_field_of_what_is_over_is_not_accepted_with_what_comes_after() -> None:
    state, now = accepted()
    turn(state, Kind.PATTERN, led_by(1, now + 1), RULE)
    for place in range(5):
        turn(state, Kind.PATTERN, sight(False, True, now + 2 + place, surprising=True), RULE)
    assert state["episode_accepted"][0, 0] == 0 < state["episode_open"][0, 0]
    for second in range(100, 1400, 100):
        turn(state, Kind.PATTERN, led_by(1, now + second), RULE)
    assert state["episode_led"][0, 0] == 1 << 1


def test_of_kinds_whose_end_is_plain_to_see_nothing_goes_on() -> None:
    state = rows()
    for second in range(0, 1200, 100):
        told = turn(state, Kind.STUCK, sight(True, False, second), RULE)
    assert told[-1].reason is Reason.ACCEPTED
    assert events(turn(state, Kind.STUCK, sight(True, False, 1201), RULE)) == [Event.OPEN]


def test_what_was_accepted_and_is_long_over_is_forgotten() -> None:
    state, now = accepted()
    late = now + GOES_ON * RULE.accept_seconds + 1
    assert turn(state, Kind.PATTERN, sight(False, False, late), RULE) == []
    assert state["episode_accepted"][0, 0] == 0


def test_the_end_of_a_stream_closes_what_is_open_and_nothing_else() -> None:
    state = rows(2)
    both = np.array([True, True])
    one = np.zeros(2)
    turn(state, Kind.STUCK, Sighting(np.array([True, False]), ~both, ~both, one + 60, one, one, one), RULE)
    told = end(state, Kind.STUCK, both, one + 9e6)
    assert [(t.row, t.event, t.reason) for t in told] == [(0, Event.CLOSE, Reason.ENDED)]
    assert end(state, Kind.STUCK, both, one) == []


def test_kinds_do_not_disturb_each_other() -> None:
    state = rows()
    turn(state, Kind.PATTERN, sight(True, False, 0), RULE)
    assert turn(state, Kind.STUCK, sight(False, True, 1), RULE) == []
    assert events(turn(state, Kind.STUCK, sight(True, False, 2), RULE)) == [Event.OPEN]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("Ac-"), st.floats(0, 100), st.floats(0, 300)), max_size=60), st.integers(1, 4)
)
def test_every_close_ends_the_open_before_it(script: list[tuple[str, float, float]], close_after: int) -> None:
    state, told, now = rows(), [], 0.0
    rule = EpisodeRule(close_after=close_after, renotify_seconds=50, accept_seconds=500)
    for place, (mark, severity, gap) in enumerate(script):
        now += gap
        told += turn(state, Kind.PATTERN, sight(mark == "A", mark == "c", now, severity, place), rule)
    open_offset = None
    for one in told:
        if one.event is Event.OPEN:
            assert open_offset is None
            open_offset = one.offset
        else:
            assert one.offset == open_offset
        if one.event is Event.CLOSE:
            assert one.end is not None
            assert one.start <= one.last <= one.end
            open_offset = None
    assert (state["episode_open"][0, 0] > 0) == (open_offset is not None)


def test_hysteresis_without_a_gap_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="hysteresis"):
        EpisodeRule(close_ratio=0.5)
    with pytest.raises(ValueError, match="hysteresis"):
        EpisodeRule(close_after=0)


def test_what_was_accepted_and_is_over_is_forgotten_whoever_is_beside() -> None:
    """Nothing in a row may depend on the rows that share its round (law L5)."""
    states = [rows(), rows(2)]
    for state in states:
        for name, value in (("accepted", 1.0), ("worst", 70.0), ("led", 1.0), ("settled", 2.0)):
            state[f"episode_{name}"][0, 0] = value
    late = (1.0 + GOES_ON * RULE.accept_seconds) * 1e6
    nothing = np.zeros(2, bool)
    beside = Sighting(
        np.array([False, True]), nothing, nothing, np.full(2, 60.0), np.full(2, late + 1), *np.zeros((2, 2))
    )
    turn(
        states[0],
        Kind.PATTERN,
        Sighting(*(column[:1] for column in (*(getattr(beside, name) for name in SEEN),))),
        RULE,
    )
    turn(states[1], Kind.PATTERN, beside, RULE)
    alone, shared = (state.statistics_BQ[0] for state in states)
    assert np.array_equal(alone, shared)
    assert not alone.any()


def test_what_settles_leaves_nothing_behind_whoever_is_beside_at_the_next_event() -> None:
    """The next event is looked at only if some row of its round has an alarm, or an open or accepted episode."""
    state = rows()
    for name, value in (("accepted", 1.0), ("worst", 70.0), ("led", 1.0), ("settled", RULE.close_after - 1.0)):
        state[f"episode_{name}"][0, 0] = value
    nothing, calm, zero = np.zeros(1, bool), np.ones(1, bool), np.zeros(1)
    turn(state, Kind.PATTERN, Sighting(nothing, calm, nothing, zero, np.full(1, 2.0), zero, zero), RULE)
    assert not state.statistics_BQ.any()

"""Mute windows: when they apply, and what becomes of streams in them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import MINUTE, START, detector, observations, wave

from anomaly_daemon.detection.alert import Alert, Event, Kind
from anomaly_daemon.detection.changeover import rebuild
from anomaly_daemon.detection.detector import Detector, Scores, Status
from anomaly_daemon.detection.mute import KEYS_KEPT, Mutes, Window, matches
from anomaly_daemon.detection.observation import Observations
from anomaly_daemon.detection.room import Evicted
from anomaly_daemon.detection.rules import EpisodeRule, MuteRule, Rules

SIGNS_OF_LIFE = ("seen_at", "silence_at", "retire_at", "last_offset", "last_index", "sign_time")
HOUR = 3600
EXAMPLES = settings(max_examples=15, deadline=None)


# When a window applies


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1e6)


def window(begin: float, until: float, *, zone: str = "Europe/Berlin", **more: object) -> Window:
    """Return a window between two hours of the day."""
    return Window(MuteRule("w", begin=int(begin * HOUR), until=int(until * HOUR), **more), zone)  # type: ignore[arg-type]


def over(one: Window, *texts: str) -> list[bool]:
    return (one.until(np.array([at(text) for text in texts], float)) > -inf).tolist()


def test_an_interval_holds_its_beginning_and_not_its_end() -> None:
    one = Window(MuteRule("w", at("2026-03-01T10:00Z"), at("2026-03-01T11:00Z")), "UTC")
    texts = ("2026-03-01T09:59:59.999999Z", "2026-03-01T10:00Z", "2026-03-01T10:59:59.999999Z", "2026-03-01T11:00Z")
    assert over(one, *texts) == [False, True, True, False]


def test_a_time_of_day_is_that_of_the_local_calendar() -> None:
    one = window(2, 3.5)
    assert over(one, "2026-01-07T01:00Z", "2026-01-07T02:29Z", "2026-01-07T02:30Z") == [True, True, False]
    assert over(one, "2026-07-07T00:00Z", "2026-07-07T01:29Z", "2026-07-07T01:30Z") == [True, True, False]


def test_over_midnight_the_day_is_that_of_the_beginning() -> None:
    sunday = window(22, 4, weekdays=(6,))
    texts = ("2026-03-01T21:59+01:00", "2026-03-01T22:00+01:00", "2026-03-02T03:59+01:00", "2026-03-02T04:00+01:00")
    assert over(sunday, *texts) == [False, True, True, False]
    assert over(sunday, "2026-03-02T22:00+01:00", "2026-03-01T03:00+01:00") == [False, False]


def test_days_of_the_week_are_whole_days_of_the_local_calendar() -> None:
    weekend = window(0, 24, weekdays=(5, 6))
    texts = ("2026-03-06T23:59+01:00", "2026-03-07T00:00+01:00", "2026-03-08T23:59+01:00", "2026-03-09T00:00+01:00")
    assert over(weekend, *texts) == [False, True, True, False]


def test_in_autumn_the_hour_that_comes_twice_is_muted_as_one() -> None:
    one = window(2, 3.5)
    ends = one.until(np.array([at("2026-10-25T00:00Z"), at("2026-10-25T01:15Z"), at("2026-10-25T02:30Z")], float))
    assert ends.tolist() == [at("2026-10-25T02:30Z"), at("2026-10-25T02:30Z"), -inf]
    short = window(2, 2.5)
    assert over(short, "2026-10-25T00:00Z", "2026-10-25T00:45Z", "2026-10-25T01:29Z", "2026-10-25T01:30Z") == [
        *(True, True, True, False)
    ]


def test_in_spring_an_hour_that_is_left_out_comes_so_much_later() -> None:
    assert over(window(2, 3.5), "2026-03-29T00:59Z", "2026-03-29T01:00Z", "2026-03-29T01:30Z") == [False, True, False]
    assert over(
        window(1.5, 2.5), "2026-03-29T00:29Z", "2026-03-29T00:30Z", "2026-03-29T01:29Z", "2026-03-29T01:30Z"
    ) == [*(False, True, True, False)]
    assert over(window(2.5, 3), "2026-03-29T00:45Z", "2026-03-29T01:00Z", "2026-03-29T01:30Z") == [False] * 3


def test_one_that_recurs_does_so_within_its_bounds() -> None:
    bounds = {"start": at("2026-03-02T02:30+01:00"), "end": at("2026-03-04T02:15+01:00")}
    one = window(2, 3, **bounds)
    texts = ("2026-03-01T02:30+01:00", "2026-03-02T02:15+01:00", "2026-03-02T02:30+01:00", "2026-03-03T02:00+01:00")
    assert over(one, *texts) == [False, False, True, True]
    assert over(one, "2026-03-04T02:14+01:00", "2026-03-04T02:15+01:00", "2026-03-05T02:00+01:00") == [
        True,
        False,
        False,
    ]
    assert over(window(2, 3, start=bounds["start"]), "2026-03-01T02:30+01:00", "2036-03-02T02:15+01:00") == [
        False,
        True,
    ]


def test_times_past_every_calendar_lie_in_no_window() -> None:
    one = window(0, 24)
    assert (one.until(np.array([-9e16, 9e17])) == -inf).all()
    assert not one.meets(8.9e17, 9e17)


@EXAMPLES
@given(
    st.sampled_from(["2026-03-26T12:00Z", "2026-10-22T12:00Z"]),
    st.integers(0, 5 * 1440),
    st.integers(0, 2 * 1440),
    st.integers(0, 1439),
    st.integers(1, 1439),
    st.sets(st.integers(0, 6), min_size=1),
)
def test_what_it_has_in_common_with_a_stretch_are_the_moments_that_lie_in_it(
    day: str, first: int, length: int, begin: int, lasts: int, days: set[int]
) -> None:
    one = window(begin / 60, (begin + lasts) % 1440 / 60, weekdays=tuple(days))
    minutes = at(day) + np.arange(first, first + length + 1) * 60e6
    assert one.meets(minutes[0], minutes[-1]) == (one.until(minutes) > -inf).any()


def test_a_weekly_window_is_found_in_a_gap_of_years_and_not_beside_it() -> None:
    monday = window(8, 9, weekdays=(0,))
    assert monday.meets(at("1990-01-01T12:00Z"), at("2026-03-01T12:00Z"))
    assert not monday.meets(at("2026-03-03T12:00Z"), at("2026-03-08T12:00Z"))
    assert monday.meets(at("2026-03-03T12:00Z"), at("2026-03-09T08:00+01:00"))


@EXAMPLES
@given(
    st.sampled_from(["2026-03-26T12:00Z", "2026-10-22T12:00Z"]),
    st.integers(0, 3 * 1440),
    st.integers(0, 3 * 1440),
    st.lists(st.tuples(st.integers(0, 1439), st.integers(1, 1439), st.booleans()), max_size=3),
)
def test_what_windows_cover_of_a_stretch_are_the_minutes_that_lie_in_one_or_more(
    day: str, first: int, length: int, some: list[tuple[int, int, bool]]
) -> None:
    rules = [MuteRule("w", begin=60 * b, until=60 * ((b + n) % 1440), learn=learn) for b, n, learn in some]
    mutes = Mutes(tuple(Window(rule, "Europe/Berlin") for rule in rules))
    minutes = at(day) + np.arange(first, first + length) * 60e6
    inside = [one.until(minutes) > -inf for one in mutes.windows]
    covered = mutes.covered("s", at(day) + first * 60e6, at(day) + (first + length) * 60e6)
    assert covered == np.any(inside, axis=0).sum() * 60e6 if some else covered == 0


def test_a_gap_of_ages_is_not_gone_through_to_its_end() -> None:
    covered = Mutes((window(0, 12),)).covered("s", at("1990-01-01T00:00Z"), 9e18)
    assert 390 * 12 * HOUR * 1e6 < covered < 410 * 12 * HOUR * 1e6


def test_patterns_are_the_shells_and_tell_capitals_apart() -> None:
    one = window(0, 24, streams=("db/*", "web-?"))
    assert [one.concerns(key) for key in ("db/1", "db/1/cpu", "DB/1", "web-3", "web-31", "mail")] == [
        *(True, True, False, True, False, False)
    ]


def test_what_is_remembered_of_streams_is_bounded_for_all_windows_together() -> None:
    matches.cache_clear()
    some = [window(0, 24, streams=("a*",)) for _ in range(20)]
    assert [one.concerns("a1") for one in some] == [True] * 20
    assert (matches.cache_info().currsize, matches.cache_info().maxsize) == (1, KEYS_KEPT)


@pytest.mark.parametrize(
    "wrong",
    [{}, {"start": 5}, {"start": 5, "end": 5}, {"begin": 5}, {"begin": 5, "until": 5}, {"end": 5, "until": 5}],
)
def test_a_rule_without_a_time_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"^w: "):
        MuteRule("w", **wrong)


def test_rules_with_windows_are_read_back_as_they_were_and_those_of_an_older_release_have_none() -> None:
    rules = Rules(mute=(MuteRule("a", 1, 2, streams=("x*", "y")), MuteRule("b", begin=0, until=5, weekdays=(1, 2))))
    told = json.loads(json.dumps(rules.as_mapping()))
    assert told == rules.as_mapping()
    assert Rules.of_mapping(told) == rules
    older = {name: value for name, value in told.items() if name != "mute"}
    assert Rules.of_mapping(older) == replace(rules, mute=())
    assert Rules().as_mapping().keys() == older.keys()  # an upgrade is no change of rules


# What becomes of streams in a window


def during(first: float, after: float, **more: object) -> MuteRule:
    """Return a window from one minute until before another."""
    start, end = (round(START + minute * MINUTE) for minute in (first, after))
    return MuteRule("w", start, end, **more)  # type: ignore[arg-type]


def muted(*mute: MuteRule, **more: object) -> Detector:
    return detector(rules=Rules(mute=mute, **more))  # type: ignore[arg-type]


def steady(key: str, minutes: Sequence[int], first_offset: int = 0) -> Observations:
    values = np.random.default_rng(0).normal(10, 1, (max(minutes) + 1, 2))[list(minutes)]
    return observations([key] * len(minutes), list(minutes), values.tolist(), first_offset=first_offset)


def told(alerts: Sequence[Alert], kind: Kind | None = None) -> list[tuple[Event, float]]:
    """Return the alerts of this kind: the event, and the minute of the record at which it was reported."""
    return [(one.event, (at(one.times.event) - START) / MINUTE) for one in alerts if kind is None or one.kind is kind]


def state(made: Detector, less: Sequence[str] = ()) -> dict[str, dict[str, bytes]]:
    """Return everything that is stored of each stream, by name."""
    rebuild(made, made.slab.live())
    return {
        key: {
            name: made.slab.gather(np.array([row]))[name].tobytes()
            for name in made.slab.layout.places
            if name not in less
        }
        for key, row in made.slab.row_of.items()
    }


def cut(batch: Observations, cuts: Sequence[int]) -> list[Observations]:
    edges = [0, *sorted(min(one, len(batch)) for one in cuts), len(batch)]
    return [batch.take(slice(a, b)) for a, b in itertools.pairwise(edges)]


def test_what_is_left_out_changes_nothing_but_the_signs_of_life() -> None:
    batch = wave(streams=3, events=200)
    minute_N = (batch.time_N - START) // MINUTE
    made, plain = muted(during(120, 200)), detector()
    status_N = made.step(batch).scores.status_N
    assert (status_N[minute_N >= 120] == Status.MUTED).all()
    assert Status.MUTED not in status_N[minute_N < 120]
    plain.step(batch.take(minute_N < 120))
    assert state(made, SIGNS_OF_LIFE) == state(plain, SIGNS_OF_LIFE)
    assert set(made.slab.column("seen_at")[made.slab.live()]) == {START + 199 * MINUTE}


def test_after_the_window_it_is_as_if_its_events_had_never_come() -> None:
    batch = wave(streams=3, events=260)
    minute_N = (batch.time_N - START) // MINUTE
    outside_N = (minute_N < 120) | (minute_N >= 200)
    heard, unheard = muted(during(120, 200)), muted(during(120, 200))
    scores, alerts = (step := heard.step(batch)).scores, step.alerts
    without = unheard.step(batch.take(outside_N))
    for name in Scores.__dataclass_fields__:
        assert np.array_equal(getattr(scores, name)[outside_N], getattr(without.scores, name), equal_nan=True), name
    assert alerts == without.alerts
    assert state(heard, ("sign_time",)) == state(unheard, ("sign_time",))


def test_a_window_that_touches_no_event_changes_no_bit() -> None:
    batch = wave(streams=3, events=260)
    beside = during(500, 600), MuteRule("n", begin=0, until=9 * HOUR, weekdays=(5,)), during(0, 500, streams=("other",))
    made, plain = muted(*beside), detector()
    steps = made.step(batch), plain.step(batch)
    for name in Scores.__dataclass_fields__:
        assert np.array_equal(*(getattr(one.scores, name) for one in steps), equal_nan=True), name
    assert steps[0].alerts == steps[1].alerts
    assert state(made) == state(plain)


def eventful() -> Observations:
    """Return streams that are odd, stuck, silent, new, or gone for so long that they are forgotten, in windows and
    outside them."""
    batch = wave(streams=6, events=300)
    values, keep = batch.values_ND.copy(), np.ones(len(batch), bool)
    minute, stream = (batch.time_N - START) // MINUTE, batch.stream_N
    values[(minute > 100) & (minute < 126) & (stream == 0), 0] += 60
    values[(minute > 90) & (minute < 170) & (stream == 1), 1] = 9.5
    keep[(minute > 95) & (minute < 190) & (stream == 2)] = False
    keep[(minute > 108) & (minute < 140) & (stream == 2)] = True
    keep[(minute < 112) & (stream == 3)] = False
    keep[(minute > 60) & (stream == 4)] = False
    keep[(minute > 100) & (minute < 118) & (stream == 4)] = True
    keep[(minute > 115) & (minute < 230) & (stream == 5)] = False
    keep[(minute == 200) & (stream == 5)] = True
    return replace(batch, values_ND=values).take(np.flatnonzero(keep))


WINDOWS = (
    during(110, 130, streams=("s[0235]",)),
    during(198, 204, streams=("s5",)),
    during(105, 150, streams=("s1",), learn=True),
    during(60, 100, streams=("s4",)),
    during(100, 125, streams=("s4", "s0")),
)
RULES = Rules(
    mute=WINDOWS, idle_stream_seconds=3000, alarms_per_day=20, max_streams=320, episode=EpisodeRule(accept_seconds=1800)
)


@EXAMPLES
@given(st.lists(st.integers(0, 1500), max_size=12))
def test_scores_alerts_and_state_are_the_same_however_records_are_batched_and_restarted(cuts: list[int]) -> None:
    batch = eventful()
    whole, parts = detector(rules=RULES), detector(rules=RULES)
    expected = whole.step(batch)
    steps = []
    for part in cut(batch, cuts):
        steps.append(parts.step(part))
        again = detector(rules=RULES)
        for bucket in range(8):
            again.restore(parts.export(bucket, 8))
        again.watermark, again.last_offset, parts = parts.watermark, parts.last_offset, again
    for name in Scores.__dataclass_fields__:
        joined = np.concatenate([getattr(one.scores, name) for one in steps])
        assert np.array_equal(joined, getattr(expected.scores, name), equal_nan=True), name
    assert [one for step in steps for one in step.alerts] == expected.alerts
    assert state(parts) == state(whole)
    assert {one.kind for one in expected.alerts} >= {Kind.STUCK, Kind.SILENCE}


def test_a_stream_is_not_begun_by_what_is_left_out() -> None:
    made, plain = muted(during(0, 30)), detector()
    step = made.step(steady("s", range(20)))
    assert set(step.scores.status_N.tolist()) == {Status.MUTED}
    assert (made.streams, made.buckets(64)) == (0, set())
    made.step(steady("s", range(20, 60), 20))
    plain.step(steady("s", range(30, 60), 30))
    assert state(made) == state(plain)


def test_a_flood_of_new_keys_in_a_window_takes_nobodys_place() -> None:
    made = muted(during(60, 70), max_streams=1)
    made.step(steady("s", range(60)))
    flood = [f"n{place}" for place in range(500)]
    made.step(observations(flood, [65] * 500, [[1.0, 2.0]] * 500, first_offset=60))
    assert (list(made.slab.row_of), made.evicted()) == (["s"], Evicted())


def test_what_is_late_is_late_in_a_window_too() -> None:
    made = muted(during(0, 30))
    made.step(steady("s", range(30, 60)))
    assert made.step(steady("s", [20], 30)).scores.status_N.tolist() == [Status.LATE]


def test_in_a_window_longer_than_a_stream_is_remembered_it_is_neither_silent_nor_forgotten() -> None:
    made = muted(during(60, 600), idle_stream_seconds=7200)
    alerts = made.step(steady("s", range(650))).alerts
    assert told(alerts, Kind.SILENCE) == []
    assert (made.evicted(), made.slab.column("seen")[made.slab.row_of["s"]]) == (Evicted(), 110)


def test_a_stream_that_is_gone_when_a_window_begins_is_forgotten_all_the_same() -> None:
    values = np.random.default_rng(0).normal(10, 1, (252, 2)).tolist()
    batch = observations(["s"] * 60 + ["t"] * 190 + ["s", "t"], [*range(250), 260, 261], values)
    whole, parts = (muted(during(200, 300, streams=("s",)), idle_stream_seconds=3600) for _ in range(2))
    assert whole.step(batch).scores.status_N[250] == Status.MUTED
    for part in cut(batch, [60, 250, 251]):
        parts.step(part)
    assert list(whole.slab.row_of) == list(parts.slab.row_of) == ["t"]


def test_a_silence_due_in_a_window_is_told_after_it_when_the_stream_was_waited_for_once_more() -> None:
    plain, made = detector(), muted(during(64, 200), during(200, 240))
    for one in (plain, made):
        one.step(steady("s", range(60)))
    patience = plain.slab.column("silence_at")[0] - plain.slab.column("seen_at")[0]
    assert 4 * MINUTE < patience < 40 * MINUTE
    assert made.advance(START + 239 * MINUTE) == []
    raised = int(START + 240 * MINUTE + patience)
    assert made.advance(raised - 1) == []
    (alert,) = made.advance(raised + MINUTE)
    assert (alert.kind, alert.event, at(alert.episode.start)) == (Kind.SILENCE, Event.OPEN, raised)
    (closed,) = made.step(steady("s", [300], 60)).alerts
    assert (closed.event, closed.alert_id) == (Event.CLOSE, alert.alert_id)


def test_a_silence_that_was_put_off_lasts_as_long_as_any_other_before_the_stream_is_given_up() -> None:
    made = muted(during(64, 64 + 2 * 1440))
    made.step(steady("s", range(60)))
    monday = START + (64 + 2 * 1440) * MINUTE
    assert made.advance(monday) == []
    (alert,) = made.advance(monday + 60 * MINUTE)
    assert made.advance(at(alert.episode.start) + 1439 * MINUTE) == []
    assert told(made.advance(at(alert.episode.start) + 1441 * MINUTE))[0][0] is Event.CLOSE


def test_one_that_would_be_told_of_a_stream_forgotten_by_then_is_not() -> None:
    made = muted(during(64, 64 + 10 * 1440))
    made.step(steady("s", range(60)))
    assert made.advance(START + 30 * 1440 * MINUTE) == []


def test_a_silence_before_a_window_is_told_and_closes_in_it() -> None:
    made = muted(during(200, 300))
    made.step(steady("s", range(60)))
    assert told(made.advance(START + 150 * MINUTE)) == [(Event.OPEN, 150)]
    seen = made.slab.column("last_time")[0]
    assert told(made.step(steady("s", [250], 60)).alerts) == [(Event.CLOSE, 250)]
    assert (made.slab.column("last_time")[0], made.slab.column("seen_at")[0]) == (seen, START + 250 * MINUTE)


def test_a_silence_after_a_muted_event_is_another_than_the_one_before_it() -> None:
    made = muted(during(200, 300))
    made.step(steady("s", range(60)))
    (first,) = made.advance(START + 150 * MINUTE)
    made.step(steady("s", [250], 60))
    (second,) = made.advance(START + 400 * MINUTE)
    assert (second.kind, second.event) == (first.kind, first.event) == (Kind.SILENCE, Event.OPEN)
    assert (first.provenance.first_offset, second.provenance.first_offset) == (59, 60)
    assert first.alert_id != second.alert_id
    assert [one.alert_id for one in made.step(steady("s", [450], 61)).alerts] == [second.alert_id]


def test_how_long_nothing_came_is_told_from_the_last_event_that_was_left_out() -> None:
    made = muted(during(60, 300))
    made.step(steady("s", range(300)))
    (opened,) = made.advance(START + 400 * MINUTE)
    seconds = (at(opened.episode.start) - START) / 1e6 - 299 * 60
    assert opened.reason == f"no event for {seconds:.4g} s; usually one every 60 s"
    (closed,) = made.step(steady("s", [500], 300)).alerts
    assert closed.reason == "back to normal"


def learned(gaps: Sequence[int], *mute: MuteRule) -> Detector:
    """Return a detector that has learned a stream with an event each minute and, after each 60 events, a gap of so many
    minutes."""
    minutes, now = list[int](), 0
    for gap in (*gaps, 0):
        minutes += range(now, now + 60)
        now += 59 + gap
        now += gap == 0
    made = muted(*mute)
    made.step(steady("s", minutes))
    return made


def test_a_gap_that_a_window_made_is_not_learned() -> None:
    without, plain = learned([100], during(59.5, 159)), learned([100])  # half a minute of the gap is not covered
    assert plain.slab.column("gap_longest")[0] > MINUTE * 1.2
    assert without.slab.column("gap_longest")[0] == MINUTE
    assert without.slab.column("gap_count")[0] == plain.slab.column("gap_count")[0] - 1
    partly = learned([100], during(70, 150))
    assert partly.slab.column("gap_count")[0] == plain.slab.column("gap_count")[0]
    assert partly.slab.column("gap_longest")[0] == plain.slab.column("gap_longest")[0]  # an anomaly counts in part
    beside = learned([100], during(300, 350))
    assert beside.slab.column("gap_longest")[0] == plain.slab.column("gap_longest")[0]
    assert learned([4], during(61, 62)).slab.column("gap_longest")[0] > 3.9 * MINUTE  # this gap is usual here


def test_a_stream_that_is_new_when_a_window_begins_does_not_take_it_for_its_cadence() -> None:
    made = muted(during(10, 100))
    made.step(steady("s", [*range(10), *range(100, 140)]))
    assert made.slab.column("gap_longest")[0] == MINUTE
    assert np.isfinite(made.slab.column("silence_at")[0])


def test_of_a_gap_is_learned_what_no_window_covers() -> None:
    made = muted(during(20, 60), during(50, 90, learn=True), during(0, 500, streams=("other",)))
    made.step(steady("s", [*range(10), 120]))
    assert made.slab.column("gap_longest")[0] == (111 - 70) * MINUTE


def bursts(*mute: MuteRule, days: int = 30) -> tuple[Detector, list[Alert]]:
    """Return a detector and its alerts for a stream with five readings a minute apart, once a day at noon, beside a
    stream with one reading each half hour."""
    often = [("t", minute) for minute in range(0, days * 1440, 30)]
    events = [("s", day * 1440 + 14 * 60 + at) for day in range(days) for at in range(5)]
    events = sorted(events + often, key=lambda one: one[1])
    values = np.random.default_rng(1).normal(10, 1, (len(events), 2)).tolist()
    made = muted(*mute)
    batch = observations([key for key, _ in events], [minute for _, minute in events], values)
    return made, [one for part in cut(batch, range(0, len(batch), 300)) for one in made.step(part).alerts]


def test_a_stream_of_bursts_learns_its_cadence_across_nightly_windows() -> None:
    night = MuteRule("backup", begin=2 * HOUR, until=round(3.5 * HOUR))
    (plain, calm), (made, alerts) = bursts(), bursts(night)
    opened = [[one for one in told(some, Kind.SILENCE) if one[0] is Event.OPEN] for some in (calm, alerts)]
    assert opened == [[], []]
    means = [one.slab.column("gap_mean")[one.slab.row_of["s"]] for one in (plain, made)]
    assert 0.9 * means[0] < means[1] <= means[0]


def test_a_silent_night_that_is_the_windows_alone_is_not_learned() -> None:
    made = muted(MuteRule("backup", begin=2 * HOUR, until=round(3.5 * HOUR)))
    minutes = [minute for minute in range(3 * 1440) if not 226 <= (minute - 1) % 1440 < 316]
    made.step(steady("s", minutes))
    assert made.slab.column("gap_longest")[0] <= 3 * MINUTE


# Windows in which streams learn


def odd(minutes: range, of: int = 300) -> Observations:
    batch = steady("s", range(of))
    batch.values_ND[minutes.start : minutes.stop, 1] += 60
    return batch


LOUD = {"alarms_per_day": 20, "episode": EpisodeRule(renotify_seconds=60)}


def test_a_window_that_teaches_scores_and_alarms_nobody() -> None:
    batch = odd(range(250, 255))
    made, plain = muted(during(240, 260, learn=True), **LOUD), detector(rules=Rules(**LOUD))
    steps = made.step(batch), plain.step(batch)
    assert [one for one in told(steps[1].alerts, Kind.PATTERN) if 240 <= one[1] < 260]
    assert [one for one in told(steps[0].alerts) if 240 <= one[1] < 260] == []
    scores = steps[0].scores
    assert (scores.status_N[240:260] == Status.SCORED).all()
    assert scores.p_value_N[250] == steps[1].scores.p_value_N[250] <= scores.threshold_N[250]
    assert made.slab.column("seen")[0] == 300


def test_an_episode_that_was_open_is_told_nothing_of_in_the_window_but_its_end() -> None:
    def events(*mute: MuteRule) -> list[tuple[Event, float]]:
        return [one for one in told(muted(*mute, **LOUD).step(odd(range(250, 258), 700)).alerts) if one[1] >= 250]

    plain, made = events(), events(during(252, 700, learn=True))
    assert [one for one in plain if one[1] > 251 and one[0] is Event.UPDATE]
    assert made[0] == plain[0] == (Event.OPEN, 250)
    assert [one[0] for one in made if one[1] >= 252] == [Event.CLOSE]


def test_what_would_have_alarmed_is_not_calm() -> None:
    batch = steady("s", range(120))
    batch.values_ND[60:110, 1] = 7.0
    made = told(muted(during(75, 105, learn=True)).step(batch).alerts, Kind.STUCK)
    assert [one for one in made if one[0] is not Event.UPDATE] == [(Event.OPEN, 69), (Event.CLOSE, 110)]
    assert [one for one in made if 75 <= one[1] < 105] == []


@pytest.mark.parametrize("kind", [Kind.STUCK, Kind.SCHEMA])
def test_values_are_watched_in_it_and_nothing_opens(kind: Kind) -> None:
    batch = steady("s", range(120))
    if kind is Kind.STUCK:
        batch.values_ND[60:90, 1] = 7.0
    else:
        batch.values_ND[60:90, 1] = np.nan
        batch.presence_ND[60:90, 1] = 1
    assert told(detector().step(batch).alerts, kind)
    assert told(muted(during(60, 90, learn=True)).step(batch).alerts, kind) == []
    assert told(muted(during(60, 70, learn=True)).step(batch).alerts, kind)  # it goes on after the window


def test_no_silence_opens_in_a_window_that_teaches() -> None:
    made = muted(during(64, 200, learn=True))
    made.step(steady("s", range(60)))
    assert made.advance(START + 199 * MINUTE) == []
    assert told(made.advance(START + 300 * MINUTE)) == [(Event.OPEN, 300)]


def test_where_both_kinds_of_window_are_events_are_left_out() -> None:
    made = muted(during(60, 90, learn=True), during(70, 80))
    status_N = made.step(steady("s", range(100))).scores.status_N
    assert np.flatnonzero(status_N == Status.MUTED).tolist() == list(range(70, 80))


def test_without_windows_there_is_nothing_to_compute() -> None:
    assert Mutes.of((), "UTC") is None
    mutes = Mutes.of((during(500, 600), during(0, 500, streams=("other",))), "UTC")
    assert mutes is not None
    assert mutes.over(wave(streams=2, events=50)) is None

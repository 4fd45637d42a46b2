"""Streams are forgotten when idle, and to make room: because of records alone, and one bucket at a time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import MINUTE, START, model, observations, schema

from anomaly_daemon.detection.alert import Event, Kind
from anomaly_daemon.detection.detector import Detector, Status
from anomaly_daemon.detection.observation import Observations
from anomaly_daemon.detection.room import Evicted, capacity
from anomaly_daemon.detection.rules import DurationRule, Rules, SilenceRule
from anomaly_daemon.detection.state import bucket_of

BUCKETS = 2


def detector(**rules: object) -> Detector:
    return Detector(model(of=schema(["x"])), schema(["x"]), Rules(**rules), "sensors", 0, buckets=BUCKETS)  # type: ignore[arg-type]


def keys_of(bucket: int, count: int) -> list[str]:
    names = (f"s{number}" for number in itertools.count())
    return list(itertools.islice((name for name in names if bucket_of(name, BUCKETS) == bucket), count))


def state(made: Detector) -> dict[str, bytes]:
    found = {}
    for bucket in range(BUCKETS):
        exported = made.export(bucket, BUCKETS)
        for place, key in enumerate(exported.keys):
            found[key] = b"".join(array[place].tobytes() for array in exported.arrays.values())
    return found


def test_the_longest_unseen_makes_room_for_a_new_stream_of_its_bucket() -> None:
    made, (a, b, c) = detector(max_streams=4), keys_of(0, 3)
    (other,) = keys_of(1, 1)
    made.step(observations([a, b, other, a, c], [0, 1, 2, 3, 4], [[1.0]] * 5))
    assert set(made.slab.row_of) == {a, c, other}
    assert (made.evicted(), made.evicted()) == (Evicted(limit=1), Evicted())
    assert made.step(observations([a], [5], [[1.0]])).crowded_out == 0


def test_streams_seen_at_the_same_time_make_room_in_the_order_of_their_keys() -> None:
    for keys in itertools.permutations(keys_of(0, 3)):
        made = detector(max_streams=6)
        made.step(observations([*keys, "s999"], [0, 0, 0, 1], [[1.0]] * 4))
        left = set(made.slab.row_of) - {"s999"}
        assert left == set(keys) if bucket_of("s999", BUCKETS) else left == set(keys) - {min(keys)}


def test_the_share_of_a_bucket_is_rounded_up() -> None:
    assert [capacity(most, 64) for most in (1, 64, 65, 1_000_000)] == [1, 1, 2, 15_625]


def test_a_full_bucket_makes_room_for_many_at_once() -> None:
    made = detector(max_streams=2 * 80)
    keys = keys_of(0, 81)
    step = made.step(observations(keys, list(range(81)), [[1.0]] * 81))
    assert (made.evicted(), step.crowded_out) == (Evicted(limit=80 // 8), 80 // 8)
    assert set(made.slab.row_of) == set(keys[10:])


def test_an_episode_of_a_stream_that_made_room_is_closed_by_the_record_that_needed_it() -> None:
    made, (a, b) = detector(max_streams=2, stuck=DurationRule(minimum=3)), keys_of(0, 2)
    values = [float(at % 3) for at in range(40)] + [7.0] * 40
    made.step(observations([a] * 80, list(range(80)), [[value] for value in values]))
    assert made.open_episodes[Kind.STUCK] == 1
    (told,) = made.step(observations([b], [90], [[1.0]], first_offset=500)).alerts
    assert (told.kind, told.event, told.stream.key) == (Kind.STUCK, Event.CLOSE, a)
    assert "limits.streams" in told.reason


def test_an_idle_stream_is_forgotten_by_the_record_whose_time_says_so() -> None:
    made = detector(idle_stream_seconds=3600)
    made.step(observations(["old", "clock"], [0, 59], [[1.0]] * 2))
    assert made.evicted() == Evicted()
    made.step(observations(["clock"], [60], [[1.0]], first_offset=2))
    assert (made.evicted(), set(made.slab.row_of)) == (Evicted(idle=1), {"clock"})
    assert made.buckets(BUCKETS) >= {bucket_of("old", BUCKETS)}


def test_a_forgotten_streams_episodes_are_closed_first() -> None:
    made = detector(idle_stream_seconds=3600, stuck=DurationRule(minimum=3), silence=SilenceRule(enabled=False))
    values = [float(at % 3) for at in range(40)] + [7.0] * 40
    opened = made.step(observations(["old"] * 80, list(range(80)), [[value] for value in values])).alerts
    closed = made.step(observations(["clock"], [200], [[1.0]], first_offset=80)).alerts
    stuck = [one.event for one in [*opened, *closed] if one.kind is Kind.STUCK]
    assert stuck == [Event.OPEN, Event.UPDATE, Event.CLOSE]
    assert set(made.slab.row_of) == {"clock"}


def test_a_stream_that_is_forgotten_before_its_silence_is_due_is_not_silent_however_records_are_batched() -> None:
    """Its last record is followed by one of another stream at which it is forgotten, and by one at which it would have
    been silent for long enough. Only then does it come back."""
    batch = observations([*["s"] * 30, "clock", "clock", "s"], [*range(0, 600, 20), 650, 800, 801], [[1.0]] * 33)
    whole, parts = detector(idle_stream_seconds=3600), detector(idle_stream_seconds=3600)
    alerts = whole.step(batch).alerts
    assert [one for at in range(33) for one in parts.step(batch.take(slice(at, at + 1))).alerts] == alerts
    assert [one for one in alerts if one.kind is Kind.SILENCE] == []


@pytest.mark.parametrize("accept_late", [False, True])
@pytest.mark.parametrize(("minute", "value"), [(1, 7.0), (2, 2.0)], ids=["late", "double"])
def test_a_forgotten_stream_that_comes_back_is_new_however_records_are_batched(
    minute: int, value: float, accept_late: bool
) -> None:
    """It comes back with a record that is older than its last one, or the same again."""
    batch = observations(["s", "s", "s", "clock", "s"], [0, 1, 2, 200, minute], [[0.0], [1.0], [2.0], [1.0], [value]])
    whole, parts = (detector(idle_stream_seconds=3600, accept_late=accept_late) for _ in range(2))
    status = [whole.step(batch).scores.status_N[-1]]
    status += [parts.step(batch.take(slice(at, at + 1))).scores.status_N[-1] for at in range(5)][-1:]
    assert status == [Status.WARMING, Status.WARMING]
    assert whole.newest("s") == parts.newest("s") == START + minute * MINUTE


def test_event_time_without_records_forgets_no_stream() -> None:
    made = detector(idle_stream_seconds=3600)
    made.step(observations(["old"], [0], [[1.0]]))
    made.advance(START + 10_000 * MINUTE)
    assert set(made.slab.row_of) == {"old"}
    assert made.watermark == START


def test_a_stream_that_only_a_record_may_forget_is_touched_no_more() -> None:
    """An idle partition is checked once a second, and would otherwise be written again each time, forever."""
    made = detector(idle_stream_seconds=3600)
    made.step(observations(["old", "older"], [1, 0], [[1.0]] * 2))
    made.buckets(BUCKETS)
    touched = []
    for minutes in (30, 62, 63, 10_000):
        made.advance(START + minutes * MINUTE)
        touched.append(made.buckets(BUCKETS))
    assert touched[2:] == [set(), set()]
    made.step(observations(["clock"], [100], [[1.0]], first_offset=2))
    assert set(made.slab.row_of) == {"clock"}


def test_what_is_open_is_closed_though_only_a_record_may_forget_the_stream() -> None:
    """The end of the stream by silence, and its removal, fall due at the same time."""
    made = detector(idle_stream_seconds=3600, stuck=DurationRule(minimum=3), silence=SilenceRule(enabled=False))
    values = [float(at % 3) for at in range(40)] + [7.0] * 40
    opened = made.step(observations(["old"] * 80, list(range(80)), [[value] for value in values])).alerts
    assert {one.kind for one in opened} >= {Kind.STUCK}
    closed = made.advance(START + 200 * MINUTE)
    assert [one.event for one in closed if one.kind is Kind.STUCK] == [Event.CLOSE]
    assert made.buckets(BUCKETS) == {bucket_of("old", BUCKETS)}
    assert made.advance(START + 300 * MINUTE) == []
    assert made.buckets(BUCKETS) == set()


EVENTS = st.lists(
    st.tuples(st.sampled_from(keys_of(0, 5) + keys_of(1, 5)), st.integers(0, 40)), min_size=1, max_size=60
)


def batch_of(events: list[tuple[str, int]]) -> Observations:
    times = np.cumsum([gap for _, gap in events]).tolist()
    return observations([key for key, _ in events], times, [[float(at % 5)] for at in range(len(events))])


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.lists(st.integers(0, 60), max_size=6))
def test_who_is_forgotten_does_not_depend_on_how_records_are_batched(
    events: list[tuple[str, int]], cuts: list[int]
) -> None:
    batch = batch_of(events)
    whole, parts = detector(max_streams=6, idle_stream_seconds=7200), detector(max_streams=6, idle_stream_seconds=7200)
    alerts = whole.step(batch).alerts
    edges = [0, *sorted(min(cut, len(batch)) for cut in cuts), len(batch)]
    told = [one for a, b in itertools.pairwise(edges) for one in parts.step(batch.take(slice(a, b))).alerts]
    assert told == alerts
    assert state(parts) == state(whole)


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.integers(0, 60), st.integers(0, 60))
def test_each_bucket_is_rebuilt_from_its_own_floor_as_it_was(
    events: list[tuple[str, int]], first: int, second: int
) -> None:
    batch = batch_of(events)
    floors = [min(first, len(batch)), min(second, len(batch))]
    whole, again = detector(max_streams=6, idle_stream_seconds=7200), detector(max_streams=6, idle_stream_seconds=7200)
    stored, watermarks = {}, {}
    for start, stop in itertools.pairwise([0, *sorted({*floors, len(batch)} - {0})]):
        for bucket in (0, 1):
            if floors[bucket] == start:
                stored[bucket], watermarks[start] = whole.export(bucket, BUCKETS), whole.watermark
        whole.step(batch.take(slice(start, stop)))
    for bucket in (0, 1):
        if floors[bucket] == len(batch):
            stored[bucket], watermarks[len(batch)] = whole.export(bucket, BUCKETS), whole.watermark
        again.restore(stored[bucket])
    again.floors, again.watermark = np.array(floors), watermarks[min(floors)]
    again.step(batch.take(slice(min(floors), None)))
    assert state(again) == state(whole)


@pytest.mark.parametrize("late", [30, 90])
def test_a_stream_that_was_held_up_is_not_silent_because_the_clock_went_on(late: int) -> None:
    made = detector()
    made.step(observations(["s"] * 60, list(range(60)), [[float(at % 5)] for at in range(60)]))
    (opened,) = made.advance(START + 300 * MINUTE)
    assert opened.kind is Kind.SILENCE
    told = made.step(observations(["s"] * 5, list(range(60 + late, 65 + late)), [[1.0]] * 5, first_offset=60)).alerts
    assert [one.event for one in told if one.kind is Kind.SILENCE] == [Event.CLOSE]


def test_a_silence_that_an_older_record_ends_does_not_end_before_it_starts() -> None:
    """A stream that was cut off sends what it has collected: the first record is older than the silence."""
    made = detector()
    made.step(observations(["s"] * 60, list(range(60)), [[float(at % 5)] for at in range(60)]))
    (opened,) = made.advance(START + 300 * MINUTE)
    (closed,) = made.step(observations(["s"], [61], [[1.0]], first_offset=60)).alerts
    assert (closed.alert_id, closed.event) == (opened.alert_id, Event.CLOSE)
    assert closed.episode.end == closed.episode.start == opened.episode.start


def test_a_stream_whose_times_lag_far_behind_the_others_is_kept_and_scored() -> None:
    """An example is a backfill: another stream of the partition is months ahead."""
    made = detector(idle_stream_seconds=3600)
    made.step(observations(["ahead"], [1_000_000], [[1.0]]))
    for at in range(100):
        step = made.step(observations(["old"], [at], [[float(at % 5)]], first_offset=1 + at))
        assert not [one for one in step.alerts if one.kind is Kind.SILENCE]
    assert step.scores.status_N[0] == Status.SCORED
    assert made.evicted() == Evicted()

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly_daemon.daemon.policy import CommitPolicy, MinuteLimit, RetryPolicy, SessionPolicy, SnapshotPolicy, Window


def test_a_commit_is_due_after_its_seconds_if_anything_was_read() -> None:
    policy = CommitPolicy(seconds=0.5, events=100)
    assert not policy.due(now=10.4, last=10.0, events=1)
    assert policy.due(now=10.5, last=10.0, events=1)
    assert not policy.due(now=99.0, last=10.0, events=0)


def test_a_commit_is_due_after_its_events() -> None:
    policy = CommitPolicy(seconds=0.5, events=100)
    assert not policy.due(now=10.0, last=10.0, events=99)
    assert policy.due(now=10.0, last=10.0, events=100)


def test_an_alert_does_not_wait() -> None:
    assert CommitPolicy().due(now=10.0, last=10.0, events=0, alert_waiting=True)


def test_every_bucket_has_its_turn_once_in_the_period() -> None:
    policy = SnapshotPolicy(seconds=60.0, buckets=6)
    assert not policy.visits(elapsed=9.9, done=0)
    assert policy.visits(elapsed=10.0, done=0) == range(1)
    assert policy.visits(elapsed=65.0, done=1) == range(1, 6)
    assert policy.visited(range(1, 6)) == {1, 2, 3, 4, 5}
    assert policy.visited(range(6, 7)) == {0}


def test_without_a_period_every_commit_carries_every_bucket() -> None:
    policy = SnapshotPolicy(seconds=0.0, buckets=40)
    assert policy.visited(policy.visits(elapsed=0.0, done=8)) == set(range(40))


def test_a_commit_carries_eight_buckets_or_an_eighth_of_them() -> None:
    late = 1e6
    assert len(SnapshotPolicy(60.0, 4).visits(elapsed=late, done=0)) == 4
    assert len(SnapshotPolicy(60.0, 64).visits(elapsed=late, done=0)) == 8
    assert len(SnapshotPolicy(60.0, 512).visits(elapsed=late, done=0)) == 64
    assert len(SnapshotPolicy(60.0, 64, share=0.5).visits(elapsed=late, done=0)) == 32


@given(
    st.integers(1, 200),
    st.lists(st.tuples(st.floats(0.01, 3.0), st.floats(0.0, 4.0)), min_size=1, max_size=300),
)
def test_no_bucket_waits_longer_than_the_period_and_one_commit(buckets: int, turns: list[tuple[float, float]]) -> None:
    policy, elapsed, done, longest = SnapshotPolicy(60.0, buckets), 0.0, 0, 0.0
    written = dict.fromkeys(range(buckets), 0.0)
    for pause, commit in turns:
        elapsed, longest = elapsed + pause, max(longest, pause + commit)
        if visits := policy.visits(elapsed=elapsed, done=done):
            written |= dict.fromkeys(policy.visited(visits), elapsed)
            done = visits.stop
        assert elapsed - min(written.values()) < 60.0 + longest + 1e-6
        elapsed += commit  # buckets that fall due meanwhile are not in it


@given(st.integers(1, 200), st.lists(st.floats(0.01, 1000.0), min_size=1, max_size=60))
def test_no_bucket_loses_its_turn_however_late_the_commits_are(buckets: int, pauses: list[float]) -> None:
    policy, elapsed, done = SnapshotPolicy(60.0, buckets), 0.0, 0
    order: list[int] = []
    for pause in pauses:
        elapsed += pause
        if visits := policy.visits(elapsed=elapsed, done=done):
            assert len(visits) <= policy.at_once
            done = visits.stop
            order += [visit % buckets for visit in visits]
    assert order == [place % buckets for place in range(len(order))]


@pytest.mark.parametrize("elapsed", [60.0, 61.0, 119.0, 3600.0, 3659.0])
def test_after_a_long_replay_every_bucket_is_visited_at_once_and_none_three_times(elapsed: float) -> None:
    policy, done, order = SnapshotPolicy(60.0, 64), 0, list[int]()
    while visits := policy.visits(elapsed=elapsed, done=done):
        order += [visit % 64 for visit in visits]
        done = visits.stop
    assert set(order) == set(range(64))
    assert len(order) < 128


def test_the_number_of_visits_never_goes_back() -> None:
    assert not SnapshotPolicy(60.0, 6).visits(elapsed=1.0, done=5)


def test_pauses_between_attempts_double_up_to_the_longest() -> None:
    policy = RetryPolicy(seconds=10.0, first=0.1, longest=1.0)
    assert [policy.pause(attempt) for attempt in (0, 1, 2, 9, 5000)] == pytest.approx([0.1, 0.2, 0.4, 1.0, 1.0])


def test_a_limit_counts_within_a_minute_of_the_first() -> None:
    limit = MinuteLimit(3)
    window = limit.add(Window(), 3, now=100.0)
    assert not limit.passed(window)
    assert limit.passed(limit.add(window, 1, now=159.9))
    assert not limit.passed(limit.add(window, 1, now=160.0))


def test_a_process_was_asleep_when_nothing_looked_for_longer_than_the_session() -> None:
    policy = SessionPolicy(45.0)
    assert not policy.asleep(now=145.0, last=100.0)
    assert policy.asleep(now=145.1, last=100.0)
    assert not SessionPolicy(float("inf")).asleep(now=1e9, last=0.0)

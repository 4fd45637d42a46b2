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
    assert policy.visits(elapsed=9.9, done=0) == 0
    assert policy.visits(elapsed=10.0, done=0) == 1
    assert policy.due(done=0, visits=1) == {0}
    assert policy.visits(elapsed=65.0, done=1) == 6
    assert policy.due(done=1, visits=6) == {1, 2, 3, 4, 5}
    assert policy.due(done=6, visits=7) == {0}


def test_without_a_period_every_commit_carries_every_bucket() -> None:
    policy = SnapshotPolicy(seconds=0.0, buckets=4)
    assert policy.due(done=8, visits=policy.visits(elapsed=0.0, done=8)) == {0, 1, 2, 3}


@given(st.lists(st.floats(0.01, 100.0), min_size=1, max_size=60), st.integers(1, 9))
def test_no_bucket_waits_longer_than_the_period_and_one_commit(gaps: list[float], buckets: int) -> None:
    policy, elapsed, done = SnapshotPolicy(60.0, buckets), 0.0, 0
    waits = dict.fromkeys(range(buckets), 0.0)
    for gap in gaps:
        elapsed += gap
        visits = policy.visits(elapsed=elapsed, done=done)
        for bucket in waits:
            waits[bucket] = 0.0 if bucket in policy.due(done=done, visits=visits) else waits[bucket] + gap
            assert waits[bucket] < 60.0 + gap + 1e-6
        done = visits


def test_the_number_of_visits_never_goes_back() -> None:
    assert SnapshotPolicy(60.0, 6).visits(elapsed=1.0, done=5) == 5


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

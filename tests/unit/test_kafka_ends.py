"""The ends of partitions are requested periodically; in between, a fetch covers only partitions with news."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.consumer.fetcher import FetchMetadata, FetchSessionHandler
from kafka.consumer.subscription_state import SubscriptionState

from anomaly_daemon.transport.kafka import ends
from anomaly_daemon.transport.kafka.ends import ASK_SECONDS, Ends, track_ends

FEW = {TopicPartition("readings", number): (number, 0) for number in range(3)}


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(ends, "time", made)
    return made


def session_of(node: int = 7) -> Any:
    """Return a fetch session as the client installs it."""
    fetcher = SimpleNamespace(_session_handlers={}, _handle_fetch_response=None)
    consumer = SimpleNamespace(_fetcher=fetcher, _subscription=None)
    track_ends(consumer)
    consumer._fetcher._session_handlers[node] = FetchSessionHandler(node)
    return consumer._fetcher._session_handlers[node]


def answered(session: Any, partitions: Any) -> None:
    """Answer as a broker that creates or continues the session and reports these partitions."""
    topic = SimpleNamespace(
        topic="readings", partitions=[SimpleNamespace(partition_index=one.partition) for one in partitions]
    )
    assert session.handle_response(SimpleNamespace(error_code=0, session_id=5, responses=[topic]))


def test_a_session_goes_on_and_is_begun_anew_when_it_is_time_to_ask(clock: Clock) -> None:
    session = session_of()
    assert session.build_next(dict(FEW)).metadata is FetchMetadata.INITIAL
    answered(session, FEW)
    for _ in range(3):
        clock.now += ASK_SECONDS / 4
        request = session.build_next(dict(FEW))
        assert (request.id, list(request.to_send), request.metadata.is_full) == (5, [], False)
        answered(session, [])
    clock.now += ASK_SECONDS
    request = session.build_next(dict(FEW))
    assert [len(topic.partitions) for topic in request.to_send] == [3], "every one"
    assert (request.id, request.epoch) == (5, FetchMetadata.INITIAL_EPOCH), "the broker lets go of the former session"
    answered(session, FEW)
    clock.now += ASK_SECONDS / 2
    assert not session.build_next(dict(FEW)).metadata.is_full


def test_a_session_that_was_lost_asks_for_all_by_itself_and_the_time_counts_from_there(clock: Clock) -> None:
    session = session_of()
    session.build_next(dict(FEW))
    answered(session, FEW)
    clock.now += ASK_SECONDS / 2
    session.handle_error(None)
    assert session.build_next(dict(FEW)).metadata.is_full
    answered(session, FEW)
    clock.now += ASK_SECONDS * 0.75
    assert not session.build_next(dict(FEW)).metadata.is_full


ZERO, ONE, TWO = FEW


class Consumer:
    """A consumer with the client's own subscription, at offset 5 of each partition, and a fetcher without waiting
    records."""

    def __init__(self) -> None:
        self._subscription: Any = SubscriptionState("none")
        self._subscription.assign_from_user(list(FEW))
        for name in FEW:
            self._subscription.seek(name, 5)
        self._fetcher: Any = SimpleNamespace(
            _session_handlers={},
            _handle_fetch_response=self.kept,
            _completed_fetches=deque(),
            _next_partition_records=None,
            _paused_completed_fetches={},
            _paused_partition_records={},
        )
        self.answers: list[Any] = []
        self.ends: Ends = track_ends(self)

    def kept(self, node_id: Any, fetch_offsets: Any, send_time: Any, response: Any) -> None:
        self.answers.append(response)

    def is_told(self, ends: dict[TopicPartition, int], offset: int = 5, error: int = 0) -> None:
        told = [
            SimpleNamespace(partition_index=name.partition, high_watermark=end, error_code=error)
            for name, end in ends.items()
        ]
        response = SimpleNamespace(responses=[SimpleNamespace(topic="readings", partitions=told)])
        self._fetcher._handle_fetch_response(1, dict.fromkeys(ends, offset), 0.0, response)


def test_every_end_of_an_answer_is_heard_as_it_comes_in_and_once() -> None:
    """The client itself reads one partition's records after the other's, ten thousand a poll."""
    consumer = Consumer()
    consumer.is_told({ZERO: 17_000, ONE: 18_000, TWO: 5})
    assert consumer.ends.pop_reported() == {ZERO: 17_000, ONE: 18_000, TWO: 5}
    assert consumer.ends.pop_reported() == {}
    assert len(consumer.answers) == 1, "it is the client's all the same"


def test_what_answers_no_question_of_ours_is_not_heard() -> None:
    consumer = Consumer()
    consumer._subscription.pause(ONE)
    consumer.is_told({ONE: 9})
    consumer.is_told({ZERO: 9}, offset=4)
    consumer.is_told({ZERO: 9}, error=3)
    consumer.is_told({ZERO: -1, TopicPartition("readings", 7): 9})
    assert consumer.ends.pop_reported() == {}
    consumer.is_told({ZERO: 9})
    consumer.ends.forget(ZERO)
    assert consumer.ends.pop_reported() == {}


def test_an_end_is_owed_where_it_is_asked_for_and_no_records_wait_before_it() -> None:
    consumer = Consumer()
    assert set(consumer.ends.owed()) == {ZERO, ONE, TWO}
    consumer._subscription.pause(ZERO)
    consumer._fetcher._completed_fetches.append(SimpleNamespace(topic_partition=ONE))
    assert set(consumer.ends.owed()) == {TWO}
    consumer._fetcher._next_partition_records = [1]
    assert set(consumer.ends.owed()) == set(), "the next poll gives the rest, and asks nothing"

"""The ends of partitions are asked for every so often, and in between a fetch costs only what has news."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.consumer.fetcher import FetchMetadata, FetchSessionHandler

from anomaly_daemon.transport.kafka import ends
from anomaly_daemon.transport.kafka.ends import ASK_SECONDS, hear_ends

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
    """As the client puts it in."""
    consumer = SimpleNamespace(_fetcher=SimpleNamespace(_session_handlers={}))
    hear_ends(consumer)
    consumer._fetcher._session_handlers[node] = FetchSessionHandler(node)
    return consumer._fetcher._session_handlers[node]


def answered(session: Any, partitions: Any) -> None:
    """The broker has made the session, or goes on with it; it tells of these partitions."""
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

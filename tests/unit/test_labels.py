"""Labels of alerts by stream: a limited number of the newest labels, and each stream in turn."""

from __future__ import annotations

from anomaly_daemon.daemon.labels import Labels
from anomaly_daemon.detection.feedback import Label
from anomaly_daemon.transport.feedback_codec import Feedback


def said(*streams: str, first: int = 0) -> list[tuple[int, Feedback]]:
    return [(first + at, Feedback(f"alert-{at}", Label.FALSE, stream)) for at, stream in enumerate(streams)]


def offsets(labels: Labels, stream: str) -> list[int]:
    return [offset for offset, _ in labels.of(stream)]


def test_a_stream_has_what_was_said_of_it_the_oldest_first() -> None:
    labels = Labels(10)
    labels.gather(said("a", "b", "a"), 3)
    assert offsets(labels, "a") == [0, 2]
    assert offsets(labels, "nobody") == []


def test_what_lies_past_the_end_is_gathered_with_a_later_one_and_nothing_twice() -> None:
    labels = Labels(10)
    labels.gather(said("a", "a"), 1)
    labels.gather(said("a", "a"), 2)
    assert offsets(labels, "a") == [0, 1]


def test_streams_are_named_from_a_place_on() -> None:
    labels = Labels(10)
    labels.gather(said("a", "b", "c"), 3)
    assert labels.since(1) == {"b", "c"}
    assert labels.since(3) == set()


def test_past_the_most_the_oldest_are_forgotten_and_streams_with_them() -> None:
    labels = Labels(2)
    labels.gather(said("a", "b", "b", "c"), 4)
    assert [offsets(labels, stream) for stream in "abc"] == [[], [2], [3]]
    assert set(labels.next(10)) == {"b", "c"}


def test_each_stream_has_its_turn_before_one_has_a_second() -> None:
    labels = Labels(10)
    labels.gather(said(*"abcde"), 5)
    assert sorted(labels.next(2) + labels.next(2) + labels.next(2)) == list("abcde")
    assert len(labels.next(2)) == 2


def test_of_a_topic_that_ends_before_what_was_gathered_nothing_is_left_but_what_it_says() -> None:
    labels = Labels(10)
    labels.gather(said("a", "a", "b"), 3)
    labels.gather(said("b"), 1)
    assert (offsets(labels, "a"), offsets(labels, "b"), labels.since(0), labels.next(9)) == ([], [0], {"b"}, ["b"])

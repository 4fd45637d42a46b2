"""What the records that are read show about the configuration, reported in words."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest

from anomaly_daemon.settings import LimitSettings, StreamSettings
from anomaly_daemon.transport.codec import Decoder
from anomaly_daemon.transport.legible import Legible
from anomaly_daemon.transport.ports import Partition, RecordBatch

STREAM = StreamSettings(
    key=["k"], time="t", time_unit="ms", numeric=["a", {"name": "b", "field": "in.b"}, "c"], categorical=["mode"]
)


def heard(*values: bytes, stream: StreamSettings = STREAM, of_topic: bool = False) -> Legible:
    legible, count = Legible(stream, of_topic=of_topic), len(values)
    batch = RecordBatch(
        Partition("t", 0), np.arange(count), np.full(count, -1), [None] * count, values, [()] * count, count
    )
    decoded = Decoder(stream, LimitSettings()).decode(batch)
    legible.read(decoded.observations)
    for one in decoded.rejected:
        legible.refused(one.reason, one.detail)
    return legible


def test_a_field_that_was_there_once_is_no_stranger() -> None:
    assert (
        heard(
            b'{"k": "x", "t": 1772323200000, "a": 1, "in": {"b": 2}, "c": 3, "mode": "on"}',
            b'{"k": "x", "t": 1772323200000}',
        ).doubts()
        == []
    )


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (
            b'{"k": "x", "t": 1772323200000, "in": {"b": 2}, "c": 3, "mode": "on"}',
            "stream.numeric a: present in none of 1 events",
        ),
        (
            b'{"k": "x", "t": 1772323200000, "a": 1, "c": 3, "mode": "on"}',
            r"stream.numeric b \(field in.b\): present in none of 1 events",
        ),
        (
            b'{"k": "x", "t": 1772323200000, "a": 1, "in": {"b": 2}, "c": "3", "mode": "on"}',
            "stream.numeric c: never a number in 1 events, 1 times of another type",
        ),
        (b'{"k": "x", "t": 1772323200000, "a": 1, "in": {"b": NaN}, "c": 3, "mode": "on"}', "never a finite number"),
        (
            b'{"k": "x", "t": 1772323200000, "a": 1, "in": {"b": 2}, "c": 3}',
            "stream.categorical mode: present in none of 1 events",
        ),
    ],
)
def test_a_field_that_never_was_is_named_with_what_was_there(record: bytes, said: str) -> None:
    (found,) = heard(record).doubts()
    assert re.search(said, found)


def test_half_of_the_records_may_be_unreadable_and_no_more() -> None:
    good, bad = b'{"k": "x", "t": 1772323200000, "a": 1}', b'{"t": 1772323200000, "a": 1}'
    assert heard(good, bad).complaint(2) is None
    said = heard(good, bad, b"x", bad).complaint(4)
    assert said is not None
    assert said.startswith(
        "3 of 4 records could not be read (2 missing_key, 1 malformed; for example: no text or whole"
    )
    assert said.endswith("correct the stream section; `anomaly-daemon init` writes one from a sample")


def test_late_records_are_no_fault_of_the_configuration() -> None:
    legible = heard(b'{"k": "x", "t": 1772323200000, "a": 1}')
    legible.refused("late", "older than the newest")
    assert (legible.complaint(1), legible.reasons) == (None, {})


def test_before_the_first_event_no_field_is_called_a_stranger() -> None:
    assert heard(b"x").doubts() == []


def test_seconds_that_are_taken_for_milliseconds_are_told_of() -> None:
    whole = b'{"k": "x", "t": %d, "a": 1, "in": {"b": 2}, "c": 3, "mode": "on"}'
    assert heard(whole % 1772323200, whole % 1772323200000).doubts() == []
    assert "check stream.time_unit" in heard(whole % 1772323200).doubts()[0]


def stamped(stream: StreamSettings, times: Sequence[tuple[str, int]], *, of_topic: bool = False) -> Legible:
    """Read events of these streams at these seconds, each with a value of its own."""
    values = [
        b'{"k": "%s", "t": %d, "a": %d}' % (key.encode(), 1772323200000 + 1000 * second, at * 7919 % 10007)
        for at, (key, second) in enumerate(times)
    ]
    return heard(*values, stream=stream, of_topic=of_topic)


ORDERED = StreamSettings(key=["k"], time="t", time_unit="ms", numeric=["a"])


def test_times_that_run_backwards_are_wrong_and_the_way_out_is_named() -> None:
    newest_first = stamped(ORDERED, [(key, second) for second in range(100, 0, -1) for key in "xy"])
    said = newest_first.complaint(200)
    assert said is not None
    assert said.startswith("198 of 200 events are older than an earlier one of their stream, and skipped as late: sort")
    assert "tac" in said
    assert newest_first.doubts() == []


def test_a_few_times_out_of_order_are_doubtful_and_fewer_are_usual() -> None:
    mixed = [("x", 10 * second) for second in range(98)]
    several, one = [*mixed, ("x", 5), ("x", 5)], [*mixed, ("x", 980), ("x", 5)]
    assert stamped(ORDERED, several).complaint(100) is None
    (doubt,) = stamped(ORDERED, several).doubts()
    assert doubt.startswith("stream.time: 2 of 100 events are older than an earlier one of their stream")
    assert stamped(ORDERED, one).doubts() == []


def test_a_file_with_a_few_late_events_is_not_to_be_turned_around_and_a_topic_not_sorted() -> None:
    several = [*[("x", 10 * second) for second in range(98)], ("x", 5), ("x", 5)]
    (doubt,) = stamped(ORDERED, several).doubts()
    assert "sort the records" in doubt
    assert "tac" not in doubt
    (doubt,) = stamped(ORDERED, several, of_topic=True).doubts()
    assert "see stream.late" in doubt
    assert "stream.key" in doubt
    assert "sort" not in doubt
    said = stamped(ORDERED, several[::-1], of_topic=True).complaint(100)
    assert said is not None
    assert "sort" not in said


@pytest.mark.parametrize("of_topic", [False, True])
def test_an_hour_that_local_clocks_tell_twice_is_not_to_be_sorted(of_topic: bool) -> None:
    told_twice = [*range(0, 7200, 60), *range(3600, 90_000, 60)]
    (doubt,) = stamped(ORDERED, [("x", second) for second in told_twice], of_topic=of_topic).doubts()
    assert "59 of 1,560 events are older" in doubt
    assert "clocks were set back an hour" in doubt
    assert "in UTC" in doubt


@pytest.mark.parametrize("lag", [1700, 3700])
def test_by_another_span_than_an_hour_no_clock_is_set_back(lag: int) -> None:
    early = [second for at in range(10_000, 20_000, 100) for second in (at, at - lag)]
    (doubt,) = stamped(ORDERED, [("x", second) for second in [*range(9000), *early]]).doubts()
    assert "clocks" not in doubt


@pytest.mark.parametrize("mode", ["", ', "mode": "on"'])
@pytest.mark.parametrize("number", ["1.5", "null"])
def test_records_that_come_twice_are_counted_as_a_detector_leaves_them_out(mode: str, number: str) -> None:
    stream = StreamSettings(key=["k"], time="t", time_unit="ms", numeric=["a", "b"], categorical=["mode"])

    def record(key: str, second: int, a: str = number, mode: str = mode) -> bytes:
        return f'{{"k": "{key}", "t": {1772323200000 + 1000 * second}, "a": {a}, "b": 2{mode}}}'.encode()

    def twice(*records: bytes) -> list[str]:
        return [one for one in heard(*records, stream=stream).doubts() if "duplicates" in one]

    each = [record(key, second) for second in range(10) for key in "xy"]
    assert twice(*each) == []
    (said,) = twice(*(one for one in each for _ in range(2)))
    assert said.startswith(
        "stream.time: 20 of 40 events have the time and every value of the event before them of their"
    )
    (said,) = twice(*(one for second in range(10) for one in [record("x", second), record("y", second)] * 2))
    assert "20 of 40 events" in said
    changes = record("x", 0), record("x", 0, a="7"), record("x", 0, mode=', "mode": "off"'), record("x", 1)
    assert twice(*changes) == []
    assert twice(record("x", 1), record("x", 0), record("x", 0)) == []  # both are late


def test_streams_one_after_the_other_are_in_order_and_so_is_what_is_accepted_late() -> None:
    blocks = [(key, second) for key in "xyz" for second in range(50)]
    assert stamped(ORDERED, blocks).complaint(150) is None
    assert stamped(ORDERED, blocks).doubts() == []
    accepting = ORDERED.model_copy(update={"late": "accept"})
    assert stamped(accepting, blocks[::-1]).complaint(150) is None

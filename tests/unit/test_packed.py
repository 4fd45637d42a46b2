"""The packed format: byte by byte, and no number in a message is trusted beyond the bytes that are there."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from codec_batches import APPEND, decode, reasons
from hypothesis import given
from hypothesis import strategies as st

from anomaly_daemon.detection.observation import Presence
from anomaly_daemon.settings import LimitSettings
from anomaly_daemon.transport import packed
from anomaly_daemon.transport.codec import Reason

TWO = {"format": "packed", "numeric": ["a", "b"]}


def test_the_documented_bytes_are_what_is_read() -> None:
    message = (
        b"ADPK\x01\x08\x02\x00\x02\x00\x00\x00\x01\x00\x00\x00"
        + struct.pack("<2q", APPEND, APPEND + 1)
        + struct.pack("<2d", 1.5, 2.5)
        + struct.pack("<2H", 1, 0)
        + struct.pack("<2H", 1, 2)
        + b"xyz"
    )
    assert message == packed.encode([APPEND, APPEND + 1], [[1.5], [2.5]], ["x", "yz"], [1, 0])
    found = packed.decode(message, features=1, most=10)
    assert found.keys == ("x", "yz")
    assert found.stream_N.tolist() == [1, 0]
    assert found.time_N.tolist() == [APPEND, APPEND + 1]
    assert found.values_ND.tolist() == [[1.5], [2.5]]


def test_a_signalling_nan_is_a_nan() -> None:
    message = bytearray(packed.encode([APPEND], [[1.0]], value_bytes=4))
    message[-4:] = b"\x01\x00\x80\x7f"
    assert np.isnan(packed.decode(bytes(message), features=1, most=10).values_ND).all()


keys = st.lists(st.text(st.characters(codec="utf-8"), max_size=5), max_size=4)


@given(st.integers(1, 20), st.integers(0, 4), keys, st.sampled_from([4, 8]), st.randoms(use_true_random=False))
def test_what_is_packed_is_read_back(N: int, D: int, keys: list[str], width: int, random: Any) -> None:
    times = [random.randrange(2**62) for _ in range(N)]
    values_ND = np.array([[random.random() for _ in range(D)] for _ in range(N)]).reshape(N, D).astype(np.float32)
    streams = [random.randrange(len(keys)) for _ in range(N)] if keys else None
    found = packed.decode(packed.encode(times, values_ND, keys, streams, value_bytes=width), D, most=20)
    assert found.keys == tuple(keys)
    assert found.stream_N.tolist() == (streams or [0] * N)
    assert found.time_N.tolist() == times
    np.testing.assert_array_equal(found.values_ND, values_ND)


def test_messages_of_the_same_keys_are_read_alike_and_each_is_checked() -> None:
    message = packed.encode([APPEND, APPEND], [[1.0], [2.0]], ["x", "yz"], [0, 1])
    for _ in range(2):
        assert packed.decode(message, features=1, most=10).keys == ("x", "yz")
        with pytest.raises(packed.NotPacked, match="the keys end at byte 3 of 2"):
            packed.decode(message[:-1], features=1, most=10)


def test_keys_too_many_to_be_remembered_are_read() -> None:
    keys = [f"stream {place}" for place in range(packed.REMEMBERED_BYTES)]
    assert packed.decode(packed.encode([APPEND], [[1.0]], keys, [7]), features=1, most=10).keys == tuple(keys)


def test_several_messages_are_one_batch_in_record_order() -> None:
    first = packed.encode([APPEND, APPEND], [[1, 2], [3, 4]], ["y", "unused", "x"], [2, 0])
    second = packed.encode([APPEND], [[5, 6]])
    seen = decode([first, second], keys=[None, b"y"], **TWO).observations
    assert seen.keys == ("x", "y")
    assert seen.stream_N.tolist() == [0, 1, 1]
    assert seen.offset_N.tolist() == [100, 100, 101]
    assert seen.index_N.tolist() == [0, 1, 0]
    assert seen.values_ND.tolist() == [[1, 2], [3, 4], [5, 6]]


def test_nan_is_absent_and_infinity_is_not_finite() -> None:
    message = packed.encode([APPEND], [[np.nan, -np.inf]])
    assert decode([message], **TWO).observations.presence_ND.tolist() == [[Presence.ABSENT, Presence.NOT_FINITE]]


GOOD = packed.encode([APPEND] * 3, np.ones((3, 2)), ["x", "y"], [0, 1, 0])


def at(place: int, byte: bytes, message: bytes = GOOD) -> bytes:
    return message[:place] + byte + message[place + len(byte) :]


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (b"ADPK", "less than the head"),
        (at(0, b"JSON"), "begins with"),
        (at(4, b"\x02"), "version 2"),
        (at(5, b"\x02"), "values of 2 bytes"),
        (at(12, b"\x03"), "3 values a reading"),
        (at(14, b"\x01"), "reserved"),
        (at(8, b"\x00"), "no readings"),
        (at(8, b"\x09"), "too few"),
        (at(6, b"\xff\xff"), "too few"),
        (GOOD[:-1], "keys end at"),
        (GOOD + b"x", "keys end at"),
        (at(len(GOOD) - 1, b"\xff"), "not UTF-8"),
        (at(16 + 24 + 48, b"\x02"), "stream 2"),
        (packed.encode([APPEND], [[1, 2]]) + b"x", "1 bytes too many"),
    ],
)
def test_a_message_that_is_not_what_it_says_is_rejected(message: bytes, says: str) -> None:
    decoded = decode([message], **TWO)
    assert reasons(decoded) == [Reason.MALFORMED]
    assert says in decoded.rejected[0].detail


def test_a_count_of_readings_past_the_limit_is_refused_before_the_size_is_looked_at() -> None:
    huge = at(8, b"\xff\xff\xff\xff")
    assert reasons(decode([huge], LimitSettings(readings_per_record=2), **TWO)) == [Reason.TOO_MANY_READINGS]
    assert reasons(decode([GOOD], LimitSettings(readings_per_record=3), **TWO)) == []


@pytest.mark.parametrize(
    ("time", "reason"), [(-1, Reason.MISSING_TIME), (-9, Reason.BAD_TIME), (APPEND * 2, Reason.TIME_AHEAD)]
)
def test_one_bad_time_rejects_the_message_whole(time: int, reason: Reason) -> None:
    decoded = decode([packed.encode([APPEND, time], np.ones((2, 2)))], **TWO)
    assert reasons(decoded) == [reason]
    assert "reading 1" in decoded.rejected[0].detail
    assert len(decoded.observations) == 0


@pytest.mark.parametrize(
    ("keys", "record_key", "reason"),
    [
        ([], None, Reason.MISSING_KEY),
        (["x", ""], b"k", Reason.MISSING_KEY),
        (["k" * 1025], b"k", Reason.BAD_KEY),
    ],
)
def test_a_key_that_names_no_stream_rejects_the_message(keys: list[str], record_key: bytes, reason: Reason) -> None:
    message = packed.encode([APPEND], [[1, 2]], keys)
    assert reasons(decode([message], keys=[record_key], **TWO)) == [reason]


def test_parts_that_do_not_fit_are_not_packed() -> None:
    for values, keys, streams in (
        ([[1], [2]], [], None),
        ([1], [], None),
        ([[1]], ["x"], [1]),
        ([[1]], ["x" * 70000], [0]),
    ):
        with pytest.raises(ValueError, match=r"must be|at most"):
            packed.encode([APPEND], values, keys, streams)


@pytest.mark.parametrize(
    ("times", "values", "more", "says"),
    [
        ([APPEND], [[1]], {"value_bytes": 2}, "value_bytes 2 must be 4"),
        ([2**63], [[1]], {}, "times must be numbers of 64 bits"),
        (np.array([2**63 + APPEND], np.uint64), [[1]], {}, "times must be numbers of 64 bits"),
        ([float(2**63)], [[1]], {}, "times must be numbers of 64 bits"),
        ([np.nan], [[1]], {}, "times must be numbers of 64 bits"),
        (np.array(["2026-01-02"], "datetime64[ns]"), [[1]], {}, "times must be numbers, not datetime64"),
        ([], np.zeros((0, 1)), {}, "at least one reading"),
        ([[APPEND]], [[1]], {}, "a time for each reading"),
        (APPEND, [[1]], {}, "a time for each reading"),
        ([APPEND], [[0] * 65_536], {}, "at most 65535 values a reading"),
        ([APPEND], [[1]], {"keys": [""] * 65_536}, "65535 keys: take fewer"),
        ([APPEND], [[1]], {"keys": ["x"], "streams": [-1]}, "the place of a key"),
        ([APPEND], [[1]], {"keys": ["x"], "streams": [2**16]}, "the place of a key"),
        ([APPEND], [[1]], {"keys": ["x"], "streams": np.array([2**16])}, "the place of a key"),
        ([APPEND], [[1]], {"keys": ["x"], "streams": [2**64]}, "streams must be numbers of 64 bits"),
        ([APPEND], [[1]], {"keys": ["x"], "streams": 0}, "the place of a key"),
    ],
)
def test_what_the_format_cannot_hold_is_refused_with_what_to_change(
    times: Any, values: Any, more: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        packed.encode(times, values, **more)


def test_the_readings_of_a_message_are_in_order_of_time_whatever_its_order() -> None:
    times = [APPEND + at for at in (3, 1, 2, 2, 0)]
    message = packed.encode(times, [[float(at), 0.0] for at in range(5)], keys=["p7", "p8"], streams=[0, 1, 0, 1, 1])
    found = decode([message], **TWO).observations
    assert found.values_ND[:, 0].tolist() == [4.0, 1.0, 2.0, 3.0, 0.0]
    assert (found.time_N - APPEND).tolist() == [0, 1, 2, 2, 3]
    assert [found.keys[at] for at in found.stream_N] == ["p8", "p8", "p7", "p8", "p7"]
    assert (found.keys, found.index_N.tolist()) == (("p8", "p7"), [0, 1, 2, 3, 4])

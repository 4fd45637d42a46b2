"""Hostile input: nothing raises, nothing is lost, and no record changes how another is read."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from codec_batches import APPEND, batch_of, decode
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_daemon.detection.observation import Presence
from anomaly_daemon.settings import LimitSettings, StreamSettings
from anomaly_daemon.transport import packed
from anomaly_daemon.transport.codec import Count, Decoded, Decoder
from anomaly_daemon.transport.ports import RecordBatch

STREAMS = {
    "json": StreamSettings(numeric=["a", "b.c"], categorical=["k"], key=["id"], time="t"),
    "json numbers": StreamSettings(numeric=["a", "b"], categorical=["k"], key=["id"], time="t"),
    "record key": StreamSettings(numeric=["a"]),
    "long": StreamSettings(shape="long", numeric=["a", "b"], time="t"),
    "csv": StreamSettings(
        format="csv", numeric=["a"], categorical=["k"], time="t", csv={"columns": ["a", "k", "t", "id"]}, key=["id"]
    ),
    "csv header": StreamSettings(format="csv", numeric=["a"]),
    "packed": StreamSettings(format="packed", numeric=["a", "b"]),
}
LIMITS = LimitSettings(record_bytes=400, readings_per_record=20)

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["a", "b"])
trees = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))
objects = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("a", "b", "k", "id", "metric", "value"), trees)
    | {"t": trees | st.sampled_from([APPEND, "2023-01-01", APPEND * 10])},
)
messages = st.builds(
    lambda rows, keys, width: packed.encode(
        [APPEND] * rows, np.full((rows, 2), np.inf), keys, [0] * rows, value_bytes=width
    ),
    st.integers(1, 25),
    st.lists(st.text(st.characters(codec="utf-8"), max_size=4), max_size=3),
    st.sampled_from([4, 8]),
)
bent = st.builds(
    lambda message, at, byte: message[:at] + byte + message[at + 1 :], messages, st.integers(0, 60), st.binary()
)
values = (
    st.none()
    | st.binary(max_size=500)
    | objects.map(lambda tree: json.dumps(tree).encode())
    | st.lists(st.text(max_size=6), min_size=4, max_size=4).map(lambda texts: ",".join(texts).encode())
    | messages
    | bent
)  # fmt: skip
records = st.lists(st.tuples(values, st.none() | st.binary(max_size=6) | st.just(b"s")), max_size=8)
headers = st.just(()) | st.tuples(st.tuples(st.just("csv_columns"), st.binary(max_size=5) | st.just(b"a,b,c,d")))


def batch(drawn: list[tuple[bytes | None, bytes | None]], header: Any = ()) -> RecordBatch:
    return batch_of([value for value, _ in drawn], keys=[key for _, key in drawn], headers=header)


def rows_of(decoded: Decoded) -> dict[int, list[Any]]:
    """Return what the record at each offset is read as."""
    seen = decoded.observations
    found: dict[int, list[Any]] = {rejected.row + 100: [rejected.reason] for rejected in decoded.rejected}
    for place, offset in enumerate(seen.offset_N.tolist()):
        reading = [seen.keys[seen.stream_N[place]], int(seen.index_N[place]), int(seen.time_N[place])]
        arrays = [column[place].tobytes() for column in (seen.values_ND, seen.presence_ND, seen.categories_NC)]
        found.setdefault(offset, []).append(reading + arrays)
    return found


@pytest.mark.parametrize("name", STREAMS)
@given(drawn=records, header=headers)
@settings(deadline=None)
def test_every_record_is_read_rejected_or_counted_and_nothing_raises(name: str, drawn: Any, header: Any) -> None:
    decoded = Decoder(STREAMS[name], LIMITS).decode(batch(drawn, header))
    seen = decoded.observations
    read = {offset - 100 for offset in seen.offset_N.tolist()}
    rejected = [one.row for one in decoded.rejected]
    skipped = decoded.counts[Count.TOMBSTONES] + decoded.counts[Count.UNKNOWN_METRICS]
    assert read.isdisjoint(rejected)
    assert rejected == sorted(set(rejected))
    assert len(read) + len(rejected) + skipped == len(drawn) == decoded.counts[Count.RECORDS]
    assert decoded.counts[Count.OBSERVATIONS] == len(seen)
    assert decoded.counts[Count.REJECTED] == len(rejected)


@pytest.mark.parametrize("name", STREAMS)
@given(drawn=records, header=headers)
@settings(deadline=None)
def test_what_comes_out_is_fit_for_the_detector(name: str, drawn: Any, header: Any) -> None:
    seen = Decoder(STREAMS[name], LIMITS).decode(batch(drawn, header)).observations
    present = seen.presence_ND == Presence.PRESENT
    assert np.array_equal(np.isfinite(seen.values_ND), present)
    assert (np.diff(seen.offset_N) >= 0).all()
    assert (seen.time_N >= 0).all()
    assert (seen.time_N <= APPEND + 86_400_000_000).all()
    assert list(dict.fromkeys(seen.stream_N.tolist())) == list(range(len(seen.keys)))
    for text in (*seen.keys, *seen.category_names.values()):
        text.encode("utf-8")
    assert set(seen.categories_NC.ravel().tolist()) <= {0, *seen.category_names}


@pytest.mark.parametrize("name", STREAMS)
@given(drawn=records, header=headers)
@settings(deadline=None)
def test_a_record_reads_the_same_alone_as_among_others(name: str, drawn: Any, header: Any) -> None:
    together = rows_of(Decoder(STREAMS[name], LIMITS).decode(batch(drawn, header)))
    alone: dict[int, list[Any]] = {}
    for place, record in enumerate(drawn):
        found = rows_of(Decoder(STREAMS[name], LIMITS).decode(batch([record], header)))
        alone |= dict.fromkeys([100 + place] * len(found), found.get(100, []))
    assert together == alone


number_texts = st.sampled_from(
    ["-0", "1e-400", "9007199254740993", str(2**64), str(-(2**70)), "null", "1.5", "0.1", "12"]
)
number_texts |= st.integers(-(2**70), 2**70).map(str) | st.floats(allow_nan=False, allow_infinity=False).map(repr)


@given(st.lists(st.tuples(number_texts, number_texts), min_size=1, max_size=6))
def test_numbers_have_the_same_bits_whether_or_not_another_record_holds_a_text(pairs: list[tuple[str, str]]) -> None:
    values = [b'{"a": %s, "b": %s}' % (a.encode(), b.encode()) for a, b in pairs]
    alone = decode(values, numeric=["a", "b"]).observations
    beside = decode([*values, b'{"a": "text"}'], numeric=["a", "b"]).observations
    np.testing.assert_array_equal(alone.values_ND.view(np.int64), beside.values_ND[:-1].view(np.int64))
    np.testing.assert_array_equal(alone.presence_ND, beside.presence_ND[:-1])

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_daemon.checkpoint import envelope, snapshot
from anomaly_daemon.checkpoint.envelope import Corrupt
from anomaly_daemon.checkpoint.ledger import (
    FIRST,
    Ledger,
    Regime,
    decode_ledger,
    encode_ledger,
    find_ledger,
    find_models,
    model_records,
    read_model,
)
from anomaly_daemon.checkpoint.snapshot import (
    Bucket,
    Make,
    bucket_records,
    decode_bucket,
    encode_bucket,
    take_buckets,
)
from anomaly_daemon.detection.detector import Exported
from anomaly_daemon.errors import Incompatible

MAKE = Make("digest", 1, {"stream.key": "id"})
STATE = Exported(
    ["a", "b/ü", ""],
    {"carried": np.arange(6, dtype=np.float32).reshape(3, 2), "statistics": np.array([[np.nan], [np.inf], [-0.0]])},
    {"watermark": 1_700_000_000_000_001, "rate": 0.5},
    {"carried": {"b": [2, 1], "a": [0]}, "statistics": {"seen": []}},
)
BUCKET = Bucket(MAKE, 7, 1234, STATE)
REGIMES = (Regime(0, "older", {"alarms_per_day": 2.0}), Regime(1100, "digest", {"silence": {"enabled": True}}))
LEDGER = Ledger(
    MAKE,
    1234,
    (1200, 1234, 1234),
    (5, 1_700_000_000_000_001, 6),
    (1200, 7, -1),
    REGIMES,
    ("alert-1",),
    5,
    False,
    3,
    4,
    "id-1",
)
OPTIONAL = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(OPTIONAL, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)


def sealed(body: bytes) -> bytes:
    """Return an envelope with a right checksum, whatever is in it, as an attacker would write it."""
    checksum = hashlib.blake2b(body, digest_size=32).digest()
    return envelope.ENVELOPE.pack(envelope.MAGIC, envelope.VERSION, len(body), checksum) + body


def assert_equal(found: Bucket, expected: Bucket) -> None:
    assert (found.make, found.bucket, found.position) == (expected.make, expected.bucket, expected.position)
    assert found.state.keys == expected.state.keys
    assert found.state.extra == expected.state.extra
    assert json.dumps(found.state.columns) == json.dumps(expected.state.columns), "in this order"
    assert found.state.arrays.keys() == expected.state.arrays.keys()
    for name, array in expected.state.arrays.items():
        assert found.state.arrays[name].dtype == array.dtype
        assert found.state.arrays[name].shape == array.shape
        assert found.state.arrays[name].tobytes() == array.tobytes()


def test_a_bucket_comes_back_to_the_last_bit() -> None:
    assert_equal(decode_bucket(encode_bucket(BUCKET)), BUCKET)


def test_a_bucket_without_streams_comes_back() -> None:
    empty = replace(BUCKET, state=Exported([], {"carried": np.zeros((0, 4), np.float32)}, {"watermark": 0}))
    assert_equal(decode_bucket(encode_bucket(empty)), empty)


def test_numbers_of_numpy_come_back_as_plain_ones() -> None:
    state = Exported([], {}, {"watermark": np.int64(2**53 + 1), "rate": np.float64(0.1)})  # type: ignore[dict-item]
    assert decode_bucket(encode_bucket(replace(BUCKET, state=state))).state.extra == {
        "watermark": 2**53 + 1,
        "rate": 0.1,
    }


@pytest.mark.parametrize(
    "columns",
    [
        ["carried"],
        {"carried": []},
        {"carried": {"hidden": 2}},
        {"carried": {"hidden": [-1]}},
        {"carried": {"a": [0.5]}},
    ],
)
def test_columns_that_are_none_are_refused(columns: object) -> None:
    odd = replace(BUCKET, state=replace(STATE, columns=columns))  # type: ignore[arg-type]
    with pytest.raises(Corrupt):
        decode_bucket(encode_bucket(odd))


def test_a_bucket_of_before_says_nothing_of_its_columns() -> None:
    assert decode_bucket(encode_bucket(replace(BUCKET, state=replace(STATE, columns={})))).state.columns == {}


def test_a_ledger_comes_back() -> None:
    assert decode_ledger(encode_ledger(LEDGER)) == LEDGER


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_one_changed_byte_is_refused(place: int, change: int) -> None:
    blob = bytearray(encode_bucket(BUCKET))
    blob[place % len(blob)] ^= change
    with pytest.raises(Incompatible):
        decode_bucket(bytes(blob))


@given(st.integers(0, 10_000))
def test_a_bucket_cut_short_is_refused(length: int) -> None:
    blob = encode_bucket(BUCKET)
    with pytest.raises(Corrupt, match=r"cut short|has"):
        decode_bucket(blob[: length % len(blob)])


def test_more_bytes_than_the_size_says_are_refused() -> None:
    with pytest.raises(Corrupt):
        decode_bucket(encode_bucket(BUCKET) + b"\0")


def test_another_version_is_refused_with_what_to_do() -> None:
    blob = bytearray(encode_bucket(BUCKET))
    blob[8] = 99
    with pytest.raises(Incompatible, match=r"format 99.*snapshot\.topic"):
        decode_bucket(bytes(blob))


def test_what_is_no_snapshot_at_all_is_named_so() -> None:
    with pytest.raises(Corrupt, match="not a snapshot"):
        decode_ledger(b"x" * 100)


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_clearly(blob: bytes) -> None:
    for decode in (decode_bucket, decode_ledger):
        with pytest.raises(Incompatible):
            decode(blob)


@settings(max_examples=300)
@given(st.binary(max_size=400) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_behind_a_right_checksum_are_refused_clearly(body: bytes) -> None:
    for decode in (decode_bucket, decode_ledger):
        with pytest.raises(Corrupt):
            decode(sealed(body))


@settings(max_examples=300)
@given(JSON | st.fixed_dictionaries(dict.fromkeys(("make", "bucket", "position", "keys", "extra"), JSON)), st.binary())
def test_any_head_behind_a_right_checksum_is_refused_clearly(head: object, arrays: bytes) -> None:
    text = json.dumps(head).encode()
    with pytest.raises(Corrupt):
        decode_bucket(sealed(snapshot.LENGTH.pack(len(text)) + text + arrays))


@pytest.mark.parametrize("field", ["position", "unreported", "floors"])
def test_a_number_that_no_offset_can_be_is_refused(field: str) -> None:
    told = json.loads(encode_ledger(LEDGER)[envelope.ENVELOPE.size :])
    told[field] = [2**63] * 3 if field == "floors" else 2**63
    with pytest.raises(Corrupt):
        decode_ledger(sealed(json.dumps(told).encode()))


def test_a_head_nested_without_end_is_refused() -> None:
    with pytest.raises(Corrupt):
        decode_ledger(sealed(b"[" * 1_000_000))


@given(
    st.sampled_from(("position", "floors", "watermarks", "stored", "regimes", "held", "atomic", "unreported", "make")),
    JSON,
)
def test_a_ledger_with_any_field_of_another_sort_is_refused_or_read_as_it_stands(name: str, value: object) -> None:
    told = json.loads(encode_ledger(LEDGER)[envelope.ENVELOPE.size :])
    told[name] = value
    try:
        found = decode_ledger(sealed(json.dumps(told).encode()))
    except Corrupt:
        return
    assert all(isinstance(floor, int) and floor >= 0 for floor in found.floors)
    assert len(found.watermarks) == len(found.floors)
    assert found.regimes
    assert isinstance(found.position, int)
    assert isinstance(found.unreported, int)


def stored(*records: snapshot.Outgoing) -> dict[bytes, bytes]:
    return {record.key: record.value for record in records if record.key and record.value}


def test_a_large_bucket_is_stored_in_parts_that_fit_a_message() -> None:
    records = bucket_records(BUCKET, part_bytes=100)
    assert all(len(record.value or b"") <= 100 for record in records)
    assert len({record.key for record in records}) == len(records) > 3
    assert_equal(take_buckets(stored(*records), 8)[0], BUCKET)


def test_a_part_left_over_from_a_larger_bucket_is_not_in_the_way() -> None:
    large, small = bucket_records(BUCKET, 100), bucket_records(replace(BUCKET, state=Exported([], {}, {})), 100)
    assert len(small) < len(large)
    (found,) = take_buckets(stored(*large) | stored(*small), 8)
    assert found.state.keys == []


def places(found: list[Bucket]) -> list[tuple[int, int]]:
    return [(bucket.position, bucket.slot) for bucket in found]


def test_of_two_slots_the_newer_whole_version_is_found() -> None:
    older, newer = BUCKET, replace(BUCKET, position=2000, slot=1)
    both = stored(*bucket_records(older, 100), *bucket_records(newer, 100))
    assert places(take_buckets(dict(both), 8)) == [(2000, 1)]
    assert places(take_buckets(dict(both), 8, most=1999)) == [(1234, 0)]
    with pytest.raises(Corrupt, match="is ahead of the committed offset"):
        take_buckets(dict(both), 8, most=1000)
    del both[b"bucket/7.1/2"]
    assert places(take_buckets(dict(both), 8)) == [(1234, 0)]
    with pytest.raises(Corrupt, match="part 2 is missing"):
        take_buckets(dict(both), 8, most=1000)


def test_a_bucket_that_was_taken_is_gone_in_both_its_slots_and_nothing_else_is() -> None:
    other = {b"ledger": b"of it", b"model/x/0": b"weights", b"bucket/77/0": b"of more buckets than there are"}
    slots = [replace(BUCKET, slot=slot, turn=1 + slot) for slot in (0, 1)]
    kept = stored(*bucket_records(slots[0], 100), *bucket_records(slots[1], 300)) | other
    found = take_buckets(dict(kept), 8)
    taken = take_buckets(kept, 8)
    assert [one.slot for one in taken] == [one.slot for one in found] == [1]
    assert_equal(taken[0], found[0])
    assert kept == other


def test_a_missing_part_is_refused() -> None:
    records = bucket_records(BUCKET, 100)
    with pytest.raises(Corrupt, match="part 1 is missing"):
        take_buckets(stored(records[0], *records[2:]), 8)


def test_a_bucket_under_another_number_is_refused() -> None:
    (record,) = bucket_records(BUCKET)
    with pytest.raises(Corrupt, match="bucket 3 holds bucket 7"):
        take_buckets({b"bucket/3/0": record.value or b""}, 8)


def test_a_store_without_a_ledger_has_none() -> None:
    assert find_ledger({}) is None
    assert find_ledger(stored(*replace(FIRST, topic_id=LEDGER.topic_id).records(LEDGER))) == LEDGER


def test_a_model_is_stored_in_parts_and_comes_back_and_a_damaged_one_is_refused() -> None:
    records = model_records("abc", bytes(range(256)) * 8000)
    together = stored(*records) | stored(*model_records("def", b"small"))
    assert len(records) == 3
    assert read_model(together, "abc") == bytes(range(256)) * 8000
    assert find_models(together) == {"abc": [record.key for record in records], "def": [b"model/def/0"]}
    del together[b"model/abc/1"]
    with pytest.raises(Corrupt, match="model abc"):
        read_model(together, "abc")


def test_makes_that_differ_say_in_which_setting_and_how() -> None:
    other = Make("digest", 2, {"stream.key": "machine", "stream.timezone": "UTC"})
    assert MAKE.differences(other) == [
        "the state format was 2 and is 1",
        "stream.key was 'machine' and is 'id'",
        "stream.timezone was 'UTC' and is 'not set'",
    ]
    assert MAKE.differences(MAKE) == []

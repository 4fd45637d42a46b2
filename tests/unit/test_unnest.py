"""Messages that hold a list of JSON records (`stream.unnest`)."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any
from unittest import mock

import numpy as np
import pytest
from codec_batches import APPEND, decode, reasons
from hypothesis import given
from hypothesis import strategies as st

from anomaly_daemon.configuration import config_digest
from anomaly_daemon.settings import LimitSettings, Settings, StreamSettings
from anomaly_daemon.transport.rejection import Reason

READINGS = {"key": ["gw", "pump"], "time": "ts", "numeric": ["flow"], "unnest": "readings"}
KEYED: dict[str, Any] = {"key": ["s"], "time": "t", "numeric": ["a"], "unnest": "."}
TIME = 1_700_000_000


def message(*readings: Any, **around: Any) -> bytes:
    return json.dumps({"gw": "g", "ts": TIME, "readings": list(readings)} | around).encode()


def test_each_element_is_an_event_at_its_place_in_the_message() -> None:
    first = message({"pump": "a", "flow": 1.5}, {"pump": "b", "flow": 2})
    decoded = decode([first, message({"pump": "a", "ts": TIME + 1, "flow": None})], **READINGS)
    found = decoded.observations
    assert decoded.rejected == ()
    assert found.keys == ("g/a", "g/b")
    assert [found.keys[at] for at in found.stream_N] == ["g/a", "g/b", "g/a"]
    assert found.offset_N.tolist() == [100, 100, 101]
    assert found.index_N.tolist() == [0, 1, 0]
    assert found.time_N.tolist() == [TIME * 1_000_000, TIME * 1_000_000, (TIME + 1) * 1_000_000]
    assert found.values_ND[:2, 0].tolist() == [1.5, 2.0]
    assert found.append_N.tolist() == [APPEND] * 3
    assert decoded.counts["records"] == 2
    assert decoded.counts["observations"] == 3


def test_the_message_itself_may_be_the_list() -> None:
    found = decode([b'[{"a": 1, "s": "x"}, {"a": 2, "s": "y"}]'], unnest=".", key=["s"]).observations
    assert (found.keys, found.values_ND.tolist()) == (("x", "y"), [[1.0], [2.0]])


def test_lists_within_lists_are_entered_on_the_way() -> None:
    tree = {"site": "s", "devices": [{"id": "d1", "points": [{"a": 1}, {"a": 2}]}, {"id": "d2", "points": [{"a": 3}]}]}
    found = decode([json.dumps(tree).encode()], unnest="devices.points", key=["site", "id"]).observations
    assert [found.keys[at] for at in found.stream_N] == ["s/d1", "s/d1", "s/d2"]
    assert found.values_ND[:, 0].tolist() == [1.0, 2.0, 3.0]
    assert found.index_N.tolist() == [0, 1, 2]


def test_a_name_with_dots_and_paths_into_elements() -> None:
    tree = {"a.b": [{"v": {"x": 1}}, {"v": {"x": 2}}]}
    found = decode([json.dumps(tree).encode()], unnest="a.b", numeric=["v.x"]).observations
    assert found.values_ND[:, 0].tolist() == [1.0, 2.0]


def test_an_empty_list_and_null_hold_no_record_and_one_object_is_a_list_of_one() -> None:
    values = [message(), message().replace(b"[]", b"null"), b'{"gw": "g", "ts": 1700000000, "readings": {"pump": "a"}}']
    decoded = decode(values, **READINGS)
    assert decoded.rejected == ()
    assert decoded.observations.offset_N.tolist() == [102]
    assert decoded.counts["no_records"] == 2
    assert decode([message(), b"["], **READINGS).counts["no_records"] == 1


def test_a_message_is_read_or_rejected_as_a_whole_and_the_record_is_named() -> None:
    good = {"pump": "a", "flow": 1}
    values = [message(good, {"flow": 2}), message(good), message(good, {"pump": "b", "ts": "x"})]
    decoded = decode(values, **READINGS)
    assert decoded.observations.offset_N.tolist() == [101]
    assert reasons(decoded) == [Reason.MISSING_KEY, Reason.BAD_TIME]
    assert [one.row for one in decoded.rejected] == [0, 2]
    assert [one.detail[:10] for one in decoded.rejected] == ["reading 1:", "reading 1:"]
    assert decoded.counts["rejected"] == 2


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{", Reason.MALFORMED),
        (b'{"a": 1}', Reason.MALFORMED),
        (b'{"readings": 3}', Reason.MALFORMED),
        (b'{"readings": [3]}', Reason.MALFORMED),
        (b'{"readings": [{"pump": "a"}, null]}', Reason.MALFORMED),
        (b'{"readings": [{"pump": "\xff"}]}', Reason.BAD_UTF8),
        (b'{"readings": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", Reason.TOO_DEEP),
        (message(*[{}] * 4), Reason.TOO_MANY_READINGS),
    ],
)
def test_what_cannot_be_parted_is_a_dead_letter(value: bytes, reason: Reason) -> None:
    decoded = decode([value], LimitSettings(readings_per_record=3), **READINGS)
    assert (reasons(decoded), len(decoded.observations)) == ([reason], 0)


def test_lists_that_lie_deep_within_lists_are_rejected_or_read() -> None:
    for depth in (10, 300, 900):
        value = b'{"readings": ' + b"[" * depth + b'{"a": 1}' + b"]" * depth + b"}"
        decoded = decode([value], unnest="readings")
        assert len(decoded.observations) + len(decoded.rejected) == 1


def test_metrics_of_one_stream_and_time_become_one_event_in_the_long_shape() -> None:
    points = [
        {"h": "x", "t": TIME, "metric": "cpu", "value": 1},
        {"h": "y", "t": TIME, "metric": "cpu", "value": 2},
        {"h": "x", "t": TIME, "metric": "mem", "value": None},
        {"h": "x", "t": TIME, "metric": "disk", "value": 9},
        {"h": "x", "t": TIME + 1, "metric": "mem", "value": 4},
        {"h": "x", "t": TIME, "metric": "cpu", "value": 5},
        {"h": "x", "t": TIME, "metric": "mem", "value": 3},
    ]
    settings: dict[str, Any] = {"shape": "long", "key": ["h"], "time": "t", "numeric": ["cpu", "mem"], "unnest": "."}
    decoded = decode([json.dumps(points).encode(), json.dumps(points[:1]).encode()], **settings)
    found = decoded.observations
    assert [found.keys[at] for at in found.stream_N] == ["x", "y", "x", "x", "x"]
    expected = [[1, 3], [2, np.nan], [5, np.nan], [np.nan, 4], [1, np.nan]]
    assert np.array_equal(found.values_ND, expected, equal_nan=True)
    assert found.index_N.tolist() == [0, 1, 4, 6, 0]
    assert found.offset_N.tolist() == [100, 100, 100, 100, 101]
    assert decoded.counts["unknown_metrics"] == 1
    assert (np.isnan(found.values_ND) == (found.presence_ND != 0)).all()


@pytest.mark.parametrize("fault", [{"metric": ""}, {"h": None}, {"t": "never"}])
def test_unknown_metrics_of_a_rejected_message_are_not_counted_beside_it(fault: dict[str, Any]) -> None:
    point = {"h": "x", "t": TIME, "metric": "cpu", "value": 1}
    unknown = point | {"metric": "disk"}
    settings: dict[str, Any] = {"shape": "long", "key": ["h"], "time": "t", "numeric": ["cpu"], "unnest": "."}
    decoded = decode([json.dumps(one).encode() for one in ([unknown, point | fault], [unknown, point])], **settings)
    assert [one.row for one in decoded.rejected] == [0]
    assert decoded.counts["unknown_metrics"] == 1


def test_metrics_without_a_value_are_no_events_of_their_own_beside_others() -> None:
    points = [
        {"h": "x", "t": TIME, "metric": name, "value": value}
        for name, value in zip("abcd", [None, None, 1, None], strict=True)
    ]
    settings: dict[str, Any] = {"shape": "long", "key": ["h"], "time": "t", "numeric": ["a", "b", "c", "d"]}
    found = decode([json.dumps(points).encode()], unnest=".", **settings).observations
    assert np.array_equal(found.values_ND, [[np.nan, np.nan, 1, np.nan]], equal_nan=True)
    found = decode([json.dumps(points[:2]).encode()], unnest=".", **settings).observations
    assert found.presence_ND.tolist() == [[1, 1, 1, 1]]


def test_a_message_is_rejected_for_the_first_of_its_readings_that_has_no_valid_key() -> None:
    first, second = ([{"s": name, "t": TIME} for name in names] for names in (["", "a"], ["a", "x" * 2000, ""]))
    decoded = decode([json.dumps(one).encode() for one in (first, second)], **KEYED)
    assert [one.reason for one in decoded.rejected] == [Reason.MISSING_KEY, Reason.BAD_KEY]
    assert [one.detail[:9] for one in decoded.rejected] == ["reading 0", "reading 1"]


def test_readings_without_a_key_are_not_searched_for_one_by_one() -> None:
    value = json.dumps([{"s": None, "t": TIME} for _ in range(1000)]).encode()
    with mock.patch.object(np, "flatnonzero", wraps=np.flatnonzero) as search:
        decode([value], **KEYED)
    assert search.call_count < 10


def test_the_records_of_a_message_are_in_order_of_time_whatever_its_order() -> None:
    listed = [("b", 2), ("b", 0), ("a", 1), ("a", 0), ("b", 1)]
    readings = [{"pump": pump, "ts": TIME + at, "flow": place} for place, (pump, at) in enumerate(listed)]
    found = decode([message(*readings), message(readings[1])], **READINGS).observations
    assert found.values_ND[:, 0].tolist() == [1, 3, 2, 4, 0, 1]
    assert [found.keys[at] for at in found.stream_N] == ["g/b", "g/a", "g/a", "g/b", "g/b", "g/b"]
    assert found.keys == ("g/b", "g/a")
    assert (found.time_N // 1_000_000 - TIME).tolist() == [0, 0, 1, 1, 2, 0]
    assert found.offset_N.tolist() == [100] * 5 + [101]
    assert found.index_N.tolist() == [0, 1, 2, 3, 4, 0]


def test_a_message_with_many_records_and_many_fields_around_them_needs_little_memory() -> None:
    value = json.dumps({f"n{at}": at for at in range(2_000)} | {"gw": "g", "readings": [{}] * 2_000}).encode()
    tracemalloc.start()
    try:
        found = decode([value], key=["gw"], numeric=["n7"], unnest="readings").observations
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.values_ND[:, 0].tolist() == [7.0] * 2_000
    assert most < 100 * len(value)


def test_the_records_of_a_poll_are_not_all_held_at_once() -> None:
    values = [json.dumps([{"a": 1, "text": [at] * 50} for _ in range(200)]).encode() for at in range(40)]
    peaks = []
    for some in (values[:1], values):
        tracemalloc.start()
        try:
            decode(some, unnest=".")
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 10 * peaks[0]


@pytest.mark.parametrize("shape", ["wide", "long"])
def test_it_does_not_matter_how_messages_are_cut_into_batches(shape: str) -> None:
    """Records of one stream and time in two messages stay two events, and the order in time is that of each message."""
    numeric = {"wide": ["value"], "long": ["cpu", "mem"]}[shape]
    messages = [
        json.dumps([{"h": host, "t": TIME + at % 2, "metric": name, "value": at + number} for host, name, at in listed])
        for number, listed in enumerate([[("x", "cpu", 1), ("y", "cpu", 0), ("x", "mem", 1)], [("x", "mem", 1)], []])
    ]
    values = [one.encode() for one in messages]
    settings: dict[str, Any] = {"shape": shape, "key": ["h"], "time": "t", "numeric": numeric, "unnest": "."}
    whole = decode(values, **settings).observations
    parts = [decode([one], **settings).observations for one in values]
    assert [whole.keys[at] for at in whole.stream_N] == [part.keys[at] for part in parts for at in part.stream_N]
    for name in ("index_N", "time_N", "values_ND", "presence_ND"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        assert np.array_equal(getattr(whole, name), joined, equal_nan=name == "values_ND"), name


record = st.fixed_dictionaries(
    {"s": st.sampled_from("ab"), "t": st.integers(TIME, TIME + 5)},
    optional={"a": st.none() | st.floats() | st.integers() | st.text(max_size=2), "c": st.sampled_from("xy")},
)


@given(st.lists(st.lists(record, max_size=5), max_size=4))
def test_records_in_lists_are_read_as_records_one_by_one(lists: list[list[Any]]) -> None:
    settings: dict[str, Any] = {"key": ["s"], "time": "t", "numeric": ["a"], "categorical": ["c"]}
    parted = decode([json.dumps(one).encode() for one in lists], unnest=".", **settings).observations
    in_time = [sorted(several, key=lambda one: int(one["t"])) for several in lists]
    flat = decode([json.dumps(one).encode() for several in in_time for one in several], **settings).observations
    assert parted.keys == flat.keys
    for name in ("stream_N", "time_N", "values_ND", "presence_ND", "categories_NC"):
        assert np.array_equal(getattr(parted, name), getattr(flat, name), equal_nan=name == "values_ND"), name
    places = [(100 + at, index) for at, several in enumerate(lists) for index in range(len(several))]
    assert list(zip(parted.offset_N.tolist(), parted.index_N.tolist(), strict=True)) == places


def test_only_json_avro_and_protobuf_are_unnested() -> None:
    with pytest.raises(ValueError, match="unnest is for json, avro and protobuf, and format is csv"):
        StreamSettings(format="csv", unnest="a", numeric=["a"])


def test_the_digest_of_a_configuration_without_it_stays() -> None:
    def digest(**stream: Any) -> str:
        source: Any = {"kind": "files", "paths": ["-"]}
        return config_digest(Settings(name="x", source=source, stream=StreamSettings(numeric=["a"], **stream)))

    assert digest() == digest(unnest=None)
    assert digest() != digest(unnest="a")

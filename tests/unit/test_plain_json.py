"""Plain JSON that is read in one pass gives the same result as the decoders for any JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_daemon.transport.columns import Table, Texts, Wholes
from anomaly_daemon.transport.json_fields import JsonFields
from anomaly_daemon.transport.plain_json import FEW, PlainJson
from anomaly_daemon.transport.rejection import Rejections

PATHS, NUMERIC = ["id", "t", "a", "ä"], ["a", "ä"]


def plain(values: list[bytes]) -> Table | None:
    return PlainJson(PATHS, NUMERIC).read(values, np.arange(len(values)))


def by_others(values: list[bytes]) -> Table:
    """Read the values in batches so small that the decoders for any JSON read them."""
    few = [values[at : at + FEW - 1] for at in range(0, len(values), FEW - 1)]
    rejections = Rejections()
    tables = [JsonFields(PATHS, NUMERIC).read(part, np.arange(len(part)), rejections) for part in few]
    assert not len(rejections)
    assert all(table.numbers is not None for table in tables)
    columns = {path: [value for table in tables for value in table.columns[path]] for path in tables[0].columns}
    numbers = np.concatenate([table.numbers for table in tables if table.numbers is not None])
    return Table(np.arange(len(values)), columns, numbers)


def assert_same(values: list[bytes]) -> None:
    """Assert that both ways give the same result, if the fast way reads these values at all."""
    found = plain(values)
    if found is None:
        return
    other = by_others(values)
    assert found.numbers is not None
    assert other.numbers is not None
    assert np.isnan(found.numbers).tolist() == np.isnan(other.numbers).tolist()
    there = ~np.isnan(found.numbers)
    assert found.numbers[there].tobytes() == other.numbers[there].tobytes()
    for path in ("id", "t"):
        assert [(type(one), one) for one in found.columns[path]] == [(type(one), one) for one in other.columns[path]]


def many(*values: bytes) -> list[bytes]:
    return list(values) * (FEW // len(values) + 1)


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
trees = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))
numeric = st.none() | st.floats(-1e30, 1e30) | st.integers(-(10**20), 10**20)
texts = st.sampled_from(["s1", "s2", "é", "", "long" * 9]) | st.text(max_size=3)
objects = st.fixed_dictionaries(
    {"id": texts, "t": st.integers(-(10**12), 10**18)},
    optional={"a": numeric, "ä": numeric, "b": trees, "c": trees},
)
spaced = st.sampled_from([None, 0, 3])
written = st.builds(
    lambda tree, indent, ascii_alone: json.dumps(tree, indent=indent, ensure_ascii=ascii_alone).encode(
        "utf-8", "replace"
    ),
    objects,
    spaced,
    st.booleans(),
)
bent = st.builds(
    lambda value, at, octets: value[: at % len(value)] + octets + value[at % len(value) + 1 :],
    written,
    st.integers(0, 10**6),
    st.binary(max_size=2)
    | st.sampled_from([b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"0", b".", b"e", b" ", b""]),
)


@given(st.lists(written, min_size=1, max_size=4))
@settings(deadline=None)
def test_objects_of_any_kind_read_the_same(values: list[bytes]) -> None:
    assert_same(many(*values))


@given(written, bent)
@settings(deadline=None)
def test_a_bent_object_is_refused_or_reads_the_same(sound: bytes, broken: bytes) -> None:
    assert_same(many(sound, broken))


ordinary = st.none() | st.floats(-1e30, 1e30).map(lambda one: round(one, 9)) | st.integers(-(10**17), 10**17)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10**15), ordinary), min_size=1))
@settings(deadline=None)
def test_what_is_plain_is_read(rows: list[tuple[int, int, Any]]) -> None:
    values = many(*(b'{"id":"x%d","t":%d,"a":%s}' % (key, t, json.dumps(a).encode()) for key, t, a in rows))
    found = plain(values)
    assert found is not None
    assert isinstance(found.columns["id"], Texts)
    assert isinstance(found.columns["t"], Wholes)
    assert_same(values)


@pytest.mark.parametrize(
    "value",
    [
        b'{"id":"s","t":1,"a":1.5,"b":{"x":[1,{"y":null},[]],"z":{}},"c":"\\n\\"","d":true}',
        ' {"ä": 2, "t" :\t1 , "id": "é" , "a":null}\n'.encode(),
        b'{"id":"s","t":1,"a":1,"a":2,"id":"u"}',
        b'{"id":"","t":-5}',
    ],
)
def test_spaces_order_other_fields_and_repeated_names_are_plain(value: bytes) -> None:
    assert plain(many(value)) is not None
    assert_same(many(value))


@pytest.mark.parametrize(
    "value",
    [
        b'{"id":"s","t":1,"a":"1"}',
        b'{"id":"s","t":1.5,"a":1}',
        b'{"id":"s","a":1}',
        b'{"id":null,"t":1}',
        b'{"id":"s","t":1,"a":NaN}',
        b'{"id":"\\u0073","t":1}',
        b'{"id":"s","t":1,"\\u0061":1}',
        b'{"id":"s","t":1,"b":"\\ud800"}',
        b'{"id":"s","t":1,"b":"\xff"}',
        b'{"id":"s","t":1,"b":' + b"[" * 90 + b"]" * 90 + b"}",
        b'{"id":"s","t":1}}',
        b'{"id":"s","t":1}{"id":"s","t":1}',
        b'{"id":"s","t":1,}',
        b'{"id":"s","t":1\0}',
        b'{"id":"s","t":1',
        b'{"id":"s","t"',
        b'{"id":"s',
        b"[]",
        b"{}",
        b"",
        b"1",
    ],
)
def test_anything_else_is_left_to_the_others(value: bytes) -> None:
    assert plain([*many(b'{"id":"s","t":1,"a":1}'), value]) is None


def test_other_values_of_two_kinds_are_left_to_the_others() -> None:
    assert plain(many(b'{"id":"s","t":1}', b'{"id":7,"t":1}')) is None


def test_texts_that_are_made_to_fall_together_are_read_all_the_same() -> None:
    """The hash function is no secret, so such texts can be made."""
    ends = colliding(400)
    values = [b'{"id":"%s","t":1}' % text for text in ends]
    found = plain(values)
    assert found is not None
    assert list(found.columns["id"]) == [text.decode() for text in ends]


def colliding(count: int) -> list[bytes]:
    """Return texts that all fall into the same few of 1,024 slots."""
    found: list[bytes] = []
    number = 0
    while len(found) < count:
        text = b"%d" % number
        mixed = 0xCBF29CE484222325
        for octet in text:
            mixed = (mixed ^ octet) * 0x100000001B3 % 2**64
        if (mixed ^ mixed >> 32) % 1024 < 4:
            found.append(text)
        number += 1
    return found


def test_the_code_is_there_before_the_first_record_where_a_daemon_asks_for_it() -> None:
    script = (
        "import sys; from anomaly_daemon.transport.codec import Decoder; from anomaly_daemon.settings import *;"
        "decoder = Decoder(StreamSettings(numeric=['a'], key=['id'], time='t'), LimitSettings());"
        "assert 'numba' not in sys.modules; decoder.warmed();"
        "from anomaly_daemon.transport import json_scan; assert json_scan.scan.signatures and json_scan.distinct.signatures"
    )
    subprocess.run([sys.executable, "-c", script], check=True)

"""A dead letter is the record byte for byte, with its reason and origin."""

from __future__ import annotations

import json
from base64 import b64decode

from codec_batches import APPEND, batch_of
from hypothesis import given
from hypothesis import strategies as st

from anomaly_daemon.transport.dead_letters import Letter, as_json, dead_letter, of_json, of_record
from anomaly_daemon.transport.ports import Outgoing

maybe_bytes = st.none() | st.binary(max_size=20)
headers = st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=5)), max_size=3).map(tuple)


def original(letter: Letter) -> Outgoing:
    """Return the record as it was received."""
    return Outgoing(letter.key, letter.value, tuple((one.name, one.value) for one in letter.headers))


def test_reason_and_origin_stand_in_headers() -> None:
    batch = batch_of([b"x", b"{"], headers=(("trace", b"\xff"),))
    letter = dead_letter(batch, 1, "malformed", "no end", "decode")
    assert letter.headers == (
        ("trace", b"\xff"),
        ("dead_letter_reason", b"malformed"),
        ("dead_letter_detail", b"no end"),
        ("dead_letter_stage", b"decode"),
        ("dead_letter_topic", b"readings"),
        ("dead_letter_partition", b"3"),
        ("dead_letter_offset", b"101"),
        ("dead_letter_timestamp", str(APPEND).encode()),
    )


@given(maybe_bytes, maybe_bytes, headers)
def test_the_record_comes_back_byte_for_byte(key: bytes, value: bytes, headers: tuple[tuple[str, bytes], ...]) -> None:
    letter = dead_letter(batch_of([value], keys=[key], headers=headers), 0, "empty", "", "decode")
    assert (letter.key, letter.value) == (key, value)
    assert original(of_record(letter)) == original(of_json(as_json(letter))) == Outgoing(key, value, headers)


def test_a_record_that_died_twice_comes_back_as_it_last_came_in() -> None:
    first = dead_letter(batch_of([b"x"]), 0, "malformed", "", "decode")
    again = dead_letter(batch_of([first.value], keys=[first.key], headers=first.headers), 0, "malformed", "", "decode")
    assert original(of_record(again)) == first
    assert original(of_record(original(of_record(again)))) == Outgoing(b"pump", b"x")


def test_a_detail_is_cut_and_always_fit_for_a_header() -> None:
    letter = dead_letter(batch_of([b"x"]), 0, "malformed", "\ud800" + "y" * 1000, "decode")
    assert dict(letter.headers)["dead_letter_detail"] == b"?" + b"y" * 299


@given(maybe_bytes, maybe_bytes, headers)
def test_a_line_of_json_holds_the_same(key: bytes, value: bytes, headers: tuple[tuple[str, bytes], ...]) -> None:
    line = as_json(dead_letter(batch_of([value], keys=[key], headers=headers), 0, "empty", "why", "decode"))
    assert b"\n" not in line
    read = json.loads(line)
    assert (read["reason"], read["detail"], read["topic"], read["offset"]) == ("empty", "why", "readings", "100")
    assert [None if read[part] is None else b64decode(read[part]) for part in ("key", "value")] == [key, value]
    assert [(one["name"], b64decode(one["value"])) for one in read["headers"]] == list(headers)

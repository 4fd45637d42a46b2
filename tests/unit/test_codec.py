"""What becomes of each kind of record, good or bad: the table in docs/input.md, row by row."""

from __future__ import annotations

import json

import numpy as np
import pytest
from codec_batches import APPEND, decode, reasons

from anomaly_daemon.detection.observation import MISSING_CATEGORY, Presence, category_code
from anomaly_daemon.settings import LimitSettings
from anomaly_daemon.transport.codec import Count, Reason


def test_a_wide_json_record_becomes_one_observation() -> None:
    decoded = decode([b'{"a": 1.5, "b": 2, "kind": "in", "other": [1]}'], numeric=["a", "b"], categorical=["kind"])
    seen = decoded.observations
    assert (seen.topic, seen.partition, seen.keys) == ("readings", 3, ("pump",))
    assert seen.offset_N.tolist() == [100]
    assert seen.time_N.tolist() == seen.append_N.tolist() == [APPEND]
    assert seen.values_ND.tolist() == [[1.5, 2.0]]
    assert seen.presence_ND.tolist() == [[Presence.PRESENT, Presence.PRESENT]]
    assert seen.categories_NC.tolist() == [[category_code("in")]]
    assert seen.category_names == {category_code("in"): "in"}


@pytest.mark.parametrize(
    ("text", "presence"),
    [
        (b"1e-3", Presence.PRESENT),
        (b"null", Presence.ABSENT),
        (b'""', Presence.ABSENT),
        (b'"12.5"', Presence.WRONG_TYPE),
        (b"true", Presence.WRONG_TYPE),
        (b"[1]", Presence.WRONG_TYPE),
        (b'{"x": 1}', Presence.WRONG_TYPE),
        (b"NaN", Presence.NOT_FINITE),
        (b"-Infinity", Presence.NOT_FINITE),
        (b"1e999", Presence.NOT_FINITE),
        (b"2e30", Presence.NOT_FINITE),
        (b"9" * 40, Presence.NOT_FINITE),
        (b"9" * 350, Presence.NOT_FINITE),
        (b"9" * 5000, Presence.NOT_FINITE),
    ],
)
@pytest.mark.parametrize("beside", [b"1.0", b'"text"'])
def test_a_json_value_is_a_number_or_says_why_not(text: bytes, presence: Presence, beside: bytes) -> None:
    """This must not depend on other records of the batch: columns of numbers are read by other code than mixed ones."""
    seen = decode([b'{"a": ' + text + b"}", b'{"a": ' + beside + b"}"]).observations
    assert seen.presence_ND[0, 0] == presence
    assert np.isnan(seen.values_ND[0, 0]) == (presence != Presence.PRESENT)


@pytest.mark.parametrize(
    ("text", "presence"),
    [
        (b" 12.5 ", Presence.PRESENT),
        (b"", Presence.ABSENT),
        (b"NA", Presence.ABSENT),
        (b"null", Presence.ABSENT),
        (b"on", Presence.WRONG_TYPE),
        (b"12_5", Presence.WRONG_TYPE),
        (b"nan", Presence.NOT_FINITE),
        (b"inf", Presence.NOT_FINITE),
        (b"1e31", Presence.NOT_FINITE),
    ],
)
@pytest.mark.parametrize("beside", [b"1.0", b"text"])
def test_a_csv_text_is_a_number_or_says_why_not(text: bytes, presence: Presence, beside: bytes) -> None:
    csv = {"columns": ["a", "b"]}
    seen = decode([text + b",x", beside + b",x"], format="csv", csv=csv).observations
    assert seen.presence_ND[0, 0] == presence
    assert np.isnan(seen.values_ND[0, 0]) == (presence != Presence.PRESENT)


@pytest.mark.parametrize(
    ("text", "presence"),
    [
        (b'"12.5"', Presence.PRESENT),
        (b"12.5", Presence.PRESENT),
        (b'""', Presence.ABSENT),
        (b'"NA"', Presence.ABSENT),
        (b"null", Presence.ABSENT),
        (b'"on"', Presence.WRONG_TYPE),
        (b"true", Presence.WRONG_TYPE),
        (b"[1]", Presence.WRONG_TYPE),
        (b'"12,5"', Presence.WRONG_TYPE),
        (b'"12_5"', Presence.WRONG_TYPE),
        (b'"inf"', Presence.NOT_FINITE),
        (b"9" * 350, Presence.NOT_FINITE),
    ],
)
@pytest.mark.parametrize("beside", [b"1.0", b'"1.0"', b'"text"'])
def test_a_number_in_quotes_counts_where_it_is_asked_for(text: bytes, presence: Presence, beside: bytes) -> None:
    seen = decode([b'{"a": ' + text + b"}", b'{"a": ' + beside + b"}"], text_numbers=True).observations
    assert seen.presence_ND[0, 0] == presence
    assert np.isnan(seen.values_ND[0, 0]) == (presence != Presence.PRESENT)
    if presence == Presence.PRESENT:
        assert seen.values_ND[0, 0] == 12.5


@pytest.mark.parametrize(
    ("text", "presence"),
    [
        (b"12,5", Presence.PRESENT),
        (b"", Presence.ABSENT),
        (b"1.234,5", Presence.WRONG_TYPE),
        (b"12.5", Presence.WRONG_TYPE),
        (b"1_2,5", Presence.WRONG_TYPE),
    ],
)
@pytest.mark.parametrize("beside", [b"1", b"text"])
def test_a_decimal_comma_is_read_and_a_point_beside_it_is_never_guessed_at(
    text: bytes, presence: Presence, beside: bytes
) -> None:
    csv = {"columns": ["a", "b"], "delimiter": ";"}
    seen = decode([text + b";x", beside + b";x"], format="csv", csv=csv, decimal=",").observations
    assert seen.presence_ND[0, 0] == presence
    assert presence != Presence.PRESENT or seen.values_ND[0, 0] == 12.5
    quoted = decode([b'{"a": "' + text + b'"}'], text_numbers=True, decimal=",").observations
    assert quoted.presence_ND[0, 0] == presence


def test_an_epoch_with_a_decimal_comma_is_a_time() -> None:
    csv = {"columns": ["t", "a"], "delimiter": ";"}
    seen = decode([b"1700049600,5;1"], format="csv", csv=csv, decimal=",", time="t", time_unit="s").observations
    assert seen.time_N.tolist() == [1_700_049_600_500_000]


def test_a_field_that_is_not_in_the_record_is_absent() -> None:
    assert decode([b'{"b": 1}']).observations.presence_ND.tolist() == [[Presence.ABSENT]]


def test_the_magnitude_limit_is_the_configurations() -> None:
    presence = decode([b'{"a": 101}', b'{"a": -101}', b'{"a": 100}'], magnitude_limit=100).observations.presence_ND
    assert presence[:, 0].tolist() == [Presence.NOT_FINITE, Presence.NOT_FINITE, Presence.PRESENT]


@pytest.mark.parametrize(
    ("text", "shown"), [(b'"in"', "in"), (b"7", "7"), (b"true", "true"), (b"null", None), (b'""', None), (b"[]", None)]
)
def test_a_category_is_a_text_a_whole_number_or_a_boolean(text: bytes, shown: str | None) -> None:
    seen = decode([b'{"a": 1, "kind": ' + text + b"}"], categorical=["kind"]).observations
    code = MISSING_CATEGORY if shown is None else category_code(shown)
    assert seen.categories_NC.tolist() == [[code]]
    assert seen.category_names == ({} if shown is None else {code: shown})


def test_a_category_of_half_a_character_is_shown_without_it() -> None:
    seen = decode([b'{"a": NaN, "kind": "x\\ud800"}'], categorical=["kind"]).observations
    assert list(seen.category_names.values()) == ["x?"]


@pytest.mark.parametrize(
    ("path", "found"),
    [("v.0", 1), ("v.1.x", 2), ("v.1.y.0.0", 3), ("v.9", None), ("v.-1", None), ("v.x", None), ("v.0.0", None)],
)
@pytest.mark.parametrize("within", [{}, {"w": "text"}], ids=["plain", "mixed"])
def test_a_number_in_a_path_is_a_place_in_a_list(path: str, found: int | None, within: dict[str, str]) -> None:
    record = {"v": [1, {"x": 2, "y": [[3]]}]} | within
    seen = decode([json.dumps(record).encode()], numeric=[path, "w"]).observations
    assert seen.presence_ND[0, 0] == (Presence.ABSENT if found is None else Presence.PRESENT)
    assert found is None or seen.values_ND[0, 0] == found


def test_a_path_with_dots_is_one_name_or_a_way_into_nested_objects() -> None:
    values = [b'{"m": {"n": {"a": 1}}}', b'{"m.n.a": 2}', b'{"m": {"n": 3}}', b'{"m": 4}']
    seen = decode(values, numeric=[{"name": "a", "field": "m.n.a"}]).observations
    assert seen.presence_ND[:, 0].tolist() == [0, 0, Presence.ABSENT, Presence.ABSENT]
    assert seen.values_ND[:2, 0].tolist() == [1.0, 2.0]


def test_the_names_on_the_way_may_hold_dots_themselves() -> None:
    values = [
        b'{"a": {"b": {"c.d": 1}}}',
        b'{"a": {"b.c": {"d": 2}}}',
        b'{"a.b": {"c": {"d": 3}}}',
        b'{"a.b": {"c.d": 4}}',
        b'{"a.b.c": {"d": 5}}',
        b'{"a": {"b.c.d": 6}}',
        b'{"a": {"b": 0}, "a.b": {"c.d": 7}}',
        b'{"a": {"b": {"c": {}}, "b.c": {"d": 8}}}',
        b'{"a": {"b": {"c": {"d": 9}}, "b.c.d": 0}, "a.b.c": {"d": 0}}',
        b'{"a.b.c.d": 10, "a": {"b": {"c": {"d": 0}}}}',
        b'{"a": {"b": {"c": {"x": 0}}}, "a.b.c": 0}',
    ]
    for each in (values, values[::-1], *([value] for value in values)):
        seen = decode(each, numeric=[{"name": "x", "field": "a.b.c.d"}]).observations
        expected = [float(1 + values.index(value)) for value in each]
        assert [number if number < 11 else None for number in expected] == [
            None if np.isnan(number) else number for number in seen.values_ND[:, 0]
        ]


ODD_NAMES = (
    "\\\\web1\\Processor(_Total)\\% Processor Time",
    'pipe 3" flow',
    "a\tb",
    "line\nline",
    "\\",
    "\x00",
    "\ud800",
)


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("count", [1, 200])
@pytest.mark.parametrize("beside", ["2.5", "null", "NaN", '"text"', "9" * 40, "1e999", '{"x": 1}'])
def test_a_name_that_json_must_escape_is_read_as_any_other(name: str, count: int, beside: str) -> None:
    """Few records and many, and records with other values, are read by different code with the same result."""
    one, other = (
        decode(
            [
                b'{%s: %s, "b": %s, "k": "in", "o": {%s: "x", "y": [1]}, %s: 7}' % (written, raw, raw, written, last)
                for raw in [b"1", beside.encode()] * count
            ],
            numeric=["b", {"name": "a", "field": field}],
            categorical=["k", f"o.{field}"],
        )
        for field in (name, "plain")
        for written, last in [(json.dumps(field).encode(), b'"z"')]
    )
    assert one.rejected == other.rejected
    assert (one.observations.values_ND.tobytes(), one.observations.presence_ND.tobytes()) == (
        other.observations.values_ND.tobytes(),
        other.observations.presence_ND.tobytes(),
    )
    assert one.observations.categories_NC.tolist() == other.observations.categories_NC.tolist()
    assert one.observations.values_ND[0].tolist() == [1.0, 1.0]
    assert (one.observations.categories_NC != MISSING_CATEGORY).all()


@pytest.mark.parametrize(
    "value", [b'{"x": "\xff", "a": 1}', b"[1]", b"1", b"", b"{", b'{"x": 1e999, "a": 2}', b"[" * 5000]
)
def test_bytes_under_an_odd_name_are_refused_as_under_any_other(value: bytes) -> None:
    one, other = (decode([value, b'{"a": 3}'], numeric=["a", name]) for name in ("b", 'b"'))
    assert reasons(one) == reasons(other)
    assert one.observations.values_ND[:, 0].tolist() == other.observations.values_ND[:, 0].tolist()


def test_csv_columns_may_have_any_name() -> None:
    header = (("csv_columns", b'"pipe 3"" flow",\\a\\b'),)
    fields = ['pipe 3" flow', "\\a\\b"]
    assert decode([b"1.5,2"], format="csv", headers=header, numeric=fields).observations.values_ND.tolist() == [
        [1.5, 2]
    ]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_streams_key_and_time_and_a_metrics_name_may_stand_under_odd_names(name: str) -> None:
    record = {name: "p1", f"t{name}": 1_700_000_000, f"m{name}": name, f"v{name}": 4.5}
    found = decode(
        [json.dumps(record).encode()] * 60,
        shape="long",
        key=[name],
        time=f"t{name}",
        metric=f"m{name}",
        value=f"v{name}",
        numeric=[name],
    ).observations
    assert (found.keys, found.time_N[0], found.values_ND[0, 0], len(found)) == (("p1",), 1_700_000_000_000_000, 4.5, 60)


def test_of_a_name_given_twice_the_last_counts() -> None:
    seen = decode([b'{"a": 1, "a": 2}', b'{"a": NaN, "a": 3}']).observations
    assert seen.values_ND[:, 0].tolist() == [2.0, 3.0]


def test_a_schema_registrys_prefix_is_passed_over() -> None:
    assert decode([b'\x00\x00\x00\x00\x07{"a": 5}']).observations.values_ND.tolist() == [[5.0]]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"x" * 2000, Reason.TOO_LONG),
        (b'{"a": "\xff"}', Reason.BAD_UTF8),
        (b'{"a": 1', Reason.MALFORMED),
        (b'{"a": 1} {"a": 2}', Reason.MALFORMED),
        (b"[1, 2]", Reason.MALFORMED),
        (b"\x00\x00", Reason.MALFORMED),
        (b"null", Reason.MALFORMED),
    ],
)
def test_a_json_value_that_cannot_be_read_is_rejected_alone(value: bytes, reason: Reason) -> None:
    decoded = decode([b'{"a": 1}', value, b'{"a": 2}'], LimitSettings(record_bytes=1000))
    assert [(rejected.row, rejected.reason) for rejected in decoded.rejected] == [(1, reason)]
    assert decoded.observations.offset_N.tolist() == [100, 102]
    assert decoded.counts[Count.REJECTED] == 1


@pytest.mark.parametrize(
    ("value", "what"),
    [(b'[{"a": 1}, {"a": 2}]', "a list: "), (b'{"a": 1}\n{"a": 2}', "several JSON values: "), (b"null", "NoneType")],
)
def test_several_records_in_a_message_are_told_to_be_taken_apart(value: bytes, what: str) -> None:
    (rejected,) = decode([value]).rejected
    assert what in rejected.detail
    assert ("split them beforehand" in rejected.detail) == (value != b"null")


def test_deep_nesting_is_rejected_and_not_followed() -> None:
    deep = b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert reasons(decode([deep])) == [Reason.TOO_DEEP]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"1", Reason.MALFORMED),
        (b"1,2,3", Reason.MALFORMED),
        (b'"1,2', Reason.MALFORMED),
        (b"1,2\n3,4", Reason.MALFORMED),
        (b"1,\xff", Reason.BAD_UTF8),
        (b"", Reason.EMPTY),
    ],
)
def test_a_csv_line_that_cannot_be_read_is_rejected_alone(value: bytes, reason: Reason) -> None:
    decoded = decode([b"1,x", value, b'2,"x, ""y"""\r\n'], format="csv", csv={"columns": ["a", "b"]})
    assert [(rejected.row, rejected.reason) for rejected in decoded.rejected] == [(1, reason)]
    assert decoded.observations.values_ND.tolist() == [[1.0], [2.0]]


def test_a_csv_record_over_two_lines_is_told_that_a_record_is_one() -> None:
    (rejected,) = decode([b'1,"one', b"2,x"], format="csv", csv={"columns": ["a", "b"]}).rejected
    assert "a double quote is not closed by the line's end: a record is one line" in rejected.detail


def test_a_csv_field_in_quotes_may_be_as_long_as_a_record() -> None:
    long = b'1,"' + b"x" * 200_000 + b'"'
    assert decode([long], format="csv", csv={"columns": ["a", "b"]}).observations.values_ND.tolist() == [[1.0]]


def test_a_csv_line_without_known_columns_is_rejected() -> None:
    assert reasons(decode([b"1,2"], format="csv")) == [Reason.NO_COLUMNS]


@pytest.mark.parametrize(
    ("names", "reason", "says"),
    [
        ("Temp. [°C],b".encode("latin-1"), Reason.BAD_UTF8, "the line of column names is not UTF-8"),
        (b'a,"b', Reason.NO_COLUMNS, "the line of column names cannot be read"),
    ],
)
def test_a_line_of_column_names_that_cannot_be_read_is_what_the_dead_letter_names(
    names: bytes, reason: Reason, says: str
) -> None:
    decoded = decode([b"1,2", b"3,4"], format="csv", headers=(("csv_columns", names),))
    assert reasons(decoded) == [reason, reason]
    assert all(says in one.detail for one in decoded.rejected)
    assert reason != Reason.BAD_UTF8 or "iconv" in decoded.rejected[0].detail


def test_a_header_names_csv_columns_where_the_configuration_does_not() -> None:
    named = (("csv_columns", b"b; a"),)
    seen = decode([b"1;2"], format="csv", csv={"delimiter": ";"}, headers=named).observations
    assert seen.values_ND.tolist() == [[2.0]]


def test_a_byte_order_mark_is_no_part_of_a_csv_field_or_column_name() -> None:
    mark = b"\xef\xbb\xbf"
    named = (("csv_columns", mark + b"a,k"),)
    seen = decode([mark + b"1.5,p", mark + b'"2.5",p'], format="csv", headers=named, key=["k"])
    assert seen.observations.values_ND.tolist() == [[1.5], [2.5]]
    keyed = decode([mark + b"p,1.5", b"p,2"], format="csv", csv={"columns": ["k", "a"]}, key=["k"]).observations
    assert keyed.keys == ("p",)


def test_a_wanted_csv_column_that_is_not_there_is_absent() -> None:
    seen = decode([b"1,2"], format="csv", csv={"columns": ["b", "c"]}).observations
    assert seen.presence_ND.tolist() == [[Presence.ABSENT]]


def test_a_tombstone_is_counted_and_is_no_dead_letter() -> None:
    decoded = decode([None, b'{"a": 1}', None])
    assert decoded.rejected == ()
    assert decoded.counts == {
        "records": 3,
        "observations": 1,
        "tombstones": 2,
        "unknown_metrics": 0,
        "no_records": 0,
        "rejected": 0,
    }


def test_a_batch_of_nothing_readable_has_no_observations_of_the_right_width() -> None:
    seen = decode([None, b"x"], numeric=["a", "b"], categorical=["c"]).observations
    assert (seen.values_ND.shape, seen.categories_NC.shape, seen.keys) == ((0, 2), (0, 1), ())


def test_the_key_is_the_records_or_fields_joined() -> None:
    values = [b'{"a": 1, "site": "x", "unit": {"id": 4}}', b'{"a": 1, "site": "y", "unit": {"id": 4}}']
    assert decode(values, keys=[b"one", b"two"]).observations.keys == ("one", "two")
    assert decode(values, key=["site", "unit.id"]).observations.keys == ("x/4", "y/4")


def test_streams_are_numbered_by_first_appearance_among_what_was_read() -> None:
    values = [b"x", b'{"a": 1}', b'{"a": 2}', b'{"a": 3}']
    seen = decode(values, keys=[b"lost", b"b", b"a", b"b"]).observations
    assert seen.keys == ("b", "a")
    assert seen.stream_N.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (None, Reason.MISSING_KEY),
        (b"", Reason.MISSING_KEY),
        (b"\xff", Reason.BAD_KEY),
        (b"k" * 1025, Reason.BAD_KEY),
    ],
)
def test_a_record_key_that_names_no_stream_is_rejected(key: bytes | None, reason: Reason) -> None:
    assert reasons(decode([b'{"a": 1}'], keys=[key])) == [reason]


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        (b"null", Reason.MISSING_KEY),
        (b'""', Reason.MISSING_KEY),
        (b"1.5", Reason.MISSING_KEY),
        (b"[]", Reason.MISSING_KEY),
        (b'"\\ud800"', Reason.BAD_KEY),
    ],
)
def test_a_key_field_that_names_no_stream_is_rejected(field: bytes, reason: Reason) -> None:
    value = b'{"a": NaN, "id": ' + field + b"}"
    assert reasons(decode([value], key=["id"])) == [reason]


def test_numbers_and_booleans_that_are_equal_are_different_keys() -> None:
    values = [b'{"a": 1, "id": 1}', b'{"a": 1, "id": true}', b'{"a": 1, "id": "1"}']
    assert decode(values, key=["id"]).observations.stream_N.tolist() == [0, 1, 0]


def test_a_record_is_rejected_once_for_its_first_fault() -> None:
    assert reasons(decode([b'{"t": "never"}'], key=["id"], time="t")) == [Reason.MISSING_KEY]


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        (b"null", Reason.MISSING_TIME),
        (b'""', Reason.MISSING_TIME),
        (b'"yesterday"', Reason.BAD_TIME),
        (b"-5", Reason.BAD_TIME),
        (b"true", Reason.BAD_TIME),
        (b"1e300", Reason.BAD_TIME),
        (b"1700090000", Reason.TIME_AHEAD),
    ],
)
def test_a_time_that_cannot_stand_is_rejected(field: bytes, reason: Reason) -> None:
    assert reasons(decode([b'{"a": 1, "t": ' + field + b"}"], time="t")) == [reason]


def test_without_a_time_field_the_records_own_time_is_needed() -> None:
    assert reasons(decode([b'{"a": 1}'], append=-1)) == [Reason.MISSING_TIME]


def test_how_far_ahead_a_time_may_be_is_the_configurations() -> None:
    value = b'{"a": 1, "t": 1700000010}'
    assert reasons(decode([value], time="t", ahead_limit_seconds=9)) == [Reason.TIME_AHEAD]
    assert reasons(decode([value], time="t", ahead_limit_seconds=10)) == []
    assert reasons(decode([value], time="t", ahead_limit_seconds=9, append=-1)) == []


LONG = {"shape": "long", "numeric": ["temp", {"name": "pressure", "field": "p"}]}


def test_a_long_record_holds_one_metric_and_the_others_are_absent() -> None:
    values = [b'{"metric": "temp", "value": 20.5}', b'{"metric": "p", "value": 3}', b'{"metric": "p", "value": "3"}']
    seen = decode(values, **LONG).observations
    np.testing.assert_array_equal(seen.values_ND, [[20.5, np.nan], [np.nan, 3.0], [np.nan, np.nan]])
    assert seen.presence_ND.tolist() == [[0, 1], [1, 0], [1, Presence.WRONG_TYPE]]


def test_an_unknown_metric_is_counted_and_passed_over() -> None:
    decoded = decode([b'{"metric": "hum", "value": 1}', b'{"metric": "temp", "value": 1}'], **LONG)
    assert decoded.rejected == ()
    assert decoded.counts[Count.UNKNOWN_METRICS] == 1
    assert decoded.observations.offset_N.tolist() == [101]


@pytest.mark.parametrize("value", [b'{"value": 1}', b'{"metric": null, "value": 1}', b'{"metric": [], "value": 1}'])
def test_a_long_record_that_names_no_metric_is_rejected(value: bytes) -> None:
    assert reasons(decode([value], **LONG)) == [Reason.MISSING_METRIC]


def test_long_csv_reads_as_long_json() -> None:
    csv = {"columns": ["sensor", "metric", "value"]}
    seen = decode([b"s1,temp,20.5", b"s2,p,"], format="csv", csv=csv, key=["sensor"], **LONG).observations
    assert seen.keys == ("s1", "s2")
    assert seen.presence_ND.tolist() == [[0, 1], [1, 1]]
    assert seen.values_ND[0, 0] == 20.5

"""Parses InfluxDB line protocol, as Telegraf writes it by default.

Source of the grammar: "Line protocol" in InfluxData's documentation of InfluxDB. A line is

    measurement[,tag=value...] field=value[,field=value...] [timestamp]
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from anomaly_daemon.transport.rejection import Reason, Unreadable

SERIES = "series"
"""The field of a record that holds the measurement with all its tags."""
_NAME = r"(?:[^,= \n\\]|\\.)++"
_MEASUREMENT = re.compile(r"(?:[^, \n\\]|\\.)++")
_TAG = re.compile(rf",({_NAME})=({_NAME})")
_FIELD = re.compile(rf'({_NAME})=("(?:[^"\\]|\\[\s\S])*+"|[^", \n]++)')
_TIMESTAMP = re.compile(r" ++(-?[0-9]{1,19})(?= *\r?(?:\n|\Z))")
_END = re.compile(r" *\r?(?:\n|\Z)")
_BETWEEN = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
"""Empty lines and comments before a line."""
_NUMBER = re.compile(r"[+-]?(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?")
_WHOLE = re.compile(r"([+-]?[0-9]{1,20})[iu]")
_BOOLEANS = dict.fromkeys(("t", "T", "true", "True", "TRUE"), True) | dict.fromkeys(
    ("f", "F", "false", "False", "FALSE"), False
)
_ESCAPED = re.compile(r"\\([,= ])")
_ESCAPED_TEXT = re.compile(r'\\(["\\])')


def records_of_lines(value: bytes) -> Iterator[Mapping[str, Any]]:
    """Yield one record per line: `{"name", "tags": {...}, "fields": {...}, "timestamp", "series"}`.

    This is how Telegraf writes JSON. The timestamp is a whole number in the unit of the producer (nanoseconds, unless
    that is set otherwise), or None. `series` is the measurement with its tags in order, such as `cpu,cpu=cpu0,host=h1`.
    Empty lines and comments are skipped. Raises Unreadable, with the number of the line.
    """
    try:
        text = value.decode("utf-8").removeprefix("\ufeff")  # a byte order mark
    except UnicodeDecodeError as fault:
        raise Unreadable(Reason.BAD_UTF8, str(fault)) from fault
    at = _skipped(text, 0)
    while at < len(text):
        record, at = _line(text, at)
        yield record
        at = _skipped(text, at)


def _skipped(text: str, at: int) -> int:
    found = _BETWEEN.match(text, at)
    assert found is not None, "the pattern fits empty text"
    return found.end()


def _line(text: str, start: int) -> tuple[Mapping[str, Any], int]:
    """Return the record of the line that begins at `start`, and where the next line begins."""
    name = _MEASUREMENT.match(text, start)
    if name is None:
        raise _fault(text, start, "a measurement is expected")
    at, tags = name.end(), dict[str, str]()
    while found := _TAG.match(text, at):
        tags[_bare(found[1])] = _bare(found[2])
        at = found.end()
    if text[at : at + 1] != " ":
        raise _fault(text, at, "a tag (,name=value) or a space before the fields is expected")
    at = _past_spaces(text, at)
    fields, at = _fields(text, at)
    stamp = _TIMESTAMP.match(text, at)
    end = _END.match(text, at if stamp is None else stamp.end())
    if end is None:
        raise _fault(text, at, "a comma and a field, or a space and a timestamp, or the end of the line is expected")
    measurement = _bare(name[0])
    series = ",".join([measurement, *(f"{tag}={held}" for tag, held in sorted(tags.items()))])
    timestamp = None if stamp is None else int(stamp[1])
    record = {"name": measurement, "tags": tags, "fields": fields, "timestamp": timestamp, SERIES: series}
    return record, end.end()


def _fields(text: str, at: int) -> tuple[dict[str, Any], int]:
    fields = dict[str, Any]()
    while True:
        found = _FIELD.match(text, at)
        if found is None:
            raise _fault(text, at, "a field (name=value) is expected")
        fields[_bare(found[1])] = _value(text, found)
        at = found.end()
        if text[at : at + 1] != ",":
            return fields, at
        at += 1


def _value(text: str, field: re.Match[str]) -> Any:
    written = field[2]
    if written[0] == '"':
        return _ESCAPED_TEXT.sub(r"\1", written[1:-1])
    written = written.removesuffix("\r")
    if _NUMBER.fullmatch(written):
        return float(written)
    if found := _WHOLE.fullmatch(written):
        return int(found[1])
    if written in _BOOLEANS:
        return _BOOLEANS[written]
    raise _fault(text, field.start(2), "a number, a boolean or a text in double quotes is expected")


def _past_spaces(text: str, at: int) -> int:
    while text[at : at + 1] == " ":
        at += 1
    return at


def _bare(name: str) -> str:
    return _ESCAPED.sub(r"\1", name) if "\\" in name else name


def _fault(text: str, at: int, expected: str) -> Unreadable:
    begin = text.rfind("\n", 0, at) + 1
    line, column = text.count("\n", 0, at) + 1, at - begin + 1
    return Unreadable(Reason.MALFORMED, f"line {line}, character {column}: {expected}")

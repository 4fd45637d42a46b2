"""Dead letters: records that could not be read (or are late, where that is configured), unchanged, with the reason and
their origin in added headers."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from anomaly_daemon.errors import Incompatible
from anomaly_daemon.transport.ports import Headers, Outgoing, RecordBatch

PREFIX = "dead_letter_"
DETAIL_CHARACTERS = 300


def dead_letter(batch: RecordBatch, row: int, reason: str, detail: str, stage: str) -> Outgoing:
    """Return the record at `row` of the batch as a dead letter: its original key, value and headers, followed by the
    added headers.

    `stage` is where the record failed: `decode`, or `detect` (a late record under the policy `dead_letter`).
    """
    origin = {
        "reason": reason,
        "detail": detail[:DETAIL_CHARACTERS],
        "stage": stage,
        "topic": batch.partition.topic,
        "partition": batch.partition.partition,
        "offset": int(batch.offsets[row]),
        "timestamp": int(batch.timestamps[row]),
    }
    added = tuple((PREFIX + name, str(value).encode("utf-8", "replace")) for name, value in origin.items())
    return Outgoing(batch.keys[row], batch.values[row], tuple(batch.headers[row]) + added)


def reason_and_detail(letter: Outgoing) -> tuple[str, str]:
    """Return the reason and the detail of a dead letter."""
    headers = dict(_split(letter.headers)[1])
    reason, detail = (headers[PREFIX + name].decode("utf-8", "replace") for name in ("reason", "detail"))
    return reason, detail


class Header(msgspec.Struct, frozen=True):
    """One header of the original record."""

    name: str
    value: bytes


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter as a line of JSON holds it: reason and origin as text, the original bytes in base64."""

    reason: str = ""
    detail: str = ""
    stage: str = ""
    topic: str = ""
    partition: str = ""
    offset: str = ""
    timestamp: str = ""
    """Append time of the original record in epoch microseconds; -1 if it has none."""
    key: bytes | None
    value: bytes | None
    headers: list[Header]

    def as_mapping(self) -> dict[str, Any]:
        """The content of the JSON line, with bytes in base64."""
        return cast(dict[str, Any], msgspec.to_builtins(self))


def of_record(record: Outgoing) -> Letter:
    """Return the dead letter in a record of a topic. Raises Incompatible if its headers show that it is not a dead
    letter."""
    if not _split(record.headers)[1]:
        raise Incompatible(f"not a dead letter of this program: it has no header {PREFIX}reason")
    return _letter(record)


def of_json(line: bytes) -> Letter:
    """Return the dead letter in a line of a file. Raises Incompatible if it is not one."""
    try:
        letter = msgspec.json.decode(line, type=Letter)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Incompatible(f"not a dead letter of this program: {error}") from error
    if not letter.reason:
        raise Incompatible("not a dead letter of this program: it has no reason")
    return letter


def as_json(record: Outgoing) -> bytes:
    """Return the dead letter as one line of JSON, without the line end."""
    return msgspec.json.encode(_letter(record))


def _letter(record: Outgoing) -> Letter:
    headers, added = _split(record.headers)
    origin = {name.removeprefix(PREFIX): value.decode("utf-8", "replace") for name, value in added}
    return Letter(**origin, key=record.key, value=record.value, headers=[Header(*one) for one in headers])


def _split(headers: Headers) -> tuple[Headers, Headers]:
    """Split headers into the original ones and those added by the last dead letter. A record that was read from a
    dead-letter topic and failed again has both sets of added headers; the earlier set counts as original."""
    ours = len(PREFIXED)
    if tuple(name for name, _ in headers[-ours:]) == PREFIXED:
        return headers[:-ours], headers[-ours:]
    return headers, ()


PREFIXED = tuple(PREFIX + name for name in ("reason", "detail", "stage", "topic", "partition", "offset", "timestamp"))

"""Records that could not be read, byte for byte, with the reason and their origin in headers."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec

from anomaly_daemon.transport.ports import Headers, Outgoing, RecordBatch

PREFIX = "dead_letter_"
DETAIL_CHARACTERS = 300


def dead_letter(batch: RecordBatch, row: int, reason: str, detail: str, stage: str) -> Outgoing:
    """The record at `row` of the batch: original key, value and headers, and then ours.

    `stage` is where it failed: decode, or detect (a late record under the policy `dead_letter`).
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


def original(letter: Outgoing) -> Outgoing:
    """The record as it came in, to be sent again once the cause is mended."""
    return Outgoing(letter.key, letter.value, _split(letter.headers)[0])


def why(letter: Outgoing) -> tuple[str, str]:
    """Its reason and detail."""
    told = dict(_split(letter.headers)[1])
    reason, detail = (told[PREFIX + name].decode("utf-8", "replace") for name in ("reason", "detail"))
    return reason, detail


def as_json(letter: Outgoing) -> bytes:
    """One JSON line: reason and origin as text, the original bytes in base64."""
    headers, added = _split(letter.headers)
    line: dict[str, Any] = {name.removeprefix(PREFIX): value.decode("utf-8", "replace") for name, value in added}
    line["key"], line["value"] = _base64(letter.key), _base64(letter.value)
    line["headers"] = [{"name": name, "value": _base64(value)} for name, value in headers]
    return msgspec.json.encode(line)


def _split(headers: Headers) -> tuple[Headers, Headers]:
    """The original headers, and those of the last dead letter: a letter may have died twice."""
    ours = len(PREFIXED)
    if tuple(name for name, _ in headers[-ours:]) == PREFIXED:
        return headers[:-ours], headers[-ours:]
    return headers, ()


PREFIXED = tuple(PREFIX + name for name in ("reason", "detail", "stage", "topic", "partition", "offset", "timestamp"))


def _base64(value: bytes | None) -> str | None:
    return None if value is None else b64encode(value).decode("ascii")

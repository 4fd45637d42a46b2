"""What people say of alerts, as records: {"alert_id": ..., "label": "true" | "expected" | "false" | "new_normal",
"stream": ...}, the stream being the alert's `stream.key`."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from anomaly_daemon.detection.feedback import Label
from anomaly_daemon.errors import Incompatible


class Feedback(msgspec.Struct, frozen=True):
    """One label. More fields than these are passed over: who said it, and why, are the sender's."""

    alert_id: str
    label: Label
    stream: str | None = None
    """Without it nothing moves in a running daemon: an id alone does not say whose alert it is."""


_decoder = msgspec.json.Decoder(Feedback)


def decode(value: bytes) -> Feedback:
    """Raises Incompatible when it is no feedback."""
    try:
        return _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Incompatible(f"not feedback on an alert: {error}") from error


def labels(values: Iterable[bytes]) -> dict[str, Label]:
    """By alert id; who says something else later means that."""
    return {told.alert_id: told.label for told in map(decode, values)}

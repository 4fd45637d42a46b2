"""What people say of alerts, as records: {"alert_id": ..., "label": "true" | "expected" | "false" | "new_normal",
"stream": ..., "kind": ...}, the last two being the alert's `stream.key` and `kind`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from anomaly_daemon.detection.alert import Kind
from anomaly_daemon.detection.feedback import Label
from anomaly_daemon.errors import Incompatible


class Feedback(msgspec.Struct, frozen=True):
    """One label. More fields than these are passed over: who said it, and why, are the sender's."""

    alert_id: str
    label: Label
    stream: str | None = None
    """Without it nothing moves in a running daemon: an id alone does not say whose alert it is."""
    kind: Kind | None = None
    """Thresholds are of patterns; what is said of another kind moves none. Without it, it is taken to be of one."""


_decoder = msgspec.json.Decoder(Feedback)


def decode(value: bytes) -> Feedback:
    """Raises Incompatible when it is no feedback."""
    try:
        return _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        words = f"labels are {', '.join(Label)}; kinds are {', '.join(Kind)}"
        raise Incompatible(f"not feedback on an alert: {error} ({words})") from error


def labels(said: Iterable[Feedback]) -> dict[str, Label]:
    """By alert id; who says something else later means that."""
    return {told.alert_id: told.label for told in said}


def of_file(name: str, lines: Iterable[bytes]) -> Iterator[Feedback]:
    """A file's labels: a person wrote them, so what is none is not passed over. Raises Incompatible, naming it."""
    for place, line in enumerate(lines, 1):
        try:
            yield decode(line)
        except Incompatible as error:
            raise Incompatible(f"{name}, label {place}: {error}") from error

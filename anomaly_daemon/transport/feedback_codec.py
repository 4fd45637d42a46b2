"""The labels that people give to alerts (feedback), as records: {"alert_id": ..., "label": "true" | "expected" |
"false" | "new_normal", "stream": ..., "kind": ...}. The last two are the alert's `stream.key` and `kind`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from anomaly_daemon.detection.alert import Kind
from anomaly_daemon.detection.feedback import Label
from anomaly_daemon.errors import Incompatible


class Feedback(msgspec.Struct, frozen=True):
    """One label. Other fields of the record are ignored. A sender may use them for who gave the label, and why."""

    alert_id: str
    label: Label
    stream: str | None = None
    """Without the stream, a label changes nothing in a running daemon: an alert's id alone does not show which stream
    it belongs to."""
    kind: Kind | None = None
    """Labels move the thresholds of pattern alerts only, so a label of another kind moves none. Without a kind, a label
    is taken for one of a pattern alert."""


_decoder = msgspec.json.Decoder(Feedback)


def decode(value: bytes) -> Feedback:
    """Return the label in a record's value. Raises Incompatible if it is not feedback."""
    try:
        return _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        words = f"labels are {', '.join(Label)}; kinds are {', '.join(Kind)}"
        raise Incompatible(f"not feedback on an alert: {error} ({words})") from error


def labels(feedback: Iterable[Feedback]) -> dict[str, Label]:
    """Return the labels by alert id. The last label of an alert replaces its earlier ones."""
    return {one.alert_id: one.label for one in feedback}


def of_file(name: str, lines: Iterable[bytes]) -> Iterator[Feedback]:
    """Yield the labels in the lines of a file. A person wrote the file, so a line that is not a label is an error and
    is not skipped. Raises Incompatible, with the name of the file and the number of the line."""
    for place, line in enumerate(lines, 1):
        try:
            yield decode(line)
        except Incompatible as error:
            raise Incompatible(f"{name}, label {place}: {error}") from error

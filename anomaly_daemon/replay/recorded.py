"""An episode as it was published: its messages, and the evidence beside the first one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from anomaly_daemon.checkpoint.envelope import Corrupt
from anomaly_daemon.checkpoint.evidence import HEADER, Opening, decode_evidence
from anomaly_daemon.detection.alert import Alert, Event
from anomaly_daemon.detection.episode import Reason
from anomaly_daemon.errors import Incompatible
from anomaly_daemon.transport.alert_codec import decode
from anomaly_daemon.transport.ports import Headers

Published = tuple[bytes, Headers]
"""A message on the alert topic: its value and its headers."""
OWN_REASONS = (Reason.RECOVERED.value, Reason.ACCEPTED.value, Reason.ENDED.value)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A published episode. `messages` are in the order of their publication, each once."""

    messages: tuple[Alert, ...]
    opening: Opening | None
    """The evidence; None where there is none, or none that this release can read."""
    whole: bool
    """Whether every existing message was looked at, so that a missing one was never published."""

    @property
    def first(self) -> Alert:
        return self.messages[0]

    @property
    def last_offset(self) -> int:
        """Offset of the record that triggered the last message."""
        return self.messages[-1].provenance.last_offset

    def as_given(self, given: Sequence[Alert]) -> Recorded:
        """Return a copy with the given alerts in place of the same messages: the user wants these judged."""
        known = {place(alert): alert for alert in given}
        messages = tuple(known.get(place(alert), alert) for alert in self.messages)
        return Recorded(messages, self.opening, self.whole)

    def comparable(self) -> Recorded:
        """Return a copy that ends before the first message that another model, other settings or another stream
        decided."""
        made_by = (self.first.model.digest, self.first.config_digest)
        alike = takewhile(lambda one: (one.model.digest, one.config_digest) == made_by and _own(one), self.messages)
        return Recorded(tuple(alike), self.opening, self.whole)


def find(alert_id: str, published: Iterable[Published]) -> Recorded | None:
    """Return the episode with this id from messages in order, or None where there is none. Reads no further than its
    close. Where its opening is missing, retention or a filter has removed it, and maybe more."""
    messages: dict[tuple[Event, int], Alert] = {}
    opening = None
    for alert, headers in _of(alert_id, published):
        if alert.event is Event.OPEN:
            blob = next((value for name, value in headers if name == HEADER), None)
            opening = None if blob is None else _read(blob)
        messages.setdefault(place(alert), alert)
        if alert.event is Event.CLOSE and _opened(messages):
            break
    return Recorded(tuple(messages.values()), opening, whole=_opened(messages)) if messages else None


def _opened(messages: Iterable[tuple[Event, int]]) -> bool:
    return any(event is Event.OPEN for event, _ in messages)


def _read(blob: bytes) -> Opening | None:
    """Return the evidence, or None where a release wrote it in a format that this one does not read: the records are
    there all the same. Raises Corrupt."""
    try:
        return decode_evidence(blob)
    except Corrupt:
        raise
    except Incompatible:
        return None


def _own(alert: Alert) -> bool:
    """Return whether the stream's own past decides the message. A close for another reason made room for another
    stream."""
    return alert.event is not Event.CLOSE or alert.reason.startswith(OWN_REASONS)


def place(alert: Alert) -> tuple[Event, int]:
    """Return what distinguishes the messages of one episode: the event and its count."""
    return alert.event, alert.episode.count


def _of(alert_id: str, published: Iterable[Published]) -> Iterator[tuple[Alert, Headers]]:
    """Yield the messages with this id, and their headers. The topic may hold messages of other programs, so a message
    is decoded only where it contains the id."""
    for value, headers in published:
        if alert_id.encode(errors="surrogateescape") in value:
            try:
                alert = decode(value)
            except Incompatible:
                continue
            if alert.alert_id == alert_id:
                yield alert, headers

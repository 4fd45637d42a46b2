"""An episode as it was published: its messages, and the evidence beside the first."""

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
    """`messages` in the order of their publishing, each once."""

    messages: tuple[Alert, ...]
    opening: Opening | None
    """None: there is no evidence, or none that this release reads."""
    whole: bool
    """Every message there is was looked at, so that what is missing was never published."""

    @property
    def first(self) -> Alert:
        return self.messages[0]

    @property
    def last_offset(self) -> int:
        """Of the record that triggered the last message."""
        return self.messages[-1].provenance.last_offset

    def as_given(self, given: Sequence[Alert]) -> Recorded:
        """With these in the place of the same messages: they are what the reader wants judged."""
        known = {place(alert): alert for alert in given}
        messages = tuple(known.get(place(alert), alert) for alert in self.messages)
        return Recorded(messages, self.opening, self.whole)

    def comparable(self) -> Recorded:
        """Up to the first message that another model, other settings or another stream decided."""
        made_by = (self.first.model.digest, self.first.config_digest)
        alike = takewhile(lambda one: (one.model.digest, one.config_digest) == made_by and _own(one), self.messages)
        return Recorded(tuple(alike), self.opening, self.whole)


def find(alert_id: str, published: Iterable[Published]) -> Recorded | None:
    """The episode of this id among messages in order; reads no further than its close. None: there is none."""
    messages: dict[tuple[Event, int], Alert] = {}
    opening = None
    for alert, headers in _of(alert_id, published):
        if alert.event is Event.OPEN:
            blob = next((value for name, value in headers if name == HEADER), None)
            opening = None if blob is None else _read(blob)
        messages.setdefault(place(alert), alert)
        if alert.event is Event.CLOSE and any(event is Event.OPEN for event, _ in messages):
            break
    return Recorded(tuple(messages.values()), opening, whole=True) if messages else None


def _read(blob: bytes) -> Opening | None:
    """None where a release wrote it whose format this one does not read: the records are there all the same. Raises
    Corrupt."""
    try:
        return decode_evidence(blob)
    except Corrupt:
        raise
    except Incompatible:
        return None


def _own(alert: Alert) -> bool:
    """Whether the stream's own past decides it. A close for another reason made room for another stream."""
    return alert.event is not Event.CLOSE or alert.reason.startswith(OWN_REASONS)


def place(alert: Alert) -> tuple[Event, int]:
    """What tells the messages of one episode apart."""
    return alert.event, alert.episode.count


def _of(alert_id: str, published: Iterable[Published]) -> Iterator[tuple[Alert, Headers]]:
    """The topic may hold others' messages: only what names the id is read."""
    for value, headers in published:
        if alert_id.encode() in value:
            try:
                alert = decode(value)
            except Incompatible:
                continue
            if alert.alert_id == alert_id:
                yield alert, headers

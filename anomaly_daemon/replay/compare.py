"""Compares what was published with what was computed again. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import msgspec

from anomaly_daemon.detection.alert import Alert
from anomaly_daemon.replay.recorded import Recorded, place
from anomaly_daemon.transport.alert_codec import decode, encode

LEFT_OUT = ("config_digest", "stream.labels", "model.name", "model.version")
"""Fields that are not compared, because they only name things. The model's digest is checked before."""
DECISION = "decision"


class Verdict(StrEnum):
    IDENTICAL = "identical"
    DIFFERENT = "different"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True, slots=True)
class Difference:
    """A field of a message that differs. A message that only one side has differs in its `decision`."""

    message: str
    field: str
    then: Any
    now: Any

    @property
    def by(self) -> float | None:
        """The recomputed value minus the published one, for numbers; else None."""
        numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (self.then, self.now))
        return self.now - self.then if numbers else None


@dataclass(frozen=True, slots=True)
class Pair:
    """A message as it was published (`then`) and as it was recomputed (`now`). None: that side has no such message."""

    then: Alert | None
    now: Alert | None

    @property
    def name(self) -> str:
        known = self.then or self.now
        assert known is not None
        return known.event if known.event != "update" else f"update {known.episode.count}"


def pairs(recorded: Recorded, now: Sequence[Alert], most_bytes: int) -> list[Pair]:
    """Return each published message with its recomputed one, then the messages that only the recomputation has. The
    latter only where `recorded.whole`. Messages for records after the last published one's are not compared."""
    known = {place(alert): alert for alert in now if alert.provenance.last_offset <= recorded.last_offset}
    found = [Pair(then, _as_published(known.pop(place(then), None), then, most_bytes)) for then in recorded.messages]
    return found + [Pair(None, alert) for alert in known.values() if recorded.whole]


def _as_published(now: Alert | None, then: Alert, most_bytes: int) -> Alert | None:
    """Return the recomputed message with the times of its first publication, and with as many features as fitted into
    `most_bytes`. The remaining differences are then in what was computed."""
    if now is None or then.times.published is None:
        return now
    times = replace(now.times, detected=then.times.detected)
    return decode(encode(replace(now, times=times), "", then.times.published, most_bytes).value or b"")


def differences(pair: Pair) -> list[Difference]:
    """Return every field in which the two messages are not the same to the last bit."""
    if pair.then is None or pair.now is None:
        sides = (None if one is None else str(one.event) for one in (pair.then, pair.now))
        return [Difference(pair.name, DECISION, *sides)]
    then, now = (dict(_fields(msgspec.to_builtins(one))) for one in (pair.then, pair.now))
    names = [name for name in then | now if not name.startswith(LEFT_OUT)]
    return [
        Difference(pair.name, name, then.get(name), now.get(name)) for name in names if then.get(name) != now.get(name)
    ]


def _fields(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every leaf with its dotted path. List items are features; each is identified by its name. There are no other
    lists: `value` comes from an `Alert`, and decoding drops fields that this type does not have."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _fields(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _fields(inner, f"{path}.{inner['name']}")
    else:
        yield path, value

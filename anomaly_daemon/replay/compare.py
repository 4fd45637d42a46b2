"""What was published against what was computed again. Pure."""

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
"""What names things and decides nothing; that the model's digest is the same is seen to before."""
DECISION = "decision"


class Verdict(StrEnum):
    IDENTICAL = "identical"
    DIFFERENT = "different"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of one message. A message that only one side has differs in its `decision`."""

    message: str
    field: str
    then: Any
    now: Any

    @property
    def by(self) -> float | None:
        """Now less then, for numbers."""
        numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (self.then, self.now))
        return self.now - self.then if numbers else None


@dataclass(frozen=True, slots=True)
class Pair:
    """A message then and now; None: there is none."""

    then: Alert | None
    now: Alert | None

    @property
    def name(self) -> str:
        known = self.then or self.now
        assert known is not None
        return known.event if known.event != "update" else f"update {known.episode.count}"


def pairs(recorded: Recorded, now: Sequence[Alert], most_bytes: int) -> list[Pair]:
    """Each published message with its recomputed one, then those that only the recomputation has."""
    known = {place(alert): alert for alert in now if alert.provenance.last_offset <= recorded.last_offset}
    found = [Pair(then, _as_published(known.pop(place(then), None), then, most_bytes)) for then in recorded.messages]
    return found + [Pair(None, alert) for alert in known.values() if recorded.whole]


def _as_published(now: Alert | None, then: Alert, most_bytes: int) -> Alert | None:
    """With the times of the first publishing, and as many features as fitted: what is left to differ was computed."""
    if now is None or then.times.published is None:
        return now
    times = replace(now.times, detected=then.times.detected)
    return decode(encode(replace(now, times=times), "", then.times.published, most_bytes).value or b"")


def differences(pair: Pair) -> list[Difference]:
    """Every field in which the two are not the same to the last bit."""
    if pair.then is None or pair.now is None:
        sides = (None if one is None else str(one.event) for one in (pair.then, pair.now))
        return [Difference(pair.name, DECISION, *sides)]
    then, now = (dict(_fields(msgspec.to_builtins(one))) for one in (pair.then, pair.now))
    names = [name for name in then | now if not name.startswith(LEFT_OUT)]
    return [
        Difference(pair.name, name, then.get(name), now.get(name)) for name in names if then.get(name) != now.get(name)
    ]


def _fields(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf, by its dotted path; a feature by its name."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _fields(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _fields(inner, f"{path}.{inner['name']}")
    else:
        yield path, value

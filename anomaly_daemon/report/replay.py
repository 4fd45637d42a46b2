"""The result of a replay: the verdict in a line and a table for people, an object for scripts. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from anomaly_daemon.detection.alert import Alert, Event, Feature
from anomaly_daemon.replay.compare import DECISION, Difference, Pair, Verdict
from anomaly_daemon.replay.episode import Replayed
from anomaly_daemon.replay.recompute import Score
from anomaly_daemon.report.scale import number

HEADINGS = ("message", "field", "then", "now", "")
FIGURES = ("score", "p_value", "threshold", "severity")
MOST_ROWS = 40
"""Most further differences shown to a person; `--json` has them all."""


def verdict(outcome: Replayed) -> str:
    """Return the verdict in one line."""
    first, count = outcome.then.first, len(outcome.pairs)
    what = f"the {first.kind} episode {first.alert_id} of {first.stream.key}"
    messages = "1 message" if count == 1 else f"{count} messages"
    if outcome.verdict is Verdict.IDENTICAL:
        return f"identical: {what}, {messages}, to the last bit"
    if outcome.verdict is Verdict.DIFFERENT:
        unlike = len({one.message for one in outcome.differences})
        return f"different: {what}, {unlike} of {messages}"
    return f"not comparable: {what}, {messages}"


def rows(outcome: Replayed) -> list[tuple[str, ...]]:
    """Return the rows of the table: the opening then and now, decision and severity of each later message, and what
    else differs."""
    listed = [row for pair in outcome.pairs for row in _message(pair, outcome.scores)]
    known = {row[:2] for row in listed}
    more = [_difference(one) for one in outcome.differences if (one.message, one.field) not in known]
    left = len(more) - MOST_ROWS
    return listed + more[:MOST_ROWS] + ([("", f"{left} more, see --json", "", "", "")] if left > 0 else [])


def _message(pair: Pair, scores: Mapping[int, Score]) -> Iterator[tuple[str, ...]]:
    then, now = _values(pair.then), _values(pair.now)
    if pair.then is not None and pair.now is None:  # no such message, but the record has a score
        figures = scores.get(pair.then.provenance.last_offset, ())
        now |= dict(zip(FIGURES, figures, strict=False))
    wanted = then | now if pair.name == Event.OPEN else dict.fromkeys((DECISION, "severity"))
    for name in wanted:
        yield _row(pair.name, name, then.get(name), now.get(name))


def _values(alert: Alert | None) -> dict[str, Any]:
    if alert is None:
        return {DECISION: "no message"}
    values: dict[str, Any] = {DECISION: f"{alert.event} at {alert.times.event[:19]}"}
    values |= {name: value for name in FIGURES if (value := getattr(alert, name)) is not None}
    for feature in alert.features:
        values[f"features.{feature.name}.actual"] = feature.actual
        values |= _expectation(feature)
    return values


def _expectation(feature: Feature) -> dict[str, Any]:
    names = ("expected", "lower", "upper", "prediction_share", "reconstruction_share")
    return {f"features.{feature.name}.{name}": value for name in names if (value := getattr(feature, name)) is not None}


def _difference(one: Difference) -> tuple[str, ...]:
    return _row(one.message, one.field, one.then, one.now)


def _row(message: str, name: str, then: Any, now: Any) -> tuple[str, ...]:
    same = then == now
    sides = [_text(one, exact=not same) for one in (then, now)]
    return (message, name, *sides, "" if same else _by(Difference(message, name, then, now)))


def _text(value: Any, *, exact: bool) -> str:
    if isinstance(value, float):
        return "–" if math.isnan(value) else repr(value) if exact else number(value)
    return "–" if value is None else str(value)


def _by(one: Difference) -> str:
    return "differs" if one.by is None or math.isnan(one.by) else f"differs by {one.by:+.3g}"


def as_json(outcome: Replayed) -> dict[str, Any]:
    """Return the complete result as an object; what is not known is null."""
    first, opening = outcome.then.first, outcome.then.opening
    return {
        "verdict": str(outcome.verdict),
        "alert_id": first.alert_id,
        "kind": str(first.kind),
        "stream": first.stream.key,
        "records": {
            "topic": first.provenance.topic,
            "partition": first.provenance.partition,
            "first": outcome.start,
            "last": outcome.then.last_offset,
        },
        "evidence": None if opening is None else {"offset": opening.offset, "build": opening.build},
        "notes": list(outcome.notes),
        "messages": [_pair(pair, outcome) for pair in outcome.pairs],
        "differences": [
            {"message": one.message, "field": one.field, "then": one.then, "now": one.now, "by": one.by}
            for one in outcome.differences
        ],
    }


def _pair(pair: Pair, outcome: Replayed) -> dict[str, Any]:
    at = outcome.scores.get(pair.then.provenance.last_offset) if pair.then is not None else None
    scored = None if at is None else {name: _known(value) for name, value in zip(FIGURES, at, strict=True)}
    return {
        "message": pair.name,
        "identical": all(one.message != pair.name for one in outcome.differences),
        "then": msgspec.to_builtins(pair.then),
        "now": msgspec.to_builtins(pair.now),
        "scored_now": scored,
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value

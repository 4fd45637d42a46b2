"""Makes the alert from a change of an episode, and names its cause (law L7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from math import ceil, isfinite, log10

import numpy as np

from anomaly_daemon.detection.alert import (
    SCHEMA_VERSION,
    Alert,
    Budget,
    Episode,
    Event,
    Feature,
    ModelRef,
    Phase,
    Provenance,
    Stream,
    Times,
)
from anomaly_daemon.detection.calibration import Method
from anomaly_daemon.detection.episode import Reason, Turn
from anomaly_daemon.detection.observation import Float64, Int64, Schema
from anomaly_daemon.detection.order import Trigger
from anomaly_daemon.detection.scorer import Scored
from anomaly_daemon.detection.signals import Signal
from anomaly_daemon.detection.watch import Change, Watched

SIGNAL_TEXTS = {
    Signal.WINDOW: ", unusual over the last events",
    Signal.CHANGE: ", changing more than usual",
    Signal.LEVEL: ", a lasting shift",
    Signal.DRIFT: ", a slow drift",
    Signal.QUIET: ", moving less than usual",
    Signal.AUTOREGRESSION: ", an unusual course",
    Signal.SHAPE: ", an unusual shape",
    Signal.RELATION: ", out of step with them",
    Signal.JOINT: ", an unusual combination of fields",
}
AVERAGED = (Signal.WINDOW, Signal.LEVEL)
"""Kinds that, with a window of one event, describe that event alone: then nothing lasts, and there are no last events
to mention."""

DIGITS, MOST_DIGITS = 4, 15
"""Significant digits of a number in a reason: as many as this where they are enough, and the most that a float64 has.
"""

FEATURES_TOLD = 10
"""The largest number of features named in an alert, those with the largest shares first (law L11)."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The values that are the same in every alert of one detector."""

    topic: str
    partition: int
    model: ModelRef
    config_digest: str
    labels: Mapping[str, str]
    alarms_per_day: float


@dataclass(frozen=True, slots=True)
class Cause:
    """What an alert of any kind states about its event."""

    reason: str
    aspect: str = ""
    """The way in which the event is surprising, appended to the reason."""
    features: tuple[Feature, ...] = ()
    direction: str = "none"
    score: float | None = None
    p_value: float | None = None
    p_method: str = "duration"
    threshold: float | None = None


def alert(
    origin: Origin, turn: Turn, key: str, cause: Cause, phase: Phase, realised: float | None, by: Trigger
) -> Alert:
    """Return the alert to send for this change of an episode."""
    return Alert(
        schema_version=SCHEMA_VERSION,
        alert_id=alert_id(origin, key, turn),
        event=turn.event,
        kind=turn.kind,
        reason=_reason(turn, cause),
        stream=Stream(key, origin.labels),
        episode=Episode(
            iso(turn.start),
            iso(turn.last),
            iso(turn.end) if turn.end is not None else None,
            turn.count,
            round(turn.peak, 1),
        ),
        severity=round(turn.peak if turn.event is Event.CLOSE else turn.severity, 1),
        score=cause.score,
        p_value=cause.p_value,
        p_method=cause.p_method,
        threshold=cause.threshold,
        budget=Budget(origin.alarms_per_day, realised),
        direction=cause.direction,
        features=cause.features,
        phase=phase,
        model=origin.model,
        config_digest=origin.config_digest,
        provenance=Provenance(origin.topic, origin.partition, turn.offset, by.offset),
        times=Times(iso(by.time), iso(by.append) if by.append >= 0 else None),
    )


def _reason(turn: Turn, cause: Cause) -> str:
    cause_text = cause.reason + cause.aspect if _still_surprising(turn) else ""
    return "; ".join(part for part in (turn.reason, cause_text) if part)


def _still_surprising(turn: Turn) -> bool:
    """Return whether an alert states the evidence of its event as a cause. The event that closes an episode has
    evidence, too, however weak, but if it is no longer surprising, that is no cause."""
    return turn.reason is not Reason.RECOVERED and (turn.reason is not Reason.ACCEPTED or turn.last == turn.end)


def alert_id(origin: Origin, key: str, turn: Turn) -> str:
    """Return an id that depends only on the record that opened the episode: it is the same whoever computes it, and
    however often."""
    text = "\0".join((origin.topic, str(origin.partition), str(turn.offset), str(turn.index), turn.kind, key))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def iso(microseconds: int) -> str:
    """Return the time as ISO 8601 in UTC, to the microsecond; as an offset from the epoch if it has no calendar date."""
    try:
        moment = datetime.fromtimestamp(microseconds // 1_000_000, UTC).replace(microsecond=microseconds % 1_000_000)
    except (OverflowError, ValueError, OSError):
        return f"epoch+{microseconds}us"
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def pattern_cause(
    schema: Schema,
    scored: Scored,
    row: int,
    values_D: Float64,
    texts_C: list[str | None],
    threshold: float,
    *,
    alone: bool = False,
) -> Cause:
    """Return the cause of a pattern alert: each feature's share of the leading evidence, and what was expected instead;
    or, for burst evidence, that events come too fast, without features. `alone`: the window is one event long."""
    cause = Cause(
        _burst_reason(scored.typical_gap_B[row] / 1e6, float(scored.faster_B[row])),
        score=float(scored.score_B[row]),
        p_value=float(scored.p_B[row]),
        p_method=Method(int(scored.method_B[row])).name.lower(),
        threshold=threshold,
    )
    signal = Signal(int(scored.leading_B[row]))
    if signal is Signal.BURST:
        return cause
    parts_2F = scored.parts_B2F[row]
    total = float(parts_2F.sum())
    shares_2F = parts_2F / total if total > 0 else np.zeros_like(parts_2F)
    order = _order(scored, row, shares_2F.sum(axis=0))[:FEATURES_TOLD]
    band = scored.of.reference[row], scored.of.reference_lower[row], scored.of.reference_upper[row]
    features = tuple(_feature(schema, band, int(f), values_D, texts_C, shares_2F) for f in order)
    return replace(
        cause,
        reason=_pattern_reason(features[0], signal),
        aspect=""
        if isinstance(features[0].actual, str) or (alone and signal in AVERAGED)
        else SIGNAL_TEXTS.get(signal, ""),
        features=features,
        direction=_direction(features[0]),
    )


def leading_field(scored: Scored) -> Int64:
    """Return, for each row, the index of the field that its alert would name first; one past the last field where it
    names none."""
    share_BF = scored.parts_B2F.sum(axis=1)
    if scored.aside is not None:
        share_BF[:, : scored.aside.small_BD.shape[1]][scored.aside.small_BD] = -1.0
    none_B = scored.leading_B == Signal.BURST
    return np.asarray(np.where(none_B, share_BF.shape[1], share_BF.argmax(axis=1)), np.int64)


def _order(scored: Scored, row: int, share_F: Float64) -> Int64:
    """Return the features in the order in which an alert names them: by share, the largest first, and after all others
    those that are too near to the expected value to matter."""
    if scored.aside is None:
        return np.argsort(-share_F, kind="stable")
    small_F = np.zeros(len(share_F), bool)
    small_F[: scored.aside.small_BD.shape[1]] = scored.aside.small_BD[row]
    return np.lexsort((-share_F, small_F))


def _feature(
    schema: Schema,
    band: tuple[Float64, Float64, Float64],
    f: int,
    values_D: Float64,
    texts_C: list[str | None],
    shares_2F: Float64,
) -> Feature:
    shares = float(shares_2F[0, f]), float(shares_2F[1, f])
    if f >= len(values_D):
        text = texts_C[f - len(values_D)]
        return Feature(schema.names[f], text, None, None, None, *shares, imputed=text is None)
    expected, lower, upper = (_number(side[f]) for side in band)
    actual = _number(values_D[f])
    return Feature(schema.names[f], actual, expected, lower, upper, *shares, imputed=actual is None)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _direction(feature: Feature) -> str:
    if not isinstance(feature.actual, float) or not isinstance(feature.expected, float):
        return "none"
    if feature.actual == feature.expected:
        return "none"
    return "up" if feature.actual > feature.expected else "down"


def _pattern_reason(feature: Feature, signal: Signal) -> str:
    if isinstance(feature.actual, str):
        return f"{feature.name} {feature.actual!r} is rare for this stream"
    phrases = {Signal.LEVEL: "usually", Signal.DRIFT: "usually", Signal.SEASON: "at this time of day usually"}
    phrases[Signal.AUTOREGRESSION] = "expected from its last values"
    phrases[Signal.SHAPE] = "in the nearest known shape"
    phrases[Signal.RELATION] = phrases[Signal.JOINT] = "expected from the other fields"
    digits = _digits(feature.actual, feature.expected, feature.lower, feature.upper)
    text = f"{feature.name} is {_short(feature.actual, digits)}"
    if feature.expected is not None:
        text += f", {phrases.get(signal, 'expected')} {_short(feature.expected, digits)}"
    if feature.lower is not None:
        text += f" ({_short(feature.lower, digits)} to {_short(feature.upper, digits)})"
    return text


def _short(value: float | str | None, digits: int = DIGITS) -> str:
    return f"{value:.{digits}g}" if isinstance(value, float) else "missing" if value is None else str(value)


def _digits(*values: float | str | None) -> int:
    """Return the number of significant digits by which these numbers differ visibly. For a field that moves little
    beside its level, four digits would show 52.52 where 52.52 was expected."""
    numbers = [value for value in values if isinstance(value, float) and isfinite(value)]
    largest, spread = max(map(abs, numbers), default=0.0), max(numbers, default=0.0) - min(numbers, default=0.0)
    if not 0.0 < spread <= largest:
        return DIGITS
    return min(max(ceil(log10(largest / spread)) + 1, DIGITS), MOST_DIGITS)


def _burst_reason(usual_seconds: float, faster: float) -> str:
    return f"an event every {usual_seconds / faster:.4g} s; usually one every {usual_seconds:.4g} s"


def watch_cause(schema: Schema, watched: Watched, row: int, values_D: Float64) -> Cause:
    """Return the cause found by a watch: a stuck value, or a field that vanished or changed."""
    f, amount = int(watched.feature[row]), float(watched.amount[row])
    name = schema.names[f]
    actual = _number(values_D[f]) if f < len(values_D) else None
    reason = {
        Change.STUCK: f"{name} has been {_short(actual)} for {amount:.0f} events",
        Change.VANISHED: f"{name} is missing for {amount:.0f} events",
        Change.RETYPED: f"{name} is not a number for {amount:.0f} events",
        Change.RESCALED: f"{name} is about {amount:.3g} times its usual magnitude",
        Change.NONE: "",
    }[Change(int(watched.change[row]))]
    if not reason:
        return Cause("")
    return Cause(reason, features=(Feature(name, actual, None, None, None, 1.0, 0.0, imputed=actual is None),))


def silence_cause(seconds: float, usual_seconds: float) -> Cause:
    """Return the cause of an alert for a stream that stopped."""
    return Cause(f"no event for {seconds:.4g} s; usually one every {usual_seconds:.4g} s")

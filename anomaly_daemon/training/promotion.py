"""Whether a challenger has earned the champion's place. Pure: measures in, a decision with its reasons out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measures:
    """One model on the later data: the part of the input that neither training nor calibration saw."""

    events: int
    loss: float
    """Nats a numeric value; what is known to be anomalous is left out."""
    groups: Mapping[str, float]
    """The same by group of streams."""
    tail: float
    """How many times more often than it says a p-value is 1% or less; 1 is calibrated."""
    alarms: float
    """Pattern episodes a stream and day that began outside of every known anomaly."""
    found: float | None
    """The share of confirmed anomalies in which an episode was open; None where there is none."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What a challenger has to keep to."""

    events: int = 1_000
    """Fewer in the later data decide nothing."""
    left_out: float = 0.5
    """More of the input called anomalous than this is no picture of the normal."""
    gain: float = 0.01
    """Nats a value it must be better by: less is noise, and every change of network costs the streams their state."""
    group_loss: float = 0.1
    """Nats a value it may be worse by on any group of streams."""
    tail: float = 2.0
    """How far its p-values may be off, where the champion's are not further off."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One condition, and how it was met."""

    name: str
    passed: bool
    text: str


@dataclass(frozen=True, slots=True)
class Decision:
    reasons: tuple[Reason, ...]

    @property
    def promote(self) -> bool:
        return all(reason.passed for reason in self.reasons)

    @property
    def text(self) -> str:
        """For the history: what decided."""
        decisive = [reason for reason in self.reasons if reason.passed == self.promote]
        return "; ".join(f"{reason.name}: {reason.text}" for reason in decisive)


def decide(champion: Measures, challenger: Measures, *, budget: float, left_out: float, gate: Gate) -> Decision:
    """`budget` in alarms a stream and day; `left_out` is the share of the input that is known to be anomalous."""
    figures = [challenger.loss, challenger.tail, challenger.alarms, *challenger.groups.values()]
    finite = all(map(math.isfinite, figures))
    events, gain = challenger.events, champion.loss - challenger.loss
    alarms, tail = max(budget, champion.alarms), max(gate.tail, champion.tail)
    said = f"runs of p <= 1% begin {challenger.tail:.2f} times as often as they should, at most {tail:.2f}"
    rate = f"{challenger.alarms:.3f} a stream and day, at most {alarms:.3f}"
    return Decision(
        (
            Reason("finite", finite, "every measure is a number" if finite else "a measure is not a number"),
            Reason("events", events >= gate.events, f"{events} later events, {gate.events} needed"),
            Reason(
                "left_out", left_out <= gate.left_out, f"{left_out:.1%} known anomalies, at most {gate.left_out:.0%}"
            ),
            Reason("loss", gain >= gate.gain, f"{gain:+.4f} nats a value better, {gate.gain:g} needed"),
            _worst_group(champion, challenger, gate),
            Reason("tail", challenger.tail <= tail, said),
            Reason("alarms", challenger.alarms <= alarms, rate),
            _found(champion, challenger),
        )
    )


def _worst_group(champion: Measures, challenger: Measures, gate: Gate) -> Reason:
    worst = max(challenger.groups, key=lambda group: _worse(champion, challenger, group), default=None)
    if worst is None:
        return Reason("worst_group", True, "no group has enough events of its own")
    worse = _worse(champion, challenger, worst)
    return Reason("worst_group", worse <= gate.group_loss, f"{worst}: {worse:+.4f} worse, at most {gate.group_loss:g}")


def _found(champion: Measures, challenger: Measures) -> Reason:
    now, before = challenger.found, champion.found
    if now is None or before is None:
        return Reason("found", True, "no confirmed anomaly in the later data")
    return Reason("found", now >= before, f"{now:.0%} of confirmed anomalies, {before:.0%} before")


def _worse(champion: Measures, challenger: Measures, group: str) -> float:
    """By how much: both were judged on the same streams. A figure that is no number is as bad as can be."""
    worse = challenger.groups[group] - champion.groups[group]
    return math.inf if math.isnan(worse) else worse

"""Decides whether a challenger replaces the champion. Pure: measures in, a decision with its reasons out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measures:
    """The figures of one model on the later part of the input, which neither training nor calibration saw."""

    events: int
    loss: float
    """Prediction loss in nats a numeric value, without what is known to be anomalous."""
    groups: Mapping[str, float]
    """The same by group of streams."""
    tail: float
    """How many times as often as they should runs of p-values of 1% or less begin; 1 is calibrated."""
    alarms: float
    """Pattern episodes a stream and day that opened outside every known anomaly."""
    found: float | None
    """The share of confirmed anomalies in which an episode was open; None if there is no confirmed anomaly."""


@dataclass(frozen=True, slots=True)
class Gate:
    """The conditions that a challenger has to meet."""

    events: int = 1_000
    """The least number of events in the later part. Fewer decide nothing."""
    left_out: float = 0.5
    """The largest share of the input that may be known to be anomalous. With more, the input does not show the normal
    behaviour."""
    gain: float = 0.01
    """By how much the challenger must be better, in nats a value. Less is noise, and every change of network costs the
    streams their state."""
    group_loss: float = 0.1
    """By how much it may be worse on any group of streams, in nats a value."""
    tail: float = 2.0
    """The largest `Measures.tail`, unless the champion's is larger, which is then the limit."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One condition, whether it was met, and the figures in words."""

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
        """The conditions that decided, for the history of the name."""
        decisive = [reason for reason in self.reasons if reason.passed == self.promote]
        return "; ".join(f"{reason.name}: {reason.text}" for reason in decisive)


def decide(champion: Measures, challenger: Measures, *, budget: float, left_out: float, gate: Gate) -> Decision:
    """Return the decision. `budget` is in alarms a stream and day; `left_out` is the share of the input that is known
    to be anomalous."""
    figures = [challenger.loss, challenger.tail, challenger.alarms, *challenger.groups.values()]
    finite = all(map(math.isfinite, figures))
    events, gain = challenger.events, champion.loss - challenger.loss
    alarms, tail = max(budget, champion.alarms), max(gate.tail, champion.tail)
    text = f"runs of p <= 1% begin {challenger.tail:.2f} times as often as they should, at most {tail:.2f}"
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
            Reason("tail", challenger.tail <= tail, text),
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
    """Return by how much the challenger is worse on a group; both were judged on the same streams. A figure that is not
    a number counts as infinitely worse."""
    worse = challenger.groups[group] - champion.groups[group]
    return math.inf if math.isnan(worse) else worse

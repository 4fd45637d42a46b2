"""Anomalies that need no network: a value that stopped varying, a field that vanished or changed type or scale.

Shapes: B rows, D numeric features, F all features (numeric, then categorical).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection.alert import Kind
from anomaly_daemon.detection.duration import Durations
from anomaly_daemon.detection.observation import Float64, Presence, UInt8
from anomaly_daemon.detection.rules import DurationRule, Rules, SchemaRule
from anomaly_daemon.detection.state import Column, Rows

MAGNITUDE_MEMORY = 500.0
MAGNITUDE_KNOWN_AFTER = 30.0
MAGNITUDE_SPREADS = 4.0
"""A change of scale also stands out by this many mean deviations of the log magnitude."""

BURST_MARGIN = 1.2
"""And by this much more than any burst that went away by itself: bursts are a stream's habit, a new unit stays."""


class Change(IntEnum):
    """What a sighting is about."""

    NONE = 0
    STUCK = 1
    VANISHED = 2
    RETYPED = 3
    RESCALED = 4


@dataclass(frozen=True, slots=True)
class Watched:
    """What one kind of watch says of each row, [B] each. The alarm stands where `ratio` is at least 1."""

    ratio: Float64
    """How far it has come towards its limit; 1 is the limit."""
    feature: npt.NDArray[np.int64]
    change: npt.NDArray[np.int64]
    amount: Float64
    """Events it has lasted; for a change of scale, the factor."""

    @property
    def alarm(self) -> npt.NDArray[np.bool_]:
        return self.ratio >= 1.0


def columns(numeric: int, features: int) -> list[Column]:
    """What a row must hold."""
    per_numeric = ("run", "run_mean", "run_longest", "run_count", "wrong", "off", "magnitude", "magnitude_spread")
    per_feature = ("absent", "absent_mean", "absent_longest", "absent_count")
    return [
        *(Column(name, (numeric,)) for name in (*per_numeric, "magnitude_count", "magnitude_shift", "magnitude_reach")),
        *(Column(name, (features,)) for name in per_feature),
        Column("last_values", (numeric,), np.nan),
    ]


def durations(rows: Rows, clock: str) -> Durations:
    """What a row knows of one clock's durations (copies)."""
    return Durations(*(rows[f"{clock}_{name}"].copy() for name in ("mean", "longest", "count")))


def keep(rows: Rows, clock: str, known: Durations) -> None:
    """Put a clock's durations back."""
    rows[f"{clock}_mean"], rows[f"{clock}_longest"], rows[f"{clock}_count"] = known.mean, known.longest, known.count


def stuck(rows: Rows, values_BD: Float64, p_B: Float64, rule: DurationRule) -> Watched:
    """Runs of equal values, against the runs this stream has shown. Moves the run clocks on; NaN values wait."""
    there = ~np.isnan(values_BD)
    changed = there & (values_BD != rows["last_values"])
    run_BD, known = rows["run"], durations(rows, "run")
    limit = known.limit(float(rule.minimum), rule.longest_ratio, p_B[:, None])
    keep(rows, "run", known.absorb(run_BD.copy(), changed & (run_BD > 0), limit))
    run_BD[...] = np.where(changed, 1.0, run_BD + there)
    rows["last_values"] = np.where(there, values_BD, rows["last_values"])
    ratio = np.where(there & rule.enabled, run_BD / limit, 0.0)
    return _worst(ratio, np.full(ratio.shape, Change.STUCK), run_BD)


def schema_change(rows: Rows, values_BD: Float64, presence_BF: UInt8, p_B: Float64, rule: SchemaRule) -> Watched:
    """Runs without a field, with a wrong type, or at another scale. Moves the clocks on."""
    missing = presence_BF != Presence.PRESENT
    absent_BF, known = rows["absent"], durations(rows, "absent")
    limit = known.limit(float(rule.minimum), 2.0, p_B[:, None])
    keep(rows, "absent", known.absorb(absent_BF.copy(), ~missing, limit))
    absent_BF[...] = np.where(missing, absent_BF + 1.0, 0.0)
    wrong_BD, numeric = rows["wrong"], values_BD.shape[1]
    presence_BD = presence_BF[:, :numeric]
    wrong_BD[...] = np.where(
        presence_BD == Presence.WRONG_TYPE, wrong_BD + 1.0, wrong_BD * (presence_BD != Presence.PRESENT)
    )
    off_BD = _off_scale(rows, values_BD, rule)
    ratio = np.where(missing, absent_BF / limit, 0.0)
    change = np.where(missing, Change.VANISHED, Change.NONE)
    amount = absent_BF.copy()
    retyped = missing[:, :numeric] & (2 * wrong_BD > absent_BF[:, :numeric])
    change[:, :numeric] = np.where(retyped, Change.RETYPED, change[:, :numeric])
    rescaled = ~missing[:, :numeric] & (off_BD > 0)
    ratio[:, :numeric] = np.where(rescaled, off_BD / rule.scale_minimum, ratio[:, :numeric])
    change[:, :numeric] = np.where(rescaled, Change.RESCALED, change[:, :numeric])
    amount[:, :numeric] = np.where(rescaled, 10.0 ** rows["magnitude_shift"], amount[:, :numeric])
    return _worst(np.where(rule.enabled, ratio, 0.0), change, amount)


def _off_scale(rows: Rows, values_BD: Float64, rule: SchemaRule) -> Float64:
    """Values in a row at another order of magnitude than the stream's; learns from those that are not."""
    there = ~np.isnan(values_BD) & (values_BD != 0)
    size = np.log10(np.where(there, np.abs(values_BD), 1.0))
    mean, spread, count, off = rows["magnitude"], rows["magnitude_spread"], rows["magnitude_count"], rows["off"]
    shift = size - mean
    reach = rows["magnitude_reach"]
    least = np.maximum(np.log10(rule.scale_ratio), np.maximum(MAGNITUDE_SPREADS * spread, BURST_MARGIN * reach))
    far = there & (np.abs(shift) > least) & (count >= MAGNITUDE_KNOWN_AFTER)
    over = there & ~far & (off > 0)
    reach[...] = np.where(over, np.maximum(reach, np.abs(rows["magnitude_shift"])), reach)
    off[...] = np.where(far, off + 1.0, np.where(there, 0.0, off))
    rows["magnitude_shift"] = np.where(far, shift, rows["magnitude_shift"])
    learn = there & ~far
    count += learn
    rate = np.maximum(1.0 / np.maximum(count, 1.0), 1.0 / MAGNITUDE_MEMORY)
    mean += np.where(learn, rate * shift, 0.0)
    spread += np.where(learn, rate * (np.abs(shift) - spread), 0.0)
    return off


def _worst(ratio: Float64, change: npt.NDArray[np.int64], amount: Float64) -> Watched:
    if ratio.shape[1] == 0:
        nothing = np.zeros(len(ratio))
        return Watched(nothing, nothing.astype(np.int64), nothing.astype(np.int64), nothing)
    feature, place = ratio.argmax(axis=1), np.arange(len(ratio))
    return Watched(ratio[place, feature], feature, change[place, feature], amount[place, feature])


def forget(rows: Rows, row: int, kind: Kind, rules: Rules) -> None:
    """The operator's rule has accepted this row's new behaviour: let it be learned afresh, fast."""
    counts = {
        Kind.PATTERN: ("norm_count", "cal_count", "level_count", "season_count"),
        Kind.STUCK: ("run_count", "run_longest"),
        Kind.SCHEMA: ("absent_count", "absent_longest", "magnitude_count", "magnitude_reach", "wrong", "off"),
        Kind.SILENCE: (),
    }[kind]
    kept = float(rules.grace_events) if kind is Kind.PATTERN else 0.0
    for name in counts:
        rows[name][row] = np.minimum(rows[name][row], kept)
    if kind is Kind.PATTERN:
        reached_JK = rows["cal_reached"][row]
        reached_JK *= np.minimum(1.0, kept / np.maximum(reached_JK[:, :1], kept))

"""Anomalies that need no network: a value that stopped varying, a field that vanished or changed type or scale.

Shapes: B rows, D numeric features, F all features (numeric, then categorical).
"""

from __future__ import annotations

from enum import IntEnum
from math import inf, isnan
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection import duration, elementary
from anomaly_daemon.detection.alert import Kind
from anomaly_daemon.detection.episode import KINDS
from anomaly_daemon.detection.observation import MISSING_CATEGORY, Float64, Int64, Presence, UInt8
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.detection.state import Column, Rows, StateLayout

MAGNITUDE_MEMORY = 500.0
MAGNITUDE_KNOWN_AFTER = 30.0
MAGNITUDE_SPREADS = 4.0
"""A change of scale must also exceed this many mean deviations of the log magnitude."""

BURST_MARGIN = 1.2
"""A change of scale must also exceed the largest shift that went away again, by this factor: a burst is a stream's
habit, but a new unit stays."""

LOG10_E = 0.4342944819032518
SCHEMA, STUCK = KINDS.index(Kind.SCHEMA), KINDS.index(Kind.STUCK)

ABSENCES_RATIO = 2.0
"""A run without a field is an anomaly only past this many times the longest seen."""


class Change(IntEnum):
    """What the watch found."""

    NONE = 0
    STUCK = 1
    VANISHED = 2
    RETYPED = 3
    RESCALED = 4


class Watched(NamedTuple):
    """The result of one kind of watch for each row, [B] each. A row alarms where `ratio` is at least 1."""

    ratio: Float64
    """How far the feature has come towards its limit; 1 is the limit."""
    feature: Int64
    change: Int64
    amount: Float64
    """The number of events it has lasted; for a change of scale, the factor."""
    waits: npt.NDArray[np.bool_]
    """Whether some field is past its limit and has no value now, or for its scale the value 0, which is of any scale.
    Such an event is neither an alarm nor calm."""

    @classmethod
    def blank(cls, rows: int) -> Self:
        """Return a result in which nothing was found."""
        none = np.zeros(rows, bool)
        return cls(np.zeros(rows), np.zeros(rows, np.int64), np.zeros(rows, np.int64), np.zeros(rows), none)

    @property
    def calm(self) -> npt.NDArray[np.bool_]:
        """Where nothing is past its limit."""
        return ~self.alarm & ~self.waits

    @property
    def alarm(self) -> npt.NDArray[np.bool_]:
        return self.ratio >= 1.0


class At(NamedTuple):
    """Where a row stores each: the run of equal values, the run without a field, and the order of magnitude."""

    runs: duration.At
    absences: duration.At
    run: int
    absent: int
    wrong: int
    off: int
    magnitude: int
    magnitude_spread: int
    magnitude_count: int
    magnitude_shift: int
    magnitude_reach: int
    last_values: int
    episode_open: int


class Limits(NamedTuple):
    """One rule, as the numbers that the computation uses."""

    enabled: bool
    minimum: float
    longest_ratio: float
    scale: float
    """Number of decades that make another scale; 0 where the rule has none."""
    scale_minimum: float


class Rule(NamedTuple):
    """The limits of both kinds of watch."""

    schema: Limits
    stuck: Limits

    @classmethod
    def of(cls, rules: Rules) -> Self:
        """Convert the rules."""
        changed, stuck = rules.schema_change, rules.stuck
        scale = float(np.log10(changed.scale_ratio))
        return cls(
            Limits(changed.enabled, float(changed.minimum), ABSENCES_RATIO, scale, float(changed.scale_minimum)),
            Limits(stuck.enabled, float(stuck.minimum), float(stuck.longest_ratio), 0.0, 0.0),
        )


def columns(numeric: int, features: int) -> list[Column]:
    """Return the columns that a row must have."""
    per_numeric = ("wrong", "off", "magnitude", "magnitude_spread", "magnitude_count", "magnitude_shift")
    return [
        Column("run", (numeric,)),
        *duration.columns("run", (numeric,)),
        *(Column(name, (numeric,)) for name in (*per_numeric, "magnitude_reach")),
        Column("absent", (features,)),
        *duration.columns("absent", (features,)),
        Column("last_values", (numeric,), np.nan),
    ]


def at(layout: StateLayout) -> At:
    """Return where rows of this layout store each."""
    runs, absences = duration.at(layout, "run"), duration.at(layout, "absent")
    return At(runs, absences, *(layout.start(name) for name in At._fields[2:]))


class Given(NamedTuple):
    """One event of each row."""

    values_BD: Float64
    magnitude_BD: Float64  # work space for the logarithms
    presence_BD: UInt8
    codes_BC: Int64


class Looked(NamedTuple):
    """The result of each kind of watch."""

    schema: Watched
    stuck: Watched


def look(
    rows: Rows, values_BD: Float64, presence_BD: UInt8, codes_BC: Int64, p_B: Float64, limits: Rule
) -> tuple[Looked, int, int]:
    """Check the values of an event of each row, and update the rows' runs. Return the results, and how many rows alarm
    by each."""
    looked = Looked(Watched.blank(len(rows)), Watched.blank(len(rows)))
    given = Given(values_BD, np.empty_like(values_BD), presence_BD, codes_BC)
    schema, stuck = _look(rows.statistics_BQ, rows.layout.of(at), given, p_B, limits, looked)
    return looked, schema, stuck


@compiled
def _look(statistics_BQ: Float64, at: At, given: Given, p_B: Float64, limits: Rule, looked: Looked) -> tuple[int, int]:
    schema, stuck = 0, 0
    _magnitudes(given.values_BD, given.magnitude_BD)
    for b in range(len(statistics_BQ)):
        row_Q, p = statistics_BQ[b], p_B[b]
        _schema_change(row_Q, at, given, p, limits.schema, looked.schema, b)
        _stuck(row_Q, at, given.values_BD[b], p, limits.stuck, looked.stuck, b)
        schema += looked.schema.ratio[b] >= 1.0
        stuck += looked.stuck.ratio[b] >= 1.0
    return schema, stuck


@compiled
def _magnitudes(values_BD: Float64, magnitude_BD: Float64) -> None:
    """Compute decimal logarithms of sizes, NaN for NaN, in one loop over all rows, which is vectorised."""
    values_N, magnitude_N = values_BD.reshape(-1), magnitude_BD.reshape(-1)
    for n in range(len(values_N)):
        magnitude_N[n] = elementary.log(abs(values_N[n])) * LOG10_E


@compiled
def _stuck(row_Q: Float64, at: At, values_D: Float64, p: float, limits: Limits, watched: Watched, b: int) -> None:
    """Compare runs of equal values with the runs that this stream has shown; NaN values leave a run as it is. Fields
    share the budget."""
    for d in range(len(values_D)):
        value, run, most = values_D[d], row_Q[at.run + d], inf
        if _near(row_Q, at, STUCK, run, limits):
            rarity = duration.rarity_of(p / len(values_D) * max(row_Q[at.runs.mean + d], 1.0))  # per run
            most = duration.limit(row_Q, at.runs, d, limits.minimum, limits.longest_ratio, rarity)
        if isnan(value):
            watched.waits[b] |= limits.enabled and run >= most
            _see(watched, b, 0.0, d, Change.STUCK.value, run)
            continue
        changed = value != row_Q[at.last_values + d]
        if changed and run > 0:
            duration.absorb(row_Q, at.runs, d, run, most)
        run = row_Q[at.run + d] = 1.0 if changed else run + 1.0
        row_Q[at.last_values + d] = value
        _see(watched, b, run / most if limits.enabled else 0.0, d, Change.STUCK.value, run)


@compiled
def _schema_change(row_Q: Float64, at: At, given: Given, p: float, limits: Limits, watched: Watched, b: int) -> None:
    """Check for runs without a field, with a wrong type, or at another scale."""
    values_D, magnitude_D = given.values_BD[b], given.magnitude_BD[b]
    presence_D, codes_C = given.presence_BD[b], given.codes_BC[b]
    numeric, features = len(values_D), len(values_D) + len(codes_C)
    for f in range(features):
        presence = int(presence_D[f]) if f < numeric else _presence(codes_C[f - numeric])
        ratio, amount = _absent(row_Q, at, f, presence, p / features, limits)
        change = Change.VANISHED.value if presence != Presence.PRESENT else Change.NONE.value
        if f < numeric:
            off = _off_scale(row_Q, at, f, values_D[f], magnitude_D[f], limits.scale)
            if _wrong(row_Q, at, f, presence):
                change = Change.RETYPED.value
            if presence != Presence.PRESENT or isnan(values_D[f]) or values_D[f] == 0:
                watched.waits[b] |= limits.enabled and off >= limits.scale_minimum
            elif off > 0:
                ratio, change = off / limits.scale_minimum, Change.RESCALED.value
                amount = 10.0 ** row_Q[at.magnitude_shift + f]
        _see(watched, b, ratio if limits.enabled else 0.0, f, change, amount)


@compiled
def _presence(code: int) -> int:
    """Return the presence of a category."""
    return Presence.ABSENT.value if code == MISSING_CATEGORY else Presence.PRESENT.value


@compiled
def _absent(row_Q: Float64, at: At, f: int, presence: int, p: float, limits: Limits) -> tuple[float, float]:
    """Return how far a run without the field has come towards its limit, and how long it is."""
    absent, most = row_Q[at.absent + f], inf
    if _near(row_Q, at, SCHEMA, absent, limits):
        most = duration.limit(row_Q, at.absences, f, limits.minimum, limits.longest_ratio, duration.rarity_of(p))
    if presence == Presence.PRESENT:
        duration.absorb(row_Q, at.absences, f, absent, most)
        row_Q[at.absent + f] = 0.0
        return 0.0, 0.0
    row_Q[at.absent + f] = absent + 1.0
    return row_Q[at.absent + f] / most, row_Q[at.absent + f]


@compiled
def _near(row_Q: Float64, at: At, kind: int, run: float, limits: Limits) -> bool:
    """Return whether a run may reach its limit by now. The limit takes four logarithms to compute and is never below
    the minimum. While an episode is open the limit is computed in any case, because its progress is reported."""
    return bool(run + 1.0 >= limits.minimum or row_Q[at.episode_open + kind] > 0)


@compiled
def _wrong(row_Q: Float64, at: At, f: int, presence: int) -> bool:
    """Return whether most records of the run without a number had a value of another type."""
    if presence == Presence.PRESENT:
        row_Q[at.wrong + f] = 0.0
    elif presence == Presence.WRONG_TYPE:
        row_Q[at.wrong + f] += 1.0
    return bool(presence != Presence.PRESENT and 2 * row_Q[at.wrong + f] > row_Q[at.absent + f])


@compiled
def _off_scale(row_Q: Float64, at: At, d: int, value: float, magnitude: float, scale: float) -> float:
    """Return how many values in a row were at another order of magnitude than the stream's; learn from those that were
    not."""
    if isnan(value) or value == 0:
        return float(row_Q[at.off + d])
    shift, reach = magnitude - row_Q[at.magnitude + d], row_Q[at.magnitude_reach + d]
    least = max(scale, MAGNITUDE_SPREADS * row_Q[at.magnitude_spread + d], BURST_MARGIN * reach)
    if abs(shift) > least and row_Q[at.magnitude_count + d] >= MAGNITUDE_KNOWN_AFTER:
        row_Q[at.off + d] += 1.0
        row_Q[at.magnitude_shift + d] = shift
        return float(row_Q[at.off + d])
    if row_Q[at.off + d] > 0:  # a burst is over
        row_Q[at.magnitude_reach + d] = max(reach, abs(row_Q[at.magnitude_shift + d]))
        row_Q[at.off + d] = 0.0
    row_Q[at.magnitude_count + d] += 1.0
    rate = max(1.0 / row_Q[at.magnitude_count + d], 1.0 / MAGNITUDE_MEMORY)
    row_Q[at.magnitude + d] += rate * shift
    row_Q[at.magnitude_spread + d] += rate * (abs(shift) - row_Q[at.magnitude_spread + d])
    return 0.0


@compiled
def _see(watched: Watched, b: int, ratio: float, feature: int, change: int, amount: float) -> None:
    """Let the feature that is the furthest towards its limit stand for the row."""
    if feature == 0 or ratio > watched.ratio[b]:
        watched.ratio[b], watched.feature[b], watched.change[b], watched.amount[b] = ratio, feature, change, amount

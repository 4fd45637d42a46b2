"""Finds the fields of a sample that name the stream, by their names and by how their values are distributed in time.

Two machines in one stream would share a state, and the fault of one would be attributed to the other. So a field
without a telling name is taken as well if its values behave as streams do: each occurs at most once at a time, or each
comes at a pace of its own, or each has a number that continues from its own last value. A category of one stream (a
status, a mode) does none of these, because the stream changes from one of its values to another.

Shapes: N rows with a time, in the order of time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from anomaly_daemon.detection.observation import Float64, Int64
from anomaly_daemon.transport.columns import text_of
from anomaly_daemon.transport.sample_cells import number_of
from anomaly_daemon.transport.sample_fields import FieldSeen
from anomaly_daemon.transport.sample_names import (
    names_calendar,
    names_class,
    names_holder,
    names_key,
    names_label,
    names_row,
)
from anomaly_daemon.transport.sample_rows import Row
from anomaly_daemon.transport.sample_texts import clock

REPEATS = 3
"""The values of a key must occur at least so often in the sample, on average. Cards and customers are exempt."""
LACKING = 0.01
"""The largest share of records without the field that a key may have. A record or two, such as a line of units or a
heartbeat, may lack it."""
SHARED = 0.1
"""If at most this share of the records shares time and key with another, the key is sufficient."""
_PAIRS = 10.0
"""So many pairs of records of one time must be expected to share a value by chance, before it means something that
hardly any do."""
_BY_CHANCE = 0.1
_ENOUGH = 10
"""The number of records that a value must have before its pace is judged."""
_INTERLEAVED = 0.8
"""The least number of changes from record to record, relative to the number by chance. Values that come in runs, such
as a mode, change far less often."""
_STEADY_SHARE = 0.8
_FURTHER = 6.0
"""The least ratio of how much numbers differ from the record before, to how much they differ from the last one of their
stream."""
_LOOKED_AT = 24
_VARIES = 0.05
_PASSING = 10, 0.15
"""If there are at least so many ids, and each is in use for less than this share of the time (the median), they belong
to single events, such as orders."""
_BOOLEAN = frozenset(("true", "false", "yes", "no", "on", "off", "ja", "nein", "0", "1", "t", "f", "y", "n"))


@dataclass(frozen=True, slots=True)
class Key:
    """The fields that name the stream, and why they are assumed to. Without fields, no field names it."""

    fields: tuple[FieldSeen, ...] = ()
    why: str = ""


class InTime:
    """The distribution of the rows in time. `base` has what already distinguishes rows: a metric's name, a record's own
    key."""

    def __init__(self, rows: Sequence[Row], times: Sequence[int], base: Sequence[str]) -> None:
        at = np.array(times, dtype=np.int64)
        known = np.flatnonzero(at >= 0) if len(at) else np.zeros(0, np.int64)
        self._order_N = known[np.argsort(at[known], kind="stable")]
        self._rows = rows
        self.at_N: Int64 = at[self._order_N] if len(at) else np.zeros(0, np.int64)
        self._time_N = _codes(self.at_N.tolist())
        self._base_N = self._of(base)
        self.several = len(set(self._base_N.tolist())) > 1

    def __len__(self) -> int:
        return len(self.at_N)

    def codes(self, fields: Iterable[FieldSeen]) -> Int64:
        """Return a number for each row's combination of values of the fields [N]."""
        code_N = np.zeros(len(self), np.int64)
        for field in fields:
            code_N = joint(code_N, self._of([text_of(row.get(field.path)) or "" for row in self._rows]))
        return code_N

    def shared(self, code_N: Int64) -> float:
        """The share of records at whose time there is already another record of the same stream."""
        return 1 - len(np.unique(self._slots(code_N))) / len(self) if len(self) else 0.0

    def tells_apart(self, code_N: Int64, filled: bool) -> bool:
        """Whether records share times, and hardly any two of one time have the same value: far fewer than by chance.
        `filled`: at least half of the combinations of value and time must occur as well. Measured numbers may differ at
        one time, but they do not recur at the next."""
        counts = np.unique(code_N, return_counts=True)[1] / max(len(code_N), 1)
        expected = _pairs(joint(self._time_N, self._base_N)) * float((counts**2).sum())
        if expected < _PAIRS or _pairs(self._slots(code_N)) > _BY_CHANCE * expected:
            return False
        here = len(np.unique(joint(self._time_N, code_N)))
        return not filled or here >= len(counts) * len(np.unique(self._time_N)) / 2

    def paced(self, code_N: Int64) -> bool:
        """Whether the values alternate, and nearly each comes at a steady pace of its own for as long as it occurs. No
        other value may interrupt the most frequent one: a mode that now and then replaces the usual one is a category
        of one stream."""
        if not self._by_turns(code_N):
            return False
        times = [self.at_N[code_N == code] for code in np.unique(code_N).tolist()]
        steady = [one for one in times if len(one) >= _ENOUGH and _steady(one) >= _STEADY_SHARE]
        if len(steady) < 2 or len(steady) < 0.8 * len(times):
            return False
        return not _breaks(max(times, key=len), self.at_N)

    def goes_on(self, code_N: Int64, numeric: Iterable[FieldSeen]) -> bool:
        """Whether the values alternate, and some number continues from the last record with the same value, far from
        the record before."""
        return self._by_turns(code_N) and any(_goes_on(code_N, self._numbers(field)) for field in numeric)

    def passing(self, field: FieldSeen) -> bool:
        """Whether there are many values, of which each occurs for a short time only."""
        code_N = self.codes([field])
        _, first, count = np.unique(code_N, return_index=True, return_counts=True)
        if len(count) < _PASSING[0] or not len(self) or self.at_N[-1] == self.at_N[0]:
            return False
        last = len(code_N) - 1 - np.unique(code_N[::-1], return_index=True)[1]
        spans = self.at_N[last] - self.at_N[first]
        return bool(np.median(spans) < _PASSING[1] * (self.at_N[-1] - self.at_N[0]))

    def together(self, code_N: Int64) -> float:
        """The mean number of records that a stream has at one time."""
        return len(self) / max(len(np.unique(self._slots(code_N))), 1)

    def _slots(self, code_N: Int64) -> Int64:
        return joint(joint(self._time_N, self._base_N), code_N)

    def _by_turns(self, code_N: Int64) -> bool:
        if self.several or len(code_N) < 2 * _ENOUGH or self.shared(np.zeros_like(code_N)) > SHARED:
            return False
        shares = np.unique(code_N, return_counts=True)[1] / len(code_N)
        by_chance = 1 - float((shares**2).sum())
        return by_chance > 0 and float((np.diff(code_N) != 0).mean()) >= _INTERLEAVED * by_chance

    def _of(self, texts: Sequence[str]) -> Int64:
        return _codes([texts[place] for place in self._order_N.tolist()])

    def _numbers(self, field: FieldSeen) -> Float64:
        found = (number_of(self._rows[place].get(field.path)) for place in self._order_N.tolist())
        return np.array([np.nan if one is None else one for one in found], dtype=np.float64)


def key_of(fields: Mapping[str, FieldSeen], rows: int, time: InTime) -> Key:
    """Return the key. It is the field with a telling name, if few records of one value share a time. Otherwise it is
    the field or fields that tell records of one time apart. If no name is telling either, it is the field whose values
    have a pace or a level of their own."""
    fitting = [
        field
        for field in fields.values()
        if _may_name(field, rows) and (names_holder(field.path) or not time.passing(field))
    ]
    telling = [field for field in fitting if names_key(field.path)]
    named = max(
        telling,
        key=lambda field: (time.tells_apart(time.codes([field]), field.whole), field.textual, field.distinct),
        default=None,
    )
    if named is not None and time.shared(time.codes([named])) <= SHARED:
        return Key((named,), _by_name(named, telling))
    several = [field for field in fitting if field.distinct >= 2 and not names_calendar(field.path)]
    found = _that_tells_apart(several, named, time)
    if found.fields or named is not None:
        return found if found.fields or named is None else Key((named,), _by_name(named, telling))
    return _by_itself([field for field in several if field.textual], fields.values(), time)


def _by_name(named: FieldSeen, telling: Iterable[FieldSeen]) -> str:
    """Return the reason for a key by name. It lists the other fields with telling names: where a card and a shop both
    have one, only a person can tell which is meant."""
    others = " and ".join(f'"{field.path}"' for field in telling if field is not named)
    return f"its name says so, as does that of {others}" if others else "its name says so"


def _may_name(field: FieldSeen, rows: int) -> bool:
    return (
        (field.textual or field.whole)
        and field.missing_share <= LACKING
        and (field.distinct * REPEATS <= rows or names_holder(field.path))
        and all(map(text_of, field.values))
        and not names_label(field.path)
        and not clock(field)
        and not (field.whole and names_row(field.path) and not names_key(field.path))
    )


def _that_tells_apart(fields: Sequence[FieldSeen], named: FieldSeen | None, time: InTime) -> Key:
    """Return one field that tells records of one time apart, or two, such as a host and the number of its core."""
    fields = sorted(fields, key=lambda f: (f is not named, f.whole, names_class(f.path), f.distinct))[:_LOOKED_AT]
    codes = [time.codes([field]) for field in fields]
    for field, code_N in zip(fields, codes, strict=True):
        if time.tells_apart(code_N, field.whole):
            return Key((field,), "records with the same time all have different values of it")
    for (one, one_N), (other, other_N) in combinations(zip(fields, codes, strict=True), 2):
        if time.tells_apart(joint(one_N, other_N), one.whole or other.whole):
            return Key((one, other), "only both together tell records with the same time apart")
    return Key()


def _by_itself(fields: Sequence[FieldSeen], numbers: Iterable[FieldSeen], time: InTime) -> Key:
    """Return a field of texts whose values have a pace of their own, or numbers that continue. Fields that are
    categories by name are excluded, because they may have a pace, too."""
    measured = [field for field in numbers if field.numeric and field.distinct >= 2 * _ENOUGH]
    for field in sorted(fields, key=lambda field: field.distinct):
        if names_class(field.path) or boolean(field):
            continue
        code_N = time.codes([field])
        if time.paced(code_N):
            return Key((field,), "the records of each of its values come at regular intervals")
        if time.goes_on(code_N, measured):
            return Key(
                (field,), "numbers continue from the last record with the same value of it, not from the record before"
            )
    return Key()


def boolean(field: FieldSeen) -> bool:
    return field.distinct <= 2 and all(text.lower() in _BOOLEAN for text in field.examples)


def _goes_on(code_N: Int64, value_N: Float64) -> bool:
    there = np.isfinite(value_N)
    code_N, value_N = code_N[there], value_N[there]
    if len(value_N) < 2 * _ENOUGH:
        return False
    changes = np.abs(np.diff(value_N))[np.diff(code_N) != 0]
    order = np.argsort(code_N, kind="stable")
    steps = np.abs(np.diff(value_N[order]))[np.diff(code_N[order]) == 0]
    if not len(changes) or not len(steps):
        return False
    varies = float((steps > 0).mean()) >= _VARIES  # and is not a property of the value, such as its price
    return varies and float(np.median(steps)) * _FURTHER < float(np.median(changes))


def _steady(at_N: Int64) -> float:
    """The share of the duration of a run of times that is in gaps of at most 1.5 times the usual one."""
    gaps = np.diff(at_N)
    gaps = gaps[gaps > 0]
    return float(gaps[gaps <= 1.5 * np.median(gaps)].sum() / gaps.sum()) if len(gaps) else 0.0


def _breaks(at_M: Int64, all_N: Int64) -> bool:
    """Whether most of the records between those at `at_M` are where one of the latter is missing, by the length of the
    gap."""
    gaps = np.diff(at_M)
    place = np.searchsorted(at_M, all_N[~np.isin(all_N, at_M)]) - 1
    place = place[(place >= 0) & (place < len(gaps))]
    return len(place) > 0 and float((gaps[place] > 1.5 * np.median(gaps)).mean()) > 0.5


def _codes(values: Sequence[object]) -> Int64:
    places = {value: place for place, value in enumerate(dict.fromkeys(values))}
    return np.fromiter((places[value] for value in values), np.int64, len(values))


def joint(one_N: Int64, other_N: Int64) -> Int64:
    """Return a number for each pair of numbers. The results are consecutive, so that repeated use does not overflow."""
    joint_N: Int64 = np.unique(one_N * (int(other_N.max(initial=0)) + 1) + other_N, return_inverse=True)[1]
    return joint_N


def _pairs(slot_N: Int64) -> float:
    """Return the number of pairs of records that have the same number."""
    counts = np.unique(slot_N, return_counts=True)[1].astype(np.float64)
    return float((counts * (counts - 1) / 2).sum())

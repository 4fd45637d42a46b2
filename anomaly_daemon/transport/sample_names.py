"""What a field's name says that it holds. The last word counts; marks, spaces and capitals part words."""

from __future__ import annotations

import re

_CAMEL = re.compile(r"(?<=[^\W\dA-Z_])(?=[A-Z])")
_WORD = re.compile(r"[^\W_]+")


def _set_of(words: str) -> frozenset[str]:
    return frozenset(words.split())


_KEYS = _set_of(
    "id key name device sensor host hostname machine instance node unit pump account card customer user client merchant "
    "station site asset meter vehicle server service pod container equipment robot gateway serial tagname maschine anlage "
    "gerät geraet pumpe messstelle cardholder pan iban token"
)
_HOLDERS = _set_of("card cardholder pan iban account customer")
"""Whose they are is never the name of a single event, however seldom it comes."""
_NUMBERED = _set_of("no nr number nummer")
"""These name something only behind a word that says what."""
_OF_A_KIND = _set_of("type kind class status state mode category level flag quality error alarm event")
"""The id, name or number of one of these is not that of a stream."""
_TIMES = _set_of("time timestamp ts date datetime eventtime at when zeit zeitpunkt datum fecha horodatage")
_TIME_ENDS = ("time", "timestamp", "zeit", "zeitstempel")
_TIME_UNITS = _set_of("s sec secs seconds ms us ns epoch unix utc gmt local")
"""What follows the name of a time: `time_ms`, `Time (UTC)`."""
_RELATIVE = _set_of("t s sec secs seconds sekunden elapsed")
_ROWS = _set_of("index idx row record seq sequence line unnamed n i") | _NUMBERED
_METRICS = _set_of("metric metricname measurement parameter variable signal tag quantity")
_VALUES = _set_of("value val reading measure wert messwert")
_COUNTED = _set_of(
    "total count counter cnt sum bytes octets packets pkts errors errs drops dropped discards sent recv received rx tx "
    "reads writes written ticks jiffies energy kwh odometer zähler zaehler"
)
_LABELS = _set_of("label anomaly isanomaly fraud isfraud groundtruth target")
_CLASS_ENDS = (
    *("type", "kind", "class", "code", "status", "state", "mode", "category", "level", "flag", "quality", "severity"),
    *("zustand", "modus", "qualität", "mcc", "currency", "country"),
)
_HOURS = _set_of("year month week weekday day hour minute second jahr monat woche stunde")


def words(path: str) -> list[str]:
    """The words of a name, in small letters."""
    return _WORD.findall(_CAMEL.sub(" ", path).lower())


def names_key(path: str) -> bool:
    """A machine, a card, an account, or the id, name or number of something."""
    last, before = _ends(path)
    if last in _NUMBERED:
        return before != "" and before not in _OF_A_KIND
    return last in _KEYS and before not in _OF_A_KIND


def names_holder(path: str) -> bool:
    """A card, an account or a customer, or its id, name or number."""
    return names_key(path) and not _HOLDERS.isdisjoint(_ends(path))


def names_time(path: str) -> bool:
    found = words(path)
    while len(found) > 1 and found[-1] in _TIME_UNITS:
        found.pop()
    return bool(found) and (found[-1] in _TIMES or found[-1].endswith(_TIME_ENDS))


def names_relative_time(path: str) -> bool:
    """A time since something began."""
    return names_time(path) or _ends(path)[0] in _RELATIVE


def names_row(path: str) -> bool:
    """The number of the row, as tables are written with one; often without a name."""
    return not words(path) or "unnamed" in words(path) or _ends(path)[0] in _ROWS


def names_calendar(path: str) -> bool:
    """A part of a time, such as the hour."""
    return _ends(path)[0] in _HOURS


def names_metric(path: str) -> bool:
    last, before = _ends(path)
    return last in _METRICS or (last, before) == ("name", "metric")


def names_value(path: str) -> bool:
    return _ends(path)[0] in _VALUES


def names_counter(path: str) -> bool:
    """What is counted, of something that only rises."""
    return not _COUNTED.isdisjoint(words(path))


def names_label(path: str) -> bool:
    last, before = _ends(path)
    return last in _LABELS or (last, before) == ("truth", "ground")


def names_class(path: str) -> bool:
    """One of a few kinds, or its id or name."""
    last, before = _ends(path)
    return path.lower().endswith(_CLASS_ENDS) or (before in _OF_A_KIND and (last == "name" or names_number(path)))


def names_number(path: str) -> bool:
    """The id or number of something, of whatever."""
    last, before = _ends(path)
    return last in ("id", "key") or (last in _NUMBERED and before != "") or last.endswith(("nummer", "number"))


def _ends(path: str) -> tuple[str, str]:
    """The last word, and the one before it."""
    found = ["", "", *words(path)]
    return found[-1], found[-2]

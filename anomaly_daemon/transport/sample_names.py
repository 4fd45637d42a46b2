"""Guesses from a field's name what the field holds. The last word counts most. Punctuation, spaces and capitals
separate words."""

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
"""Words for holders. Their ids never name a single event, however seldom each occurs."""
_NUMBERED = _set_of("no nr number nummer")
"""These name a thing only after a word that says what is numbered."""
_OF_A_KIND = _set_of("type kind class status state mode category level flag quality error alarm event")
"""The id, name or number of one of these does not name a stream."""
_TIMES = _set_of("time timestamp ts date datetime eventtime at when zeit zeitpunkt datum fecha horodatage")
_TIME_ENDS = ("time", "timestamp", "zeit", "zeitstempel")
_TIME_UNITS = _set_of("s sec secs seconds ms us ns epoch unix utc gmt local")
"""Words that may follow the name of a time: `time_ms`, `Time (UTC)`."""
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
    """Return the words of a name, in lower case."""
    return _WORD.findall(_CAMEL.sub(" ", path).lower())


def names_key(path: str) -> bool:
    """Whether the name is that of a machine, a card or an account, or of the id, name or number of something."""
    last, before = _ends(path)
    if last in _NUMBERED:
        return before != "" and before not in _OF_A_KIND
    return last in _KEYS and before not in _OF_A_KIND


def names_holder(path: str) -> bool:
    """Whether the name is that of a card, an account or a customer, or of its id, name or number."""
    return names_key(path) and not _HOLDERS.isdisjoint(_ends(path))


def names_time(path: str) -> bool:
    found = words(path)
    while len(found) > 1 and found[-1] in _TIME_UNITS:
        found.pop()
    return bool(found) and (found[-1] in _TIMES or found[-1].endswith(_TIME_ENDS))


def names_relative_time(path: str) -> bool:
    """Whether the name is that of a time, also of one since something began."""
    return names_time(path) or _ends(path)[0] in _RELATIVE


def names_row(path: str) -> bool:
    """Whether the name is that of a row number, as tables are exported with one. Such a column often has no name."""
    return not words(path) or "unnamed" in words(path) or _ends(path)[0] in _ROWS


def names_calendar(path: str) -> bool:
    """Whether the name is that of a part of a time, such as the hour."""
    return _ends(path)[0] in _HOURS


def names_metric(path: str) -> bool:
    last, before = _ends(path)
    return last in _METRICS or (last, before) == ("name", "metric")


def names_value(path: str) -> bool:
    return _ends(path)[0] in _VALUES


def names_counter(path: str) -> bool:
    """Whether the name says that something is counted, as for a value that only rises."""
    return not _COUNTED.isdisjoint(words(path))


def names_label(path: str) -> bool:
    last, before = _ends(path)
    return last in _LABELS or (last, before) == ("truth", "ground")


def names_class(path: str) -> bool:
    """Whether the name is that of a class (one of a few kinds), or of the id or name of one."""
    last, before = _ends(path)
    return path.lower().endswith(_CLASS_ENDS) or (before in _OF_A_KIND and (last == "name" or names_number(path)))


def names_number(path: str) -> bool:
    """Whether the name is that of an id or number of anything."""
    last, before = _ends(path)
    return last in ("id", "key") or (last in _NUMBERED and before != "") or last.endswith(("nummer", "number"))


def _ends(path: str) -> tuple[str, str]:
    """Return the last word, and the one before it; "" where there is none."""
    found = ["", "", *words(path)]
    return found[-1], found[-2]

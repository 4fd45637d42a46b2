"""Finds texts of a sample that a person reads as numbers or times but the daemon does not, and gives advice on them."""

from __future__ import annotations

import re
from collections import Counter

from anomaly_daemon.transport.sample_cells import POINT, number_of
from anomaly_daemon.transport.sample_fields import MOSTLY, FieldSeen

_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?( ?[AaPp][Mm])?")
_GROUPED = re.compile(
    r"[+-]?\d{1,3}((,\d{3})+(\.\d+)?|(\.\d{3}){2,}|(\.\d{3})+,\d+|([ '\u00a0\u202f\u2019]\d{3})+([.,]\d+)?)"
)
_UNGROUPED = re.compile(r"[+-]?\d{1,3}([.,]\d+)?")
_WITH_UNIT = re.compile(r"[+-]?\d[\d.,]*\s*([^\W\d_][^\s\d]{0,7}|[%‰°$€£][^\s\d]{0,7})|([$€£])\s*[+-]?\d[\d.,]*")
MOST_NAMED = 5
"""The most texts that are listed, or suggested as `missing_values`. More would be too many to configure."""
_FEW = 10
"""With no more distinct texts than this they may be categories, such as the sizes 10 mm and 20 mm."""


def clock(field: FieldSeen) -> bool:
    """Whether the field holds times of day without the day."""
    texts = [value for value in field.values if isinstance(value, str)]
    fitting = sum(_CLOCK.fullmatch(text.strip()) is not None for text in texts)
    return bool(texts) and fitting >= MOSTLY * len(field.values)


def numbers_in_words(field: FieldSeen) -> str | None:
    """Return why texts that look like numbers are not read as numbers, and what to do; None if they do not look so."""
    texts = [value.strip() for value in field.values if isinstance(value, str)]
    if field.distinct <= _FEW or len(texts) < MOSTLY * len(field.values):
        return None
    pointed = [text for text in texts if POINT in text]
    if len(pointed) >= MOSTLY * len(texts):
        return f'numbers with a point, such as "{pointed[0]}", are not read beside those with a comma: write one, too'
    grouped = [text for text in texts if _GROUPED.fullmatch(text)]
    if grouped and len(grouped) + sum(_UNGROUPED.fullmatch(text) is not None for text in texts) >= MOSTLY * len(texts):
        return f'numbers with a thousands separator, such as "{grouped[0]}", are not read: write them without it'
    units = Counter(found[1] or found[2] for text in texts if (found := _WITH_UNIT.fullmatch(text)))
    others = Counter(text for text in texts if number_of(text) is None)
    if others and len(texts) - others.total() >= len(texts) / 2:
        named = ", ".join(f'"{text}"' for text, _ in others.most_common(MOST_NAMED))
        share = f"{others.total() / len(texts):.0%}"
        why = f"numbers, except for texts such as {named} in {share}: leave those empty"
        few = len(others) <= MOST_NAMED
        return why + (f", or make it one of stream.numeric with missing_values: [{named}]" if few else "")
    unit, count = units.most_common(1)[0] if units else ("", 0)
    if count >= MOSTLY * len(texts):
        return f'numbers with a unit ("{texts[0]}") are not read: write them without "{unit}"'
    return None

"""Finds the field of a sample that tells the time, with its unit or format; and if none does, a field that counts up
and could replace it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from anomaly_daemon.detection.observation import Int64
from anomaly_daemon.settings import TimeUnit
from anomaly_daemon.transport.sample_cells import number_of
from anomaly_daemon.transport.sample_fields import MOSTLY, FieldSeen
from anomaly_daemon.transport.sample_names import names_label, names_relative_time, names_row, names_time, names_value
from anomaly_daemon.transport.sample_rows import Row
from anomaly_daemon.transport.sample_texts import clock
from anomaly_daemon.transport.times import Times

ZONES = ("UTC", "GMT")
COMPACT = "%Y%m%d%H%M%S"
_DAYS = (
    *("%d.%m.%Y", "%Y/%m/%d", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d-%b-%Y", "%d %b %Y"),
    *("%d.%m.%y", "%m/%d/%y", "%d/%m/%y"),
)
_LOCALE_DAYS = ("%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y")
"""Browsers write a comma after the date in these formats."""
FORMATS = (
    *(
        f"{day} {clock}"
        for day in _DAYS
        for clock in ("%H:%M:%S", "%H:%M", "%H:%M:%S.%f", "%H:%M:%S,%f", "%I:%M:%S %p", "%I:%M %p")
    ),
    *(
        f"%Y-%m-%d{between}{clock} {zone}"
        for between in " T"
        for clock in ("%H:%M:%S", "%H:%M:%S.%f")
        for zone in ZONES
    ),
    *(f"{day}, {clock}" for day in _LOCALE_DAYS for clock in ("%H:%M:%S", "%I:%M:%S %p")),
    *_DAYS,
    COMPACT,
    "%d/%b/%Y:%H:%M:%S %z",
    "%a, %d %b %Y %H:%M:%S GMT",
    "%a, %d %b %Y %H:%M:%S %z",
    "%a %b %d %H:%M:%S %Y",
)
"""The values of `stream.time_format` that `init` tries."""
_EARLIEST, _LATEST = 631_152_000_000_000, 4_102_444_800_000_000  # 1990 and 2100: a number there may be a time
_DAY = 86_400_000_000
_SERIAL = 36_526, 73_050
"""The years 2000 and 2100 in days since 1900, as spreadsheets count them."""
_EVEN = 0.95
_OFFSET = re.compile(r"[Tt ].*([Zz]|[+-]\d\d(:?\d\d)?) *$")


@dataclass(frozen=True, slots=True)
class TimeSeen:
    """The field that tells the time. `form` is its strptime format, None for ISO 8601 text and for numbers."""

    field: FieldSeen
    unit: TimeUnit
    form: str | None


def time_seen(fields: Mapping[str, FieldSeen], rows: Sequence[Row]) -> TimeSeen | None:
    """Return the field that most likely tells the time, or None. Text, a telling name, and times that run forward each
    count in its favour."""
    best: tuple[tuple[float, int], TimeSeen] | None = None
    for field in fields.values():
        unit, form = time_unit(field), None
        if unit is None and (form := time_format(field)):
            unit = TimeUnit.ISO
        if unit is None or field.missing_share > 0.1 or _stands_still(field, len(rows)):
            continue
        steps = np.diff(times_of(rows, field.path, form))
        forward = float((steps >= 0).mean()) if len(steps) else 1.0
        points = 2 * names_time(field.path) + (unit is TimeUnit.ISO) + (forward > 0.9)
        points += forward > 0.9 and field.numeric and field.distinct > len(rows) / 100  # a clock, or it looks like one
        if points >= 2 and (best is None or (points, field.distinct) > best[0]):
            best = ((points, field.distinct), TimeSeen(field, unit, form))
    return None if best is None else best[1]


def tells_offset(time: TimeSeen) -> bool:
    """Whether the times give their distance from UTC, as epoch numbers do. Other texts are in the local time of some
    place."""
    if time.form is not None:
        return time.form.endswith(("%z", *ZONES))
    texts = [value for value in time.field.values if isinstance(value, str)]
    return time.unit is not TimeUnit.ISO or any(_OFFSET.search(text) for text in texts)


def day_and_clock(fields: Mapping[str, FieldSeen], time: TimeSeen | None) -> tuple[FieldSeen, FieldSeen] | None:
    """Return the field with the day and the field with the time of day, if no single field has both."""
    if time is not None and not _only_days(time.field):
        return None
    clocks = [field for field in fields.values() if clock(field)]
    if not clocks:
        return None
    days = [time.field] if time else [field for field in fields.values() if _only_days(field)]
    return (days[0], clocks[0]) if days else None


def counts_up(fields: Mapping[str, FieldSeen], rows: Sequence[Row]) -> FieldSeen | None:
    """Return a numeric field that rises from record to record, such as seconds or row numbers, to be used if no field
    tells the time."""
    numeric = [
        field for field in fields.values() if field.numeric and not (names_label(field.path) or names_value(field.path))
    ]
    running = [field for field in numeric if field.distinct > max(2, len(rows) / 100) and _runs(field)]
    for named in (names_relative_time, names_row):
        if found := next((field for field in running if named(field.path) and not serial_days(field)), None):
            return found
    even = [field for field in running if len(numeric) > 1 and _evenly(field) and not serial_days(field)]
    return even[0] if even else None


def row_number(field: FieldSeen) -> bool:
    """Whether the field holds nothing but consecutive numbers of the records."""
    if not (field.whole and field.missing_share == 0 and names_row(field.path)) or not np.isfinite(field.numbers).all():
        return False
    return len(field.numbers) > 1 and bool((np.diff(field.numbers) == 1).all())


def serial_days(field: FieldSeen) -> bool:
    """Whether the field holds times in days as a spreadsheet counts them, which cannot be read."""
    low, high = field.range()
    return field.numeric and not field.whole and _SERIAL[0] <= low and high <= _SERIAL[1] and _runs(field)


def _runs(field: FieldSeen) -> bool:
    numbers = np.array(field.numbers)
    if field.missing_share > 0 or len(numbers) < 3 or not np.isfinite(numbers).all():
        return False
    return bool((np.diff(numbers) >= 0).mean() >= MOSTLY and numbers[-1] > numbers[0])


def _evenly(field: FieldSeen) -> bool:
    steps = np.diff(np.array(field.numbers))
    steps = steps[steps > 0]
    return bool(np.isclose(steps, np.median(steps), rtol=1e-3).mean() >= _EVEN) if len(steps) else False


def _only_days(field: FieldSeen) -> bool:
    if field.numeric or not field.values:
        return False
    unit = time_unit(field)
    form = None if unit else time_format(field)
    if unit is None and form is None:
        return False
    times = Times(TimeUnit.ISO, "UTC", form).read([str(value) for value in field.values])
    return bool((times[times >= 0] % _DAY == 0).all())


def _stands_still(field: FieldSeen, rows: int) -> bool:
    """Whether all of several records have the same value, which is no clock. A field whose name is that of a time is
    exempt."""
    return rows > 1 and field.distinct == 1 and not names_time(field.path)


def may_tell_time(field: FieldSeen) -> bool:
    """Whether the field has the name of a time, but holds texts in a format that is not known here."""
    return field.textual and names_time(field.path) and not clock(field) and not tells_time(field)


def tells_time(field: FieldSeen) -> bool:
    return time_unit(field) is not None or time_format(field) is not None


def time_unit(field: FieldSeen) -> TimeUnit | None:
    """Return the unit in which the field tells time, or None if it does not."""
    if not field.values:
        return None
    times = Times(TimeUnit.AUTO, "UTC").read(field.values)
    plausible = (times > _EARLIEST) & (times < _LATEST)
    if plausible.mean() < MOSTLY:
        return None
    if not field.numeric:
        return TimeUnit.AUTO if any(number_of(value) is not None for value in field.values) else TimeUnit.ISO
    typical = float(np.median(np.abs(np.array(field.numbers))))
    bounds = ((1e11, TimeUnit.SECONDS), (1e14, TimeUnit.MILLISECONDS), (1e17, TimeUnit.MICROSECONDS))
    return next((unit for bound, unit in bounds if typical < bound), TimeUnit.NANOSECONDS)


def time_format(field: FieldSeen) -> str | None:
    """Return the format of texts that tell time but are not ISO 8601, or None. Of the formats that read them it is the
    one whose times run forward most often, and then the one with the shortest span, as 03/04 may be in March or in
    April."""
    texts = [str(value) for value in field.values]
    read = {form: Times(TimeUnit.ISO, "UTC", form).read(texts) for form in FORMATS if _reads(form, texts[:20])}
    likely = {form: times[(times > _EARLIEST) & (times < _LATEST)] for form, times in read.items()}
    fitting = [form for form, times in likely.items() if len(times) >= MOSTLY * len(texts)]
    return max(fitting, key=lambda form: (_forward(likely[form]), -int(np.ptp(likely[form]))), default=None)


def other_way_round(seen: TimeSeen) -> str | None:
    """Return the format with day and month exchanged, if it reads the sample equally well but as other times; else
    None. In a sample of one day, 03/04 may be in March or in April."""
    form = seen.form or ""
    day, month = "\0", "%d"
    other = form.replace("%d", day).replace("%m", month).replace(day, "%m")
    if other == form or other not in FORMATS:
        return None
    texts = [str(value) for value in seen.field.values]
    here, there = (Times(TimeUnit.ISO, "UTC", one).read(texts) for one in (form, other))
    alike = (there > _EARLIEST).all() and np.ptp(here) == np.ptp(there) and _forward(here) == _forward(there)
    return other if alike and (here != there).any() else None


def _forward(times: Int64) -> float:
    """The share of steps that do not go back."""
    return float((np.diff(times) >= 0).mean()) if len(times) > 1 else 1.0


def _reads(form: str, texts: Sequence[str]) -> bool:
    if form == COMPACT and any(len(text.strip()) != 14 for text in texts):
        return False  # strptime also reads fewer digits
    return bool(texts) and bool((Times(TimeUnit.ISO, "UTC", form).read(texts) > 0).mean() >= MOSTLY / 2)


def times_of(rows: Sequence[Row], path: str, form: str | None = None) -> list[int]:
    """Return the epoch microseconds of each row, negative where there is no time."""
    column = [row.get(path) for row in rows]
    times: list[int] = Times(TimeUnit.AUTO, "UTC", form).read(column).tolist()
    return times

"""Messages about a sample for the person who runs `init`, besides the guesses: why this key, and where a guess may
merge streams or lose data."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from anomaly_daemon.transport.card_numbers import masked
from anomaly_daemon.transport.sample import Inferred
from anomaly_daemon.transport.sample_cells import as_written, number_of
from anomaly_daemon.transport.sample_fields import FieldSeen
from anomaly_daemon.transport.sample_key import REPEATS, boolean
from anomaly_daemon.transport.sample_missing import shown
from anomaly_daemon.transport.sample_names import names_class, names_label
from anomaly_daemon.transport.sample_rows import OBJECTS, SampleRows
from anomaly_daemon.transport.sample_texts import clock, numbers_in_words
from anomaly_daemon.transport.sample_times import other_way_round, serial_days, tells_time

SEVERAL = 1.25
"""If a stream has more records than this at one time, on average, there is a note about it."""
NAMED = 5
"""The number of fields that are named in one line. If there are more, the rest is counted."""


def notes(inferred: Inferred) -> list[str]:
    """Return the notes, each on one line whatever the sample contains; none if there is nothing to check."""
    found = (
        *_time(inferred),
        *_streams(inferred),
        *_payments(inferred),
        *_numbers(inferred),
        *_sentinels(inferred),
        *_counters(inferred),
        *_lists(inferred),
    )
    return [legible(line) for line in found]


def misread(sample: SampleRows) -> str | None:
    """Return why the daemon would not read these lines unchanged, and what to change; None if it would."""
    if sample.format != "csv" or sample.columns is not None:
        return None
    if sample.above:
        lines = "remove the line above it" if sample.above == 1 else f"remove the {sample.above} lines above it"
        return f"line {sample.above + 1} names the columns; {lines}: tail -n +{sample.above + 1} FILE > NEW"
    if not sample.rows and sample.unreadable:
        if not sample.usual_width:
            return "most lines are no whole records: a double quote is open at their end, and a record is one line"
        why = f"the first line names {len(sample.names)} columns, and most of the others hold {sample.usual_width}"
        if sample.usual_width == len(sample.names) + 1:
            mark = sample.delimiter.replace("\t", "\\t")
            why += f": if each of those ends in a delimiter, add one to the first: sed '1s/$/{mark}/' FILE > NEW"
        return why
    return None


def why_the_key(inferred: Inferred) -> str | None:
    """Return one line about the fields that were taken for the stream's key, or None if there are none."""
    if not inferred.key.fields:
        return None
    fields = " and ".join(f'"{field.path}"' for field in inferred.key.fields)
    return legible(f"the streams are told apart by {fields}: {inferred.key.why}")


def parted_by_spaces(sample: SampleRows) -> bool:
    """Whether what was read as one column is several columns, separated by spaces."""
    if sample.format != "csv" or len(sample.names) > 1 or not sample.rows:
        return False
    cells = [str(value).split() for row in sample.rows for value in row.values()]
    widths = Counter(map(len, cells))
    return widths[1] == 0 and len(widths) == 1 and any(number_of(cell) is not None for cell in cells[-1])


def numbering(inferred: Inferred) -> list[str]:
    """Return a line with a command that numbers the records in a new first column, for a sample in which no field tells
    the time. [] unless it is CSV, and neither a counter nor two fields of day and time of day can replace the time."""
    sample = inferred.rows
    if sample.format != "csv" or inferred.counter is not None or inferred.day_and_clock is not None:
        return []
    mark = sample.delimiter.replace("\t", "\\t")
    number = '(NR == 1 ? "row" : NR - 2)' if sample.columns is None else "NR - 1"
    return [
        "if no field holds the time, number the records, and run init again on NEW: "
        f"""awk '{{print {number} "{mark}" $0}}' FILE > NEW"""
    ]


def legible(text: str) -> str:
    """Return the text so that it stays on its line whatever the sample contains, and without whole card numbers."""
    return masked("".join(letter if letter.isprintable() else "?" for letter in as_written(text)))


def _time(inferred: Inferred) -> Iterator[str]:
    if inferred.day_and_clock is not None:
        day, clock = inferred.day_and_clock
        yield (
            f'"{day.path}" holds only the date, and "{clock.path}" only the time of day: all records of a day would have '
            f"the same time. Join the two, and run init again on NEW: {_joining(inferred.rows, day, clock)}"
        )
    elif inferred.time is not None and (other := other_way_round(inferred.time)):
        yield (
            f'"{inferred.time.field.path}" is read as {inferred.time.form}, but this sample of one day could also be '
            f"read as {other}: if that is right, set stream.time_format to it"
        )
    elif inferred.counter is not None:
        low, high = inferred.counter.range()
        yield (
            f'"{inferred.counter.path}" counts up, from {low:g} to {high:g}: as stream.time, with stream.time_unit s, it '
            "is read as seconds since some start"
        )


def _joining(sample: SampleRows, day: FieldSeen, clock: FieldSeen) -> str:
    """Return a command that joins the two fields into one, and puts it in front of the others."""
    if sample.format != "csv":
        day_path, clock_path = (".".join(["", *(f'"{name}"' for name in f.path.split("."))]) for f in (day, clock))
        return f"""jq -c '. + {{day_time: ({day_path} + " " + {clock_path})}}' FILE > NEW"""
    first, second = sample.names.index(day.path), sample.names.index(clock.path)
    mark = sample.delimiter.replace("\t", "\\t")
    return (
        f"""python3 -c 'import csv, sys; csv.writer(sys.stdout, delimiter="{mark}").writerows("""
        f"""[r[{first}] + " " + r[{second}], *r] for r in csv.reader(sys.stdin, delimiter="{mark}"))' < FILE > NEW"""
    )


def _streams(inferred: Inferred) -> Iterator[str]:
    if inferred.day_and_clock is None and inferred.together >= SEVERAL:
        yield _shared(inferred)
    elif not inferred.key.fields and inferred.streams == 1:
        may = ", ".join(f'"{field.path}"' for field in inferred.seen.values() if _may_name_a_stream(field, inferred))
        if may:
            yield f"all records are taken for one stream; if one of these names their source, make it stream.key: {may}"


def _payments(inferred: Inferred) -> Iterator[str]:
    if inferred.payments:
        yield (
            "irregular times, and amounts over orders of magnitude: taken for payments, each of which is judged "
            "separately (configs/transactions.yaml says more). If they are readings, remove detection and limits"
        )


def _may_name_a_stream(field: FieldSeen, inferred: Inferred) -> bool:
    """Whether the field holds recurring texts, and is not a category or a time by its name or texts."""
    otherwise = (
        names_class(field.path) or names_label(field.path) or boolean(field) or clock(field) or tells_time(field)
    )
    return field.textual and 2 <= field.distinct <= len(inferred.rows.rows) / REPEATS and not otherwise


def _shared(inferred: Inferred) -> str:
    what = f"{inferred.together:.1f} records of one stream share each time, on average"
    if inferred.tells_apart.fields:
        found = ", ".join(f'"{field.path}"' for field in inferred.tells_apart.fields)
        return f"{what}; stream.key [{found}] would separate them"
    return (
        f"{what}, and no field tells them apart: if they come from several machines, these are taken for one. "
        "Add a field that names the machine, for stream.key, or sample more --records; if only the clock is "
        "coarse, this is harmless"
    )


def _numbers(inferred: Inferred) -> Iterator[str]:
    for path, why in inferred.ignored.items():
        field = inferred.seen.get(path)
        if field is not None and ((field.textual and numbers_in_words(field) == why) or serial_days(field)):
            yield f'"{path}" is left out: {why}'


def _sentinels(inferred: Inferred) -> Iterator[str]:
    by_number: dict[float, list[str]] = defaultdict(list)
    for field in inferred.numeric:
        for number in field.sentinels:
            by_number[number].append(f'"{field.path}"')
    if by_number:
        numbers = "; ".join(f"{shown(number)} in {_named(paths)}" for number, paths in sorted(by_number.items()))
        yield (
            f"far from all other values, and taken for missing (missing_values): {numbers}. If they are readings, "
            "remove that key"
        )


def _counters(inferred: Inferred) -> Iterator[str]:
    rising = [f'"{field.path}"' for field in inferred.numeric if field.rises and not field.counter]
    if rising:
        yield (
            f"never lower than before in its stream: {_named(rising)}. If it is a counter (bytes, hours), its "
            "value says nothing: judge its rate instead, with transform: rate"
        )
    for field in inferred.numeric:
        if field.rises_in:
            yield (
                f'"{field.path}" only rises in {len(field.rises_in)} of {inferred.streams} streams, such as '
                f"{field.rises_in[0]}: counters, whose rate should be judged. If a field names the metric, set shape: "
                "long, stream.metric to that field, and transform: rate for the counters in stream.numeric"
            )


def _lists(inferred: Inferred) -> Iterator[str]:
    if inferred.rows.unnest is None and inferred.rows.format in ("json", "avro", "protobuf"):
        for path, why in inferred.rows.lost:
            if why == OBJECTS:
                yield f'"{path}" is left out: {why}'


def _named(paths: list[str]) -> str:
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return ", ".join(paths[:NAMED]) + more

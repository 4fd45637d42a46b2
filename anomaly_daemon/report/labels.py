"""Reads labels, the time ranges of streams that are known to be anomalous, from CSV, JSON or NAB's windows file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path, PurePosixPath
from typing import Any

from anomaly_daemon.errors import ConfigurationError, unread
from anomaly_daemon.report.episodes import micros
from anomaly_daemon.report.matching import Window
from anomaly_daemon.transport.times import LATEST

EXPECTED = (
    "expected CSV with the columns stream,start,end; JSON [{stream, start, end}]; or NAB's {file: [[start, end]]}"
)

EARLIEST = -62_135_596_800_000_000
"""The beginning of the year 1, the first that ISO 8601 text can express, in epoch microseconds."""


def read_labels(path: Path) -> tuple[Window, ...]:
    """Return the windows of a label file. Raises NoInput when the file does not exist, NotPermitted when this user may
    not read it, and ConfigurationError, naming the fault, when its content is wrong."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise unread(f"labels {path}", error) from error
    try:
        text = content.decode("utf-8-sig")
        table = csv.DictReader(StringIO(text, newline=""))  # splitlines would divide a name at U+2028 and the like
        rows = list(_json_rows(json.loads(text)) if text.lstrip()[:1] in "[{" else table)
        return tuple(_window(row) for row in rows)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, csv.Error) as error:
        raise ConfigurationError(f"labels {path}: {EXPECTED}; found {type(error).__name__}: {error}") from error


def _json_rows(document: Any) -> Iterable[Mapping[str, Any]]:
    if isinstance(document, list):
        return document
    return ({"stream": stream, "start": a, "end": b} for stream, spans in document.items() for a, b in spans)


def _window(row: Mapping[str, Any]) -> Window:
    start, end = _time(row["start"]), _time(row["end"])
    if end < start:
        raise ValueError(f"the window of {row['stream']} ends before it starts")
    return Window(str(row["stream"]), start, end)


def _time(value: Any) -> int:
    """Return epoch microseconds of ISO 8601 text or of epoch seconds. Raises ValueError for what no calendar has."""
    try:
        time = round(float(value) * 1_000_000)
    except ValueError:
        time = micros(str(value))
    if not EARLIEST <= time <= LATEST:
        raise ValueError(f"{value} is not in the years 1 to 9999: times that are numbers are in seconds")
    return time


def for_streams(windows: Sequence[Window], streams: Iterable[str]) -> tuple[tuple[Window, ...], tuple[str, ...]]:
    """Return the windows of the streams that were seen, under the stream's own key, and the labelled names never seen.

    A label may name a stream by its key, or a file whose name, with or without folder and suffix, is the key.
    """
    keys = set(streams)
    matched: list[Window] = []
    unseen: dict[str, None] = {}
    for window in windows:
        key = next((name for name in names_of(window.stream) if name in keys), None)
        if key is None:
            unseen[window.stream] = None
        else:
            matched.append(Window(key, window.start, window.end))
    return tuple(matched), tuple(unseen)


def within(
    windows: Sequence[Window], spans: Mapping[str, Sequence[tuple[int, int]]], tolerance: int
) -> tuple[Window, ...]:
    """Return the windows that an alarm on records can find. `spans` are the times of the recordings in which a stream
    occurs, by stream. Nothing is known of other times."""

    def seen(window: Window) -> bool:
        recorded = spans.get(window.stream, ())
        return any(window.start <= last and window.end + tolerance >= first for first, last in recorded)

    return tuple(filter(seen, windows))


def names_of(label: str) -> tuple[str, ...]:
    """Return the stream keys that a label may mean, the most likely first."""
    path = PurePosixPath(label)
    return label, str(path.with_suffix("")) if path.name else label, path.name, path.stem

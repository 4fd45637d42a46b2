"""Splits lines of a CSV sample into cells, and classifies a cell by its text."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from typing import Any

from anomaly_daemon.transport.columns import number_of_text
from anomaly_daemon.transport.csv_fields import split_line

DELIMITERS = ",;\t|"
LOOKED_AT = 100
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)*([eE][+-]?\d+|%)?")
COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
_EPOCH = re.compile(r"\d{10,}\.\d*")
POINT = "\0"
"""What stands for the point of a text that is no number because of it."""
_TIME = re.compile(r"\d{1,4}[-./:]\d{1,2}([-./:]\d{1,4})?([T ][\d:., +-]*([A-Za-z]{1,3})?)?")


def delimiter_of(lines: Sequence[str]) -> str:
    """Return the delimiter that splits the most lines into as many cells as the first line. If a comma and another one
    do so equally well, it is the other one, as the comma then is a decimal mark."""
    counts = {mark: [line.count(mark) for line in lines[:LOOKED_AT]] for mark in DELIMITERS}
    splits = {mark: sum(n > 0 and n == counts[mark][0] for n in counts[mark]) for mark in DELIMITERS}
    return max(DELIMITERS, key=lambda mark: (splits[mark], splits[mark] > 0 and mark != ","))


def cells_of(line: str, delimiter: str) -> tuple[str, ...]:
    """Return the cells of a line; () if it is not one complete line."""
    try:
        return tuple(cell.strip() for cell in split_line(line, delimiter))
    except csv.Error:
        return ()


def is_measured(cell: str) -> bool:
    """Whether the cell is a number or a time, in nearly any way of writing one, and so not a name."""
    return number_of(cell) is not None or bool(_NUMBER.fullmatch(cell) or _TIME.fullmatch(cell))


def with_points(text: str) -> str | None:
    """Return a cell of a sample with decimal commas as the rest of `init` takes it: a number with a point in the place
    of its comma. The daemon reads none that has a point itself. Its point is replaced by `POINT`, so that it is text here,
    too. Epoch times are read with either mark (see `times`)."""
    if COMMA.fullmatch(text):
        return text.replace(",", ".")
    if "." in text and number_of(text) is not None and not _EPOCH.fullmatch(text):
        return text.replace(".", POINT)
    return text


def as_written(text: str) -> str:
    """Return the text with the points that `with_points` has replaced."""
    return text.replace(POINT, ".")


def number_of(value: Any) -> float | None:
    """Return the number that a field holds (a JSON number, or a CSV text that reads as one), or None."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        return number_of_text(value) if isinstance(value, str) else float(value)
    except (ValueError, TypeError, OverflowError):
        return None

"""Finds the line of column names in a CSV sample. It is distinguished from records by the lines below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from anomaly_daemon.transport.sample_cells import LOOKED_AT, cells_of, delimiter_of, is_measured

Cells = tuple[str, ...]
_ABOVE = 10
"""The line of names is searched for in so many lines at the beginning, as titles may be above it."""
_MOST = 0.8


class Header(NamedTuple):
    """`line` is the index of the line of names, `names` its cells; None if no line names the columns."""

    delimiter: str
    line: int
    names: Cells | None


def header_of(lines: Sequence[str]) -> Header:
    """Return the first line that consists of names only and is above records. If there is none, return the first line
    of all, provided that it holds names, of which some may be missing."""
    lines = lines[:LOOKED_AT]
    for place in range(min(_ABOVE, len(lines))):
        delimiter, cells = _split(lines[place:])
        if _all_names(cells[0]) and _above_records(cells):
            return Header(delimiter, place, cells[0])
        if any(map(is_measured, cells[0])) and _fitting(cells):
            break
    delimiter, cells = _split(lines)
    named = bool(cells) and (_all_names(cells[0]) or (not any(map(is_measured, cells[0])) and _above_records(cells)))
    return Header(delimiter, 0, cells[0] if named else None)


def _split(lines: Sequence[str]) -> tuple[str, list[Cells]]:
    delimiter = delimiter_of(lines)
    return delimiter, [cells_of(line, delimiter) for line in lines]


def _all_names(cells: Cells) -> bool:
    """Whether no cell is empty, a number or a time, or occurs twice."""
    return bool(cells) and len(set(cells)) == len(cells) and all(cell and not is_measured(cell) for cell in cells)


def _fitting(cells: Sequence[Cells]) -> list[Cells]:
    """Return the lines below the first that have as many cells as it; [] if fewer than half of them do."""
    below = [row for row in cells[1:] if len(row) == len(cells[0])]
    return below if below and len(below) >= len(cells[1:]) / 2 else []


def _above_records(cells: Sequence[Cells]) -> bool:
    """Whether the first line has text above a column of numbers or times."""
    below = _fitting(cells)
    for place, name in enumerate(cells[0]):
        held = [row[place] for row in below if row[place]]
        if name and held and sum(map(is_measured, held)) >= _MOST * len(held):
            return True
    return False

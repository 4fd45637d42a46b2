"""Where the line of column names stands in a CSV sample: it is told from records by what stands below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from anomaly_daemon.transport.sample_cells import LOOKED_AT, cells_of, delimiter_of, is_measured

Cells = tuple[str, ...]
_ABOVE = 10
"""No more lines of a title are looked for."""
_MOST = 0.8


class Header(NamedTuple):
    """`line` is the place of the line of names, `names` what stands there; None where no line names the columns."""

    delimiter: str
    line: int
    names: Cells | None


def header_of(lines: Sequence[str]) -> Header:
    """The first line that is wholly names above records; else the first of all, where it is names, be it with gaps."""
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
    """No cell is empty, a number, a time, or there twice."""
    return bool(cells) and len(set(cells)) == len(cells) and all(cell and not is_measured(cell) for cell in cells)


def _fitting(cells: Sequence[Cells]) -> list[Cells]:
    """The lines below the first, where most are as wide as it."""
    below = [row for row in cells[1:] if len(row) == len(cells[0])]
    return below if below and len(below) >= len(cells[1:]) / 2 else []


def _above_records(cells: Sequence[Cells]) -> bool:
    """Whether there is text above a column of numbers or times."""
    below = _fitting(cells)
    for place, name in enumerate(cells[0]):
        held = [row[place] for row in below if row[place]]
        if name and held and sum(map(is_measured, held)) >= _MOST * len(held):
            return True
    return False

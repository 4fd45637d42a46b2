"""Rows that another release stored, laid out as this one has them: column by column, by name.

What a stream has shown is dear: its days take days to learn. So a stored row says which columns it has, and a release that
keeps more of a stream, or less, takes over what both know. A column that is new is blank, as in a new stream. An estimate
stands in several columns, how much it rests on among them, and half of one is worse than none: where one of them is not
there, or has another shape, all of them begin anew. A column of another meaning must have another name.

Shapes: B rows, P and Q the widths of the two arrays.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from math import prod

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection.state import Column, Place, Rows, StateLayout
from anomaly_daemon.errors import Incompatible

Table = Mapping[str, Mapping[str, Sequence[int]]]
"""Of each of the two arrays, the shape of each of its columns by name, in their order."""
BLOCKS = {"carried": True, "statistics": False}

ESTIMATES = (
    "norm",
    "season",
    "error",
    "step",
    "level",
    "beginning",
    "cal",
    "gap",
    "run",
    "magnitude",
    "absent",
    "label",
    "relation",
    "joint",
    "quiet",
    "autoregression",
    "shape",
    "burst",
)
"""Columns whose names begin so are one estimate."""
RECENT = "window"
"""Columns whose names begin so hold recent events, the newest first."""
BY_KIND = ("cal", "recurring")
"""Estimates by kinds of evidence. Of those that both releases know what is known stays: of all before the first new one."""
KINDS_SINCE = {"quiet_usual": 6, "shape_usual": 8, "burst_usual": 9}
"""A column that came with new kinds, and which was the first."""
NAMED_BEFORE = dict.fromkeys(("cal_reached", "cal_edges_reached", "cal_bins_reached"), "cal_levels_reached")
"""Columns by the names that they had: they were changed so that a release of before, which has other kinds in their place,
does not take these for its own."""
FIELDS = ("last_values", "last_codes")
"""Columns that say of how many fields a row is: no release decides that."""
RESTS_ON = {"recurring": "cal"}
"""Those of the first mean nothing without those of the second."""


def table(layout: StateLayout) -> dict[str, dict[str, list[int]]]:
    """What is stored beside rows of this layout."""
    return {
        name: {column: list(place.shape) for column, place in layout.block(carried).items()}
        for name, carried in BLOCKS.items()
    }


def digest(layout: StateLayout) -> str:
    """Of that table, in its order: whether two layouts mean the same by a row."""
    return hashlib.sha256(json.dumps(table(layout)).encode()).hexdigest()[:16]


def taken_in(
    arrays: Mapping[str, npt.NDArray[np.generic]], rows: int, stored: Table, layout: StateLayout
) -> tuple[Rows, tuple[str, ...]]:
    """So many stored rows, laid out so, and the columns that begin anew. `stored`: their table; rows of releases that
    stored none have to be of this layout. Raises Incompatible where the arrays do not have the columns told of, or are of
    other fields."""
    same = not stored or _in_order(stored) == _in_order(layout.of(table))
    found = _rows(arrays, rows, layout if same else _layout(arrays, stored))
    if same:
        return found, ()
    there = found.layout.places
    if any(name in there and there[name].shape != layout.places[name].shape for name in FIELDS):
        raise Incompatible("a snapshot's rows do not have the columns of this schema: they are of other fields")
    left = begun_anew(found.layout, layout)
    return moved(found, layout, left), left


def _in_order(table: Table) -> list[list[tuple[str, Sequence[int]]]]:
    return [list(table.get(block, {}).items()) for block in BLOCKS]


def _rows(arrays: Mapping[str, npt.NDArray[np.generic]], rows: int, layout: StateLayout) -> Rows:
    for name, blank in (("carried", layout.carried_blank), ("statistics", layout.statistics_blank)):
        if name not in arrays or arrays[name].shape != (rows, len(blank)):
            raise Incompatible(
                f"a snapshot's {name} rows do not have the {len(blank)} columns of this model and schema"
            )
    return Rows(layout, arrays["carried"].astype(np.float32), arrays["statistics"].astype(np.float64))


def _layout(arrays: Mapping[str, npt.NDArray[np.generic]], stored: Table) -> StateLayout:
    """Of a table that was read: nothing is made of sizes that the arrays do not bear out."""
    for name, shapes in stored.items():
        width, there = sum(map(prod, shapes.values())), arrays.get(name)
        if name not in BLOCKS or there is None or there.ndim != 2 or there.shape[1] != width:
            raise Incompatible(f"a snapshot's {name} rows do not have the {width} columns that it names")
    carried, statistics = (
        [Column(NAMED_BEFORE.get(name, name), tuple(shape)) for name, shape in stored.get(block, {}).items()]
        for block in BLOCKS
    )
    return StateLayout(carried, statistics)


def begun_anew(former: StateLayout, layout: StateLayout) -> tuple[str, ...]:
    """The columns of `layout` that rows laid out as `former` say nothing of."""
    missing = {name for name, place in layout.places.items() if not _told(name, former.places.get(name), place)}
    halves = {_estimate(name) for name in missing} & set(ESTIMATES)
    halves |= {name for name, other in RESTS_ON.items() if other in halves}
    return tuple(name for name in layout.places if name in missing or _estimate(name) in halves)


def moved(rows: Rows, layout: StateLayout, left: Collection[str]) -> Rows:
    """Blank rows of the layout with every column that both have, but those left behind. Of recent events, or of kinds of
    evidence, in another number, as many as both have."""
    laid = layout.blank(len(rows))
    for name, place in layout.places.items():
        there = rows.layout.places.get(name)
        if name in left or there is None or not _told(name, there, place):
            continue
        both = slice(None), *_both(name, rows.layout, place)
        laid[name][both] = rows[name][both]
    return laid


def _both(name: str, former: StateLayout, place: Place) -> tuple[slice, ...]:
    """Which of its recent events or kinds of evidence both know; all of any other column."""
    if not place.shape:
        return ()
    kept = min(former.places[name].shape[0], place.shape[0])
    if _estimate(name) in BY_KIND:
        kept = min([kept, *(first for since, first in KINDS_SINCE.items() if since not in former.places)])
    return (slice(kept),)


def _told(name: str, there: Place | None, place: Place) -> bool:
    """Whether a column that stands `there` tells of one that stands so: of the same shape, or of some of its recent events
    or kinds of evidence."""
    if there is None or there.carried != place.carried:
        return False
    some = (name.startswith(RECENT) or _estimate(name) in BY_KIND) and len(there.shape) == len(place.shape) > 0
    return there.shape == place.shape or (some and there.shape[1:] == place.shape[1:])


def _estimate(name: str) -> str:
    return name.partition("_")[0]

"""Converts rows that another release stored to the layout of this release, column by column, by name.

What a stream has shown is costly to replace: its days take days to learn. Each stored row therefore comes with the
names of its columns, and a release that keeps more of a stream, or less, takes over the columns that both releases
have. A new column is blank, as in a new stream. An estimate consists of several columns, among them the number of
values it is based on, and half an estimate is worse than none. If one of its columns is not stored, or has another
shape, all of them are reset. A column with another meaning must have another name.

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
"""For each of the two arrays, the shape of each of its columns by name, in order."""
BLOCKS = {"carried": True, "statistics": False}

ESTIMATES = (
    "norm",
    "season",
    "week",
    "rhythm",
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
"""Columns with the same one of these names before the first underscore form one estimate."""
RECENT = "window"
"""Columns whose names begin with this hold recent events, the newest first."""
BY_KIND = ("cal", "recurring")
"""Estimates with an entry for each kind of evidence. Entries of kinds that both releases have are kept, as far as they
come before the first kind that is new."""
KINDS_SINCE = {"quiet_usual": 6, "shape_usual": 8, "burst_usual": 9}
"""Columns that came with new kinds of evidence, and the number of the first of those kinds."""
NAMED_BEFORE = dict.fromkeys(("cal_reached", "cal_edges_reached", "cal_bins_reached"), "cal_levels_reached")
"""Columns by their former names. They were renamed so that an earlier release, which has other kinds of evidence at
these places, does not take them for its own."""
FIELDS = ("last_values", "last_codes")
"""Columns whose shapes give the number of fields in a row, which does not depend on the release."""
RESTS_ON = {"recurring": "cal"}
"""Estimates (keys) that mean nothing without another estimate (values), and are reset with it."""


def table(layout: StateLayout) -> dict[str, dict[str, list[int]]]:
    """Return the table of this layout, which is stored beside its rows."""
    return {
        name: {column: list(place.shape) for column, place in layout.block(carried).items()}
        for name, carried in BLOCKS.items()
    }


def digest(layout: StateLayout) -> str:
    """Return a digest of that table, in its order: it tells whether two layouts give a row the same meaning."""
    return hashlib.sha256(json.dumps(table(layout)).encode()).hexdigest()[:16]


def converted(
    arrays: Mapping[str, npt.NDArray[np.generic]], rows: int, stored: Table, layout: StateLayout
) -> tuple[Rows, tuple[str, ...]]:
    """Return this many stored rows in this layout, and the columns that are reset. `stored` is the table of the stored
    rows; rows of releases that stored no table must be of this layout. Raises Incompatible if the arrays do not have
    the columns that the table names, or belong to other fields."""
    same = not stored or _in_order(stored) == _in_order(layout.of(table))
    found = _rows(arrays, rows, layout if same else _layout(arrays, stored))
    if same:
        return found, ()
    there = found.layout.places
    if any(name in there and there[name].shape != layout.places[name].shape for name in FIELDS):
        raise Incompatible(
            "a snapshot's rows do not have the columns of this schema: they were stored for other fields"
        )
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
    """Return the layout of a table that was read. Raises Incompatible if the arrays do not confirm its sizes, before
    anything is allocated from them."""
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
    """Return the columns of `layout` to which rows of layout `former` contribute nothing."""
    missing = {name for name, place in layout.places.items() if not _fills(name, former.places.get(name), place)}
    halves = {_estimate(name) for name in missing} & set(ESTIMATES)
    halves |= {name for name, other in RESTS_ON.items() if other in halves}
    return tuple(name for name in layout.places if name in missing or _estimate(name) in halves)


def moved(rows: Rows, layout: StateLayout, left: Collection[str]) -> Rows:
    """Return rows of this layout with the values of every column that both layouts have, except those in `left`, which
    stay blank. Where the number of recent events or of kinds of evidence differs, as many are taken as both have."""
    laid = layout.blank(len(rows))
    for name, place in layout.places.items():
        there = rows.layout.places.get(name)
        if name in left or there is None or not _fills(name, there, place):
            continue
        both = slice(None), *_both(name, rows.layout, place)
        laid[name][both] = rows[name][both]
    return laid


def _both(name: str, former: StateLayout, place: Place) -> tuple[slice, ...]:
    """Return which recent events or kinds of evidence of a column both layouts have; for any other column, all."""
    if not place.shape:
        return ()
    kept = min(former.places[name].shape[0], place.shape[0])
    if _estimate(name) in BY_KIND:
        kept = min([kept, *(first for since, first in KINDS_SINCE.items() if since not in former.places)])
    return (slice(kept),)


def _fills(name: str, there: Place | None, place: Place) -> bool:
    """Return whether the column at `there` can fill the column at `place`: it has the same shape, or holds a different
    number of recent events or of kinds of evidence."""
    if there is None or there.carried != place.carried:
        return False
    some = (name.startswith(RECENT) or _estimate(name) in BY_KIND) and len(there.shape) == len(place.shape) > 0
    return there.shape == place.shape or (some and there.shape[1:] == place.shape[1:])


def _estimate(name: str) -> str:
    return name.partition("_")[0]

"""The slab: everything that is stored for the streams of one input partition, as rows of two contiguous arrays (law
L3).

`carried` (float32) holds the network's hidden and cell state, the recent window, and the larger statistics: profiles,
shapes, covariances and distributions. `statistics` (float64) holds everything else; times in microseconds and offsets
stay exact in it up to 2**53. A step gathers the rows it needs into `Rows`, changes them through named views, and
scatters them back.

Shapes: S rows in the slab, B rows gathered, P and Q the widths of the two arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import repeat
from math import prod
from typing import Any, TypeVar
from zlib import crc32

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection.blocks import fall_due, longer, put
from anomaly_daemon.detection.observation import Float64, Int64

Array = npt.NDArray[np.floating]
T = TypeVar("T")

TOGETHER = 512
"""Rows copied to another layout at once: few enough to stay in the processor's cache."""
GROWTH_ROWS = 2**14
"""The slab doubles up to this many rows, and then grows by this many each time."""


@dataclass(frozen=True, slots=True)
class Column:
    """A named piece of a row: its shape, and its initial value, for a row that has seen nothing."""

    name: str
    shape: tuple[int, ...] = ()
    initial: float = 0.0


@dataclass(frozen=True, slots=True)
class Place:
    carried: bool
    start: int
    stop: int
    shape: tuple[int, ...]


class StateLayout:
    """The place of each column in the two arrays."""

    def __init__(self, carried: Sequence[Column], statistics: Sequence[Column]) -> None:
        self.places: dict[str, Place] = {}
        self._asked: dict[Any, Any] = {}
        self.carried_blank = self._lay(carried, True).astype(np.float32)
        self.statistics_blank = self._lay(statistics, False)

    def blank(self, rows: int) -> Rows:
        """Return rows that have seen nothing."""
        return Rows(self, np.tile(self.carried_blank, (rows, 1)), np.tile(self.statistics_blank, (rows, 1)))

    def start(self, name: str) -> int:
        """Return the place of a column's first number within its array."""
        return self.places[name].start

    def of(self, at: Callable[[StateLayout], T]) -> T:
        """Return the result of `at` for this layout. It is computed once and then stored."""
        if at not in self._asked:
            self._asked[at] = at(self)
        return self._asked[at]  # type: ignore[no-any-return]

    def block(self, carried: bool) -> dict[str, Place]:
        """Return the columns of one of the two arrays."""
        return {name: place for name, place in self.places.items() if place.carried == carried}

    def kept(self, former: StateLayout, carried: bool, left: Collection[str]) -> Iterator[tuple[slice, slice | None]]:
        """Yield where each column of one of the two arrays is, and where `former` has it, or None where `former` has no
        column of this shape, or it is in `left`. Of recent events whose number differs, as many are kept as both have.
        """
        for name, place in self.places.items():
            there = former.places.get(name)
            if place.carried != carried or place.start == place.stop:
                continue
            if name in left or there is None or there.carried != carried:
                yield slice(place.start, place.stop), None
            elif there.shape == place.shape or name.startswith("window"):
                width = min(place.stop - place.start, there.stop - there.start)
                yield slice(place.start, place.start + width), slice(there.start, there.start + width)
                yield slice(place.start + width, place.stop), None
            else:
                yield slice(place.start, place.stop), None

    def _lay(self, columns: Sequence[Column], carried: bool) -> Float64:
        blank: list[float] = []
        for column in columns:
            start = len(blank)
            blank += [column.initial] * prod(column.shape)
            self.places[column.name] = Place(carried, start, len(blank), column.shape)
        return np.asarray(blank, np.float64)


class Rows:
    """Some rows, and named views into them; writing to a view changes the rows."""

    def __init__(self, layout: StateLayout, carried_BP: npt.NDArray[np.float32], statistics_BQ: Float64) -> None:
        self.layout = layout
        self.carried_BP = carried_BP
        self.statistics_BQ = statistics_BQ

    def __len__(self) -> int:
        return len(self.statistics_BQ)

    def __getitem__(self, name: str) -> npt.NDArray[np.float64]:
        """Return the column as [B, *shape], a view. (float32 for the carried columns; use `carried` for that type.)"""
        place = self.layout.places[name]
        block: Array = self.carried_BP if place.carried else self.statistics_BQ
        if not place.shape:
            return block[:, place.start]  # type: ignore[return-value]
        columns = block[:, place.start : place.stop]
        return columns if len(place.shape) == 1 else columns.reshape(len(block), *place.shape)  # type: ignore[return-value]

    def __setitem__(self, name: str, value: npt.ArrayLike) -> None:
        self[name][...] = value

    def carried(self, name: str) -> npt.NDArray[np.float32]:
        """Return a carried column as [B, *shape]."""
        place = self.layout.places[name]
        return self.carried_BP[:, place.start : place.stop].reshape(len(self.carried_BP), *place.shape)

    def take(self, which: npt.NDArray[np.bool_] | Int64) -> Rows:
        """Return a copy of some of these rows."""
        return Rows(self.layout, self.carried_BP[which], self.statistics_BQ[which])

    def part(self, which: slice) -> Rows:
        """Return some of these rows, as views: writing to them writes here."""
        return Rows(self.layout, self.carried_BP[which], self.statistics_BQ[which])

    def reset(self, which_B: npt.NDArray[np.bool_]) -> None:
        """Make these rows blank."""
        self.carried_BP[which_B] = self.layout.carried_blank
        self.statistics_BQ[which_B] = self.layout.statistics_blank


class Slab:
    """The row of every stream, found by its key. The slab grows as streams appear; a dropped row is used again."""

    def __init__(
        self,
        layout: StateLayout,
        capacity: int = 64,
        buckets: int = 64,
        deadlines: Sequence[str] = (),
        most: int = 0,
    ) -> None:
        """`deadlines`: the columns that hold times at which something falls due. `most`: the most streams there will
        be, if known."""
        self.layout, self.buckets, self._deadlines = layout, buckets, tuple(deadlines)
        self._due_at, self._most = (
            np.array([layout.start(name) for name in self._deadlines], np.int64),
            most + GROWTH_ROWS,
        )
        blank = layout.blank(capacity)
        self.carried_SP, self.statistics_SQ = blank.carried_BP.copy(), blank.statistics_BQ.copy()
        self.due_S = np.full(capacity, np.inf)
        """The earliest deadline of each row, in one array, so that a check of all rows does not read the whole slab."""
        self._earliest = np.inf
        """A lower bound on all deadlines."""
        self.hash_S = np.zeros(capacity, np.uint32)
        """CRC-32 of each row's key, which decides its snapshot bucket."""
        self.stale_S = np.zeros(capacity, bool)
        """Rows whose network state is not valid: it has to be rebuilt before anything reads it."""
        self.used_S = np.zeros(capacity, bool)
        """Rows that belong to a stream; the others are blank."""
        self.population_K = np.zeros(buckets, np.int64)
        """Number of streams in each of the K snapshot buckets."""
        self.row_of: dict[str, int] = {}
        self.key_of: dict[int, str] = {}
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self.row_of)

    def known(self, keys: Collection[str]) -> Int64:
        """Return the row of each key, -1 for a key that has no row."""
        return np.fromiter(map(self.row_of.get, keys, repeat(-1)), np.int64, len(keys))

    def rows(self, keys: Iterable[str]) -> Int64:
        """Return the row of each key; a key without a row gets a blank one."""
        return np.fromiter((self._row(key) for key in keys), np.int64)

    def under(self, layout: StateLayout, left: Collection[str] = (), *, take: bool = False) -> Slab:
        """Return the same streams in the same rows, in another layout. A column keeps its values where both layouts
        have it, and is blank where it is in `left`. `take`: this slab must not be used afterwards, so that an array
        whose layout is unchanged need not be copied."""
        laid = copy(self)
        laid.layout = layout
        laid._due_at = np.array([layout.start(name) for name in self._deadlines], np.int64)
        laid.carried_SP = self._relaid(self.carried_SP, layout, layout.carried_blank, left, take)
        laid.statistics_SQ = self._relaid(self.statistics_SQ, layout, layout.statistics_blank, left, take)
        if not take:
            for name in ("due_S", "hash_S", "stale_S", "used_S", "population_K", "row_of", "key_of", "_free"):
                setattr(laid, name, copy(getattr(self, name)))
        return laid

    def _relaid(self, block: Any, layout: StateLayout, blank: Any, left: Collection[str], take: bool) -> Any:
        former, carried = self.layout, blank is layout.carried_blank
        moves = list(layout.kept(former, carried, left))
        here = take and former.block(carried) == layout.block(carried)
        laid = block if here else np.zeros((len(block), len(blank)), blank.dtype)
        moves = [(to, of) for to, of in moves if (not here if of else here or blank[to].any())]
        for start in range(0, len(block), TOGETHER):
            some = slice(start, start + TOGETHER)
            for to, of in moves:
                laid[some, to] = blank[to] if of is None else block[some, of]
        return laid

    def live(self) -> Int64:
        """Return the rows in use, in no particular order."""
        return np.fromiter(self.key_of, np.int64, len(self.key_of))

    def in_bucket(self, bucket: int, buckets: int) -> Int64:
        """Return the rows of `bucket`, one of `buckets` snapshot buckets."""
        return np.flatnonzero(self.used_S & (self.hash_S % buckets == bucket))

    def column(self, name: str) -> Float64:
        """Return a statistics column of every row, [S, *shape], a view; rows not in use are blank."""
        place = self.layout.places[name]
        return self.statistics_SQ[:, place.start : place.stop].reshape(len(self.statistics_SQ), *place.shape)

    def _row(self, key: str) -> int:
        row = self.row_of.get(key)
        if row is None:
            row = self._free.pop() if self._free else len(self.row_of)
            if row >= len(self.statistics_SQ):
                self._grow()
            self.row_of[key], self.key_of[row] = row, key
            self.hash_S[row], self.used_S[row] = key_hash(key), True
            self.population_K[self.hash_S[row] % self.buckets] += 1
        return row

    def _grow(self) -> None:
        rows, more = len(self.statistics_SQ), min(len(self.statistics_SQ), GROWTH_ROWS)
        self.carried_SP = longer(self.carried_SP, rows + more, self._most)
        self.statistics_SQ = longer(self.statistics_SQ, rows + more, self._most)
        self.carried_SP[rows:], self.statistics_SQ[rows:] = self.layout.carried_blank, self.layout.statistics_blank
        self.due_S = np.concatenate([self.due_S, np.full(more, np.inf)])
        self.hash_S = np.concatenate([self.hash_S, np.zeros(more, np.uint32)])
        self.used_S = np.concatenate([self.used_S, np.zeros(more, bool)])
        self.stale_S = np.concatenate([self.stale_S, np.zeros(more, bool)])

    def gather(self, rows_B: Int64) -> Rows:
        """Return a copy of these rows."""
        return Rows(self.layout, self.carried_SP.take(rows_B, axis=0), self.statistics_SQ.take(rows_B, axis=0))

    def scatter(self, rows_B: Int64, rows: Rows) -> None:
        """Write gathered rows back."""
        put(self.carried_SP, rows_B, rows.carried_BP)
        put(self.statistics_SQ, rows_B, rows.statistics_BQ)
        self._earliest = min(self._earliest, fall_due(self.due_S, rows_B, rows.statistics_BQ, self._due_at))

    def due(self, time: float) -> Int64:
        """Return the rows that have a deadline at this time or before it."""
        if time < self._earliest:
            return np.zeros(0, np.int64)
        self._earliest = self.due_S.min()  # rows whose deadline moved since have left it too early
        return np.flatnonzero(self.due_S <= time)

    def drop(self, rows_B: Int64) -> None:
        """Forget these rows' streams."""
        for row in rows_B.tolist():
            del self.row_of[self.key_of.pop(row)]
            self._free.append(row)
        self.used_S[rows_B] = self.stale_S[rows_B] = False
        np.subtract.at(self.population_K, self.hash_S[rows_B] % self.buckets, 1)
        self.carried_SP[rows_B] = self.layout.carried_blank
        self.statistics_SQ[rows_B] = self.layout.statistics_blank
        self.due_S[rows_B] = np.inf


def key_hash(key: str) -> int:
    """Return the CRC-32 of a stream key."""
    return crc32(key.encode("utf-8", "surrogatepass"))


def bucket_of(key: str, buckets: int) -> int:
    """Return the snapshot bucket of a stream."""
    return key_hash(key) % buckets

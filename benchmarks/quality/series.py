"""Labelled series, read from their folders, in the order in which they were recorded.

Shapes: N events, D fields.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_daemon.report.episodes import micros

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Span = tuple[int, int]
"""The first and the last event of a span, both included."""

WINDOWS = Path("labels", "combined_windows.json")
"""The file by which a folder in NAB's own layout is recognised; every other set is a folder of npz files."""

FIRST = ("nab", "kpi", "skab", "asd", "smd", "smap", "mgab")
"""The order of the sets that the documentation describes; others follow by name."""

NEEDED = ("X", "y", "ts", "start")
DAY = 86_400.0

PROBATION_SHARE, PROBATION_LENGTH = 0.15, 5000
"""NAB's probationary period: a detector may learn from the first 15% of a file, but of no more than its first 5,000
rows."""


@dataclass(frozen=True, slots=True)
class Series:
    """One stream. The events before `start` may be learned from, and are not scored."""

    name: str
    values_ND: Float64
    """NaN where a value is missing."""
    time_N: Int64
    """Epoch microseconds, not decreasing."""
    label_N: Bool
    start: int

    def __len__(self) -> int:
        return len(self.time_N)

    @property
    def interval(self) -> float:
        """The median time between two events in seconds, or 1 if there are fewer than two."""
        return float(np.median(np.diff(self.time_N))) / 1e6 if len(self) > 1 else 1.0

    @property
    def seconds_N(self) -> Float64:
        """The time from each event to the next in seconds; after the last event, one interval."""
        return np.append(np.diff(self.time_N) / 1e6, self.interval)

    @property
    def seconds(self) -> float:
        """The time from the first event to the last in seconds, at least one interval."""
        return max(float(self.time_N[-1] - self.time_N[0]) / 1e6, self.interval)

    def until(self, events: int | None) -> Series:
        """Return a series of the first `events` events, or of all if it is None."""
        cut = slice(events)
        time_N = self.time_N[cut]
        return Series(self.name, self.values_ND[cut], time_N, self.label_N[cut], min(self.start, len(time_N)))


def budget_of(series: Sequence[Series]) -> float:
    """Return the alarms allowed per stream and day: one, or one a recording where most recordings are shorter than a
    day (skab: 72)."""
    return float(round(max(1.0, DAY / float(np.median([one.seconds for one in series])))))


def spans(label_N: Bool) -> list[Span]:
    """Return the first and the last event of each run of labelled events."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], label_N, [False]]).astype(np.int8)))
    return [(int(first), int(stop) - 1) for first, stop in edges.reshape(-1, 2)]


def probation(events: int) -> int:
    """Return the number of rows at the start of a NAB file that do not count."""
    return int(PROBATION_SHARE * min(events, PROBATION_LENGTH))


def sets_in(data: Path) -> tuple[str, ...]:
    """Return the names of the sets of series in a folder. They are recognised by their files, not by their names."""
    there = [folder.name for folder in sorted(data.iterdir()) if _is_nab(folder) or _npz_files(folder)]
    return (*(name for name in FIRST if name in there), *(name for name in there if name not in FIRST))


def protocol_of(name: str, data: Path) -> str | None:
    """Return the name of the set's own scoring protocol, `nab` or `skab`, or None if it has none."""
    return "nab" if _is_nab(data / name) else "skab" if name.startswith("skab") else None


def read_set(name: str, data: Path, limit: int | None = None) -> list[Series]:
    """Return the series of a set in the folder `data`, each cut to its first `limit` events.

    Raises FileNotFoundError if the set is not there, and ValueError, which names the file, if one is not as it should
    be.
    """
    folder = data / name
    found = _read_nab(folder) if _is_nab(folder) else [_read_npz(path) for path in _npz_files(folder)]
    if not found:
        raise FileNotFoundError(f"{folder} has no series")
    return [series.until(limit) for series in found]


def _is_nab(folder: Path) -> bool:
    return (folder / WINDOWS).is_file()


def _npz_files(folder: Path) -> list[Path]:
    """Return the npz files in a folder that hold a labelled series each."""
    return [path for path in sorted(folder.glob("*.npz")) if "X" in _columns(path, ())]


def _columns(path: Path, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of these names that the file has; without names, all names with empty arrays."""
    try:
        with path.open("rb") as opened, np.load(opened) as file:
            return {name: file[name] for name in names} if names else dict.fromkeys(file.files, np.empty(0))
    except Exception as error:  # numpy, zipfile and zlib raise exceptions of many types for bytes that are not an npz
        raise ValueError(f"{path} cannot be read: {error}") from error


def _read_npz(path: Path) -> Series:
    if missing := [name for name in NEEDED if name not in _columns(path, ())]:
        raise ValueError(f"{path} has no {', '.join(missing)}: a series needs {', '.join(NEEDED)}")
    file = _columns(path, NEEDED)
    if odd := [name for name in NEEDED if file[name].dtype.kind not in "biuf"]:
        raise ValueError(f"{path}: {odd[0]} holds no numbers but {file[odd[0]].dtype}")
    values, label_N, seconds_N, start = (np.asarray(file[name], np.float64) for name in NEEDED)
    events = seconds_N.size
    if (
        not events
        or values.shape[:1] != (events,)
        or not (label_N.size == events and seconds_N.ndim == start.size == 1)
    ):
        shapes = f"X {values.shape}, y {label_N.shape}, ts {seconds_N.shape}, start {start.shape}"
        raise ValueError(
            f"{path}: X needs a row, and y and ts a number, for each event, and start one number: {shapes}"
        )
    if not (np.isfinite(seconds_N).all() and np.isfinite(label_N).all() and 0 <= start.item() <= events):
        raise ValueError(f"{path}: ts and y must be known for each event, and start is 0 to {events}")
    time_N = np.round(seconds_N * 1e6).astype(np.int64)
    order = np.argsort(time_N, kind="stable")
    known_ND = np.where(np.isfinite(values), values, np.nan).reshape(events, -1)[order]
    return Series(path.stem, known_ND, time_N[order], label_N.reshape(-1).astype(bool)[order], int(start.item()))


def _read_nab(folder: Path) -> list[Series]:
    windows = json.loads((folder / WINDOWS).read_text(encoding="utf-8"))
    found = [name for name in sorted(windows) if (folder / "data" / name).exists()]
    return [_read_nab_file(folder / "data" / name, name, windows[name]) for name in found]


def _read_nab_file(path: Path, name: str, windows: Sequence[Sequence[str]]) -> Series:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in list(csv.reader(file))[1:] if row]
        time_N = np.array([micros(row[0]) for row in rows], np.int64)
        value_N = np.array([float(row[1]) for row in rows])
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path}: each line needs a time and a number: {error}") from error
    label_N = np.zeros(len(rows), bool)
    for first, last in windows:
        label_N |= (time_N >= micros(first)) & (time_N <= micros(last))
    order = np.argsort(time_N, kind="stable")
    known_N = np.where(np.isfinite(value_N), value_N, np.nan)
    return Series(name, known_N[order, None], time_N[order], label_N[order], probation(len(rows)))


def read_published(folder: Path, series: Sequence[Series]) -> list[Float64]:
    """Return the scores that a detector's authors published for these NAB files."""
    return [np.loadtxt(folder / one.name, delimiter=",", skiprows=1, usecols=1) for one in series]

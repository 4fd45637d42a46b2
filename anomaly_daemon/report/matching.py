"""Event-wise quality: which labelled windows were found, how late, and which alarms were false. Pure.

A window is found when an episode of its stream *opened* between its start and its end plus a tolerance. An episode that
opened before the window cannot have been caused by it, even if it is still open. It does not find the window, and
counts as a false alarm. Further episodes inside a window are neither hits nor false alarms. The same holds for those in
a window's aftermath, which the end of a fault may cause: a value that jumps back shows that something was wrong, but
too late to help.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Generic, Protocol, TypeVar

from anomaly_daemon.report.episodes import Seen


class Labelled(Protocol):
    """A time range of a stream that is known to be anomalous, in epoch microseconds; both ends are included."""

    @property
    def stream(self) -> str: ...

    @property
    def start(self) -> int: ...

    @property
    def end(self) -> int: ...


W = TypeVar("W", bound=Labelled)


@dataclass(frozen=True, slots=True)
class Window:
    """A label: a stream and the time range that is anomalous, in epoch microseconds."""

    stream: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Hit(Generic[W]):
    """A window and the first episode that opened in it; None when the window was missed."""

    window: W
    episode: Seen | None

    @property
    def delay(self) -> int | None:
        """Microseconds from the window's start to the alarm."""
        return None if self.episode is None else self.episode.opened - self.window.start


@dataclass(frozen=True, slots=True)
class Matched(Generic[W]):
    """The windows with the episodes that found them, and the episodes in no window."""

    hits: tuple[Hit[W], ...]
    false_alarms: tuple[Seen, ...]

    aftermath: tuple[Seen, ...] = ()
    """Episodes that opened soon after a window, which its end may have caused: neither hits nor false alarms."""

    @property
    def found(self) -> int:
        return sum(hit.episode is not None for hit in self.hits)

    @property
    def recall(self) -> float | None:
        """Share of the windows that were found; None without windows."""
        return self.found / len(self.hits) if self.hits else None

    @property
    def precision(self) -> float | None:
        """Windows found, as a share of windows found plus false alarms; None when there were neither."""
        raised = self.found + len(self.false_alarms)
        return self.found / raised if raised else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall; None without windows."""
        wrong = len(self.hits) - self.found + len(self.false_alarms)
        return 2 * self.found / (2 * self.found + wrong) if self.hits else None

    @property
    def median_delay(self) -> float | None:
        """Median delay in microseconds; None when nothing was found."""
        delays = [hit.delay for hit in self.hits if hit.delay is not None]
        return median(delays) if delays else None


def match(windows: Sequence[W], episodes: Iterable[Seen], tolerance: int = 0, aftermath: int = 0) -> Matched[W]:
    """Match episodes to windows.

    `tolerance`: microseconds after a window's end that still count as inside. `aftermath`: microseconds after that in
    which an episode is not a false alarm.
    """
    by_opening = sorted(episodes, key=lambda episode: episode.opened)
    of_stream, windows_of = defaultdict[str, list[Seen]](list), defaultdict[str, list[W]](list)
    for episode in by_opening:
        of_stream[episode.stream].append(episode)
    for window in windows:
        windows_of[window.stream].append(window)

    def outside(some: Iterable[Seen], after: int) -> tuple[Seen, ...]:
        return tuple(one for one in some if not any(_inside(one, window, after) for window in windows_of[one.stream]))

    hits = tuple(Hit(window, _first(of_stream[window.stream], window, tolerance)) for window in windows)
    in_no_window = outside(by_opening, tolerance)
    false_alarms = outside(in_no_window, tolerance + aftermath)
    counted = {id(one) for one in false_alarms}
    return Matched(hits, false_alarms, tuple(one for one in in_no_window if id(one) not in counted))


def _first(by_opening: Sequence[Seen], window: Labelled, tolerance: int) -> Seen | None:
    """Return the first of a stream's episodes that opened in the window; None where none did."""
    place = bisect_left(by_opening, window.start, key=lambda episode: episode.opened)
    return by_opening[place] if place < len(by_opening) and _inside(by_opening[place], window, tolerance) else None


def _inside(episode: Seen, window: Labelled, tolerance: int) -> bool:
    return episode.stream == window.stream and window.start <= episode.opened <= window.end + tolerance

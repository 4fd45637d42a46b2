"""When the loop does what: rules as frozen values, the time as an argument. Times are monotonic seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil

from anomaly_daemon.detection.state import bucket_of

AT_ONCE = 8
"""Buckets of a partition that any commit may carry, however few there are ..."""
SHARE = 0.125
"""... and what of them, however many."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """Every clock of the shell. Nothing that is decided about a stream depends on one."""

    monotonic: Callable[[], float] = time.monotonic
    """Deadlines, and what is due."""
    wall: Callable[[], float] = time.time
    """Epoch seconds, for the detected and published times of alerts and for ages in metrics."""
    wait: Callable[[float], None] = time.sleep
    """The pause between two attempts at something unavailable."""


@dataclass(frozen=True, slots=True)
class CommitPolicy:
    """A commit is due after `seconds`, after `events` records, or at once when an alert is waiting."""

    seconds: float = 0.5
    events: int = 20_000

    def due(self, *, now: float, last: float, events: int, alert_waiting: bool = False) -> bool:
        """Whether to commit; `events` counts the records taken since the commit at `last`."""
        return alert_waiting or events >= self.events or (events > 0 and now - last >= self.seconds)


@dataclass(frozen=True, slots=True)
class SnapshotPolicy:
    """The buckets of a partition are visited in turn, each once in `seconds`: a rolling write, never a burst.

    The visits are numbered from the take-over on; visit v is to bucket v modulo `buckets`. Those that fell due while
    nothing could be written (a replay, a broker that was away) are made `at_once` by `at_once`: of however many, fewer than
    two rounds.
    """

    seconds: float = 60.0
    buckets: int = 64
    share: float = SHARE
    """Of the buckets, what one commit may carry: all the state in one would hold up the records and alerts in it."""

    @property
    def at_once(self) -> int:
        """Visits of one commit at most."""
        return self.buckets if self.seconds <= 0 else min(self.buckets, max(AT_ONCE, ceil(self.share * self.buckets)))

    def visits(self, *, elapsed: float, done: int) -> range:
        """The numbers of the visits to make `elapsed` seconds after the take-over, when all below `done` were made. Rounds
        that were missed are left out whole, so that no bucket loses its turn to another."""
        due = done + self.buckets if self.seconds <= 0 else max(done, int(elapsed * self.buckets / self.seconds))
        first = done + max(0, due - done - self.buckets) // self.buckets * self.buckets
        return range(first, min(due, first + self.at_once))

    def bucket_of(self, key: str) -> int:
        """The bucket of a stream."""
        return bucket_of(key, self.buckets)

    def visited(self, visits: range) -> set[int]:
        """The buckets that these visits go to."""
        return {visit % self.buckets for visit in visits}


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Something unavailable is tried again for `seconds`, with pauses that double from `first` up to `longest`."""

    seconds: float = 120.0
    first: float = 0.1
    longest: float = 2.0

    def pause(self, attempt: int) -> float:
        """Seconds before attempt `attempt` + 1, the first being 0."""
        return min(self.longest, self.first * 2.0 ** min(attempt, 30))


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """Who was away when the group puts a member out: the broker, or the member.

    A thread that looks once a second tells: where nothing looked for longer than the session, this process did not run
    (SIGSTOP, a frozen machine), and its partitions are another's. A process that ran all the time can trust what it
    knows, and goes on as a new member. Either way a late commit is refused: this decides only what we do about it.
    """

    seconds: float
    """How long the group waits for a heartbeat; infinite where there is no group."""

    def asleep(self, *, now: float, last: float) -> bool:
        """Whether this process slept through a session between two looks."""
        return now - last > self.seconds


@dataclass(frozen=True, slots=True)
class WatchPolicy:
    """The registry is looked at about every `seconds`, by each daemon at its own times: a fleet must not come at once."""

    seconds: float = 30.0

    def pause(self, chance: float) -> float:
        """Until the next look; `chance` is between 0 and 1."""
        return self.seconds * (0.5 + chance)


@dataclass(frozen=True, slots=True)
class MinuteLimit:
    """At most `most` in a minute. The minute begins with the first that is counted, and is the caller's value."""

    most: int
    seconds: float = 60.0

    def add(self, window: Window, amount: int, *, now: float) -> Window:
        """The window after `amount` more."""
        fresh = now - window.start >= self.seconds
        return Window(now, amount) if fresh else Window(window.start, window.count + amount)

    def passed(self, window: Window) -> bool:
        return window.count > self.most


@dataclass(frozen=True, slots=True)
class Window:
    """What has been counted since `start`."""

    start: float = float("-inf")
    count: int = 0


@dataclass(frozen=True, slots=True)
class Policies:
    """Everything the loop is told to keep to; `bootstrap` makes it from the settings."""

    commit: CommitPolicy = field(default_factory=CommitPolicy)
    snapshot: SnapshotPolicy = field(default_factory=SnapshotPolicy)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    alerts_per_minute: int = 600
    dead_letters_per_minute: int = 10_000
    dead_letter_late: bool = False
    """Whether a record older than its stream's newest is dead-lettered."""
    idle_timers: bool = False
    """Whether a silent partition's event time goes on with the clock; never for a finite source."""
    poll_seconds: float = 0.2
    stop_seconds: float = 30.0
    """The deadline of a clean stop, and of a hand-over."""

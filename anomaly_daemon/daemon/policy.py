"""Rules for when the loop does what, as frozen values that take the time as an argument. Times are monotonic seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil

from anomaly_daemon.detection.state import bucket_of

AT_ONCE = 8
"""Buckets of a partition that any commit may carry, however few buckets there are."""
SHARE = 0.125
"""The share of a partition's buckets that any commit may carry, however many buckets there are."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """Every clock that is read outside of `detection`. Apart from the idle timers (see `worker`), no decision about a
    stream depends on one."""

    monotonic: Callable[[], float] = time.monotonic
    """For deadlines, and for what is due."""
    wall: Callable[[], float] = time.time
    """Epoch seconds, for the detection and publishing times of alerts and for ages in metrics."""
    wait: Callable[[float], None] = time.sleep
    """Pauses between two attempts at a call that is unavailable."""


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
    """The buckets of a partition are visited in turn, each once in `seconds`, and written then if they have changed.
    Writes are therefore spread over time and do not come in a burst.

    The visits are numbered from the assignment on; visit v is to bucket v modulo `buckets`. Visits that became due
    while nothing could be written (during a replay, or while a broker was away) are made up for, at most `at_once` in a
    commit. However many there were, fewer than two rounds of them are made.
    """

    seconds: float = 60.0
    buckets: int = 64
    share: float = SHARE
    """The share of the buckets that one commit may carry. All of the state in one commit would delay the records and
    alerts in it."""

    @property
    def at_once(self) -> int:
        """The most visits of one commit."""
        return self.buckets if self.seconds <= 0 else min(self.buckets, max(AT_ONCE, ceil(self.share * self.buckets)))

    def visits(self, *, elapsed: float, done: int) -> range:
        """Return the numbers of the visits to make `elapsed` seconds after the assignment, when all below `done` were
        made. Missed rounds are skipped as a whole, so that no bucket loses its turn to another."""
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
    """A call that is unavailable is retried for `seconds`, with pauses that double from `first` up to `longest`."""

    seconds: float = 120.0
    first: float = 0.1
    longest: float = 2.0

    def pause(self, attempt: int) -> float:
        """Return the seconds to wait before attempt `attempt` + 1, where the first attempt is number 0."""
        return min(self.longest, self.first * 2.0 ** min(attempt, 30))


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """Decides who was away when the group removes a member: the broker, or the member.

    A thread that checks once a second finds out. If it did not check for longer than the session timeout, this process
    did not run (SIGSTOP, a suspended machine), and its partitions are another member's. A process that ran all the time
    can trust its state, and continues as a new member. Either way a late commit is refused: this only decides what the
    process does about it.
    """

    seconds: float
    """Seconds that the group waits for a heartbeat; infinite where there is no group."""

    def asleep(self, *, now: float, last: float) -> bool:
        """Whether this process did not run for longer than a session between two checks."""
        return now - last > self.seconds


@dataclass(frozen=True, slots=True)
class WatchPolicy:
    """The registry is checked about every `seconds`, by each daemon at its own times, so that not all daemons access it
    at once."""

    seconds: float = 30.0

    def pause(self, chance: float) -> float:
        """Return the seconds until the next check. `chance` is between 0 and 1."""
        return self.seconds * (0.5 + chance)


@dataclass(frozen=True, slots=True)
class MinuteLimit:
    """At most `most` in a minute. The minute begins with the first one that is counted. The caller keeps its `Window`."""

    most: int
    seconds: float = 60.0

    def add(self, window: Window, amount: int, *, now: float) -> Window:
        """Return the window after `amount` more have been counted."""
        fresh = now - window.start >= self.seconds
        return Window(now, amount) if fresh else Window(window.start, window.count + amount)

    def passed(self, window: Window) -> bool:
        return window.count > self.most


@dataclass(frozen=True, slots=True)
class Window:
    """How many were counted since `start`."""

    start: float = float("-inf")
    count: int = 0


@dataclass(frozen=True, slots=True)
class Policies:
    """All rules that the loop follows. `policies.policies_of` makes them from the settings."""

    commit: CommitPolicy = field(default_factory=CommitPolicy)
    snapshot: SnapshotPolicy = field(default_factory=SnapshotPolicy)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    alerts_per_minute: int = 600
    dead_letters_per_minute: int = 10_000
    dead_letter_late: bool = False
    """Whether a record older than its stream's newest becomes a dead letter."""
    idle_timers: bool = False
    """Whether the event time of a silent partition goes on with the clock. This is never so for a finite source."""
    poll_seconds: float = 0.2
    stop_seconds: float = 30.0
    """The deadline of a clean stop and of a hand-over, in seconds."""

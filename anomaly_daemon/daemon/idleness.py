"""Measures how long a partition has had no records while this process was able to read it.

Time in which the broker was unavailable, or in which this process could not read, must not count as the producer's
silence. Idle time is therefore counted from one report of the partition's log end offset to the next, and not up to the
present moment. An interval between two reports does not count at all where a poll should have reported the end and did
not. Where a call kept the loop waiting, that time is subtracted from the interval. Time in which the loop only computes
for long may count. Where the loop has the backlog of another partition to read, reports may be too rare: then the idle
time stops growing, and `lag_records` shows why.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from anomaly_daemon.daemon.partition import Owned
from anomaly_daemon.transport.ports import Partition

AWAY_SECONDS = 2.0
"""A broker that is available reports every half second where a partition ends, and lets no call wait for longer than
this. For a poll, this time is counted from the end of the poll's own timeout."""
SILENT_SECONDS = 10.0
"""A broker counts as silent when the end of a partition was asked for and not reported for this long. Twenty reports
are missing by then; an orderly change of leader takes less."""


@dataclass(slots=True)
class EndReports:
    """What is tracked for one assigned partition."""

    owned: Owned
    reported_at: float
    """Monotonic time of the last report, or of the first check where there was none."""
    lag: int | None = None
    caught_up: int = 0
    """Reports in a row of an end that this member had reached."""
    doubtful: bool = False
    """Whether none of the time since `reported_at` counts as idle."""
    waited: float = 0.0
    """Seconds since `reported_at` in which calls kept the loop waiting, which do not count as idle."""
    was_owed: bool = False
    """Whether this partition's end was still owed after the previous poll."""
    owed_seconds: float = 0.0
    """Seconds for which the end has been owed, summed from poll to poll. A report resets them."""


class Idleness:
    """Measures the idle time of all assigned partitions. Used by the loop's thread only, except for `owed`."""

    def __init__(self) -> None:
        self._reports: dict[Partition, EndReports] = {}
        self._polled: float | None = None
        self.owed = 0.0
        """Seconds, up to the last poll, for which an end was asked for in vain, of the partition where that is longest.
        Read by any thread."""

    @property
    def lag(self) -> Mapping[Partition, int]:
        """The last known lag in records, by partition. It has no partition whose lag is not known, or whose broker is
        silent."""
        known = self._reports.items()
        return {name: one.lag for name, one in known if one.lag is not None and one.owed_seconds <= SILENT_SECONDS}

    def polled(
        self,
        owned: Mapping[Partition, Owned],
        lag: Mapping[Partition, int],
        owed: Collection[Partition],
        now: float,
        took: float,
        timeout: float,
    ) -> None:
        """Take in a poll that was to wait for `timeout` seconds, took `took` seconds and ended at `now`. `lag` has the
        partitions whose end was reported, and `owed` those whose end it still asks for."""
        self.waited(took - timeout)
        self._reports = {name: self._of(name, one, now) for name, one in owned.items()}
        for name, tracked in self._reports.items():
            if name in lag:
                self._end_reported(tracked, lag[name], now)
            elif now - tracked.reported_at > AWAY_SECONDS + timeout:
                tracked.doubtful = True
        self._count_unanswered(lag, owed, now)

    def _count_unanswered(self, lag: Mapping[Partition, int], owed: Collection[Partition], now: float) -> None:
        passed = 0.0 if self._polled is None else now - self._polled
        for name, tracked in self._reports.items():
            more = passed if tracked.was_owed and name in owed else 0.0
            tracked.owed_seconds = 0.0 if name in lag else tracked.owed_seconds + more
            tracked.was_owed = name in owed
        self._polled = now
        self.owed = max((tracked.owed_seconds for tracked in self._reports.values()), default=0.0)

    def waited(self, seconds: float) -> None:
        """Note that a call to the broker took so many seconds. They count only beyond `AWAY_SECONDS`."""
        if seconds > AWAY_SECONDS:
            for tracked in self._reports.values():
                tracked.waited += seconds

    def caught_up(self, owned: Owned) -> bool:
        """Whether this member had read all of the partition at the last report."""
        tracked = self._reports.get(owned.partition)
        return tracked is not None and tracked.owned is owned and tracked.caught_up > 0

    def surely_caught_up(self, owned: Owned) -> bool:
        """Whether this member had read all of the partition at the last two reports. The first report after a seek may
        be the answer to a request sent before it."""
        return self.caught_up(owned) and self._reports[owned.partition].caught_up > 1

    def seconds(self, owned: Owned) -> float:
        """Return the seconds from the last record up to the last report, without time that does not count."""
        return max(0.0, self._reports[owned.partition].reported_at - owned.last_record)

    def _of(self, name: Partition, owned: Owned, now: float) -> EndReports:
        tracked = self._reports.get(name)
        return tracked if tracked is not None and tracked.owned is owned else EndReports(owned, now)

    def _end_reported(self, tracked: EndReports, lag: int, now: float) -> None:
        lost = now - tracked.reported_at if tracked.doubtful else tracked.waited
        tracked.owned.last_record = min(now, tracked.owned.last_record + lost)
        tracked.reported_at, tracked.lag, tracked.doubtful, tracked.waited = now, lag, False, 0.0
        tracked.caught_up = tracked.caught_up + 1 if lag == 0 else 0

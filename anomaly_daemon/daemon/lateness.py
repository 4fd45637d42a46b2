"""Reports clocks that are ahead. One record from the future advances the event time of its partition, and makes every
later record of its stream late until its times catch up.

`stream.ahead_limit_seconds` bounds how far ahead a record may be. Its effect cannot be undone, because event time does
not go back. What is left is to report it while it lasts. Nothing is decided in this module.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from structlog.typing import FilteringBoundLogger

from anomaly_daemon.daemon.partition import Owned
from anomaly_daemon.daemon.policy import MinuteLimit, Window
from anomaly_daemon.detection.explain import iso
from anomaly_daemon.detection.observation import Observations
from anomaly_daemon.detection.scores import Scores, Status
from anomaly_daemon.transport.ports import Partition

IN_A_ROW = 20
"""Late records of a stream, with none on time in between, before the stream is reported. Records that overtake each
other are no fault."""
REPEAT_SECONDS = 3600.0
"""Minimum seconds between two log lines about one stream, or about the jumps of one partition."""
LINES_A_MINUTE = 10
"""Log lines about streams per minute: one clock may have put all of them ahead. The other streams are reported later."""
MOST_STREAMS = 10_000
"""The most streams of a partition whose late records are counted at the same time."""
JUMP_SECONDS = 600.0
"""A record further ahead than this of its append time, and of all records before it, is reported."""


@dataclass(slots=True)
class Streak:
    """The late records of one stream in a row, and the monotonic time at which it was last reported."""

    records: int = 0
    reported_at: float = -math.inf


class Lateness:
    """Watches all assigned partitions for clocks that are ahead. Used by the loop's thread only."""

    def __init__(self, monotonic: Callable[[], float], log: FilteringBoundLogger) -> None:
        self._monotonic, self._log = monotonic, log
        self._streaks: dict[Partition, dict[str, Streak]] = {}
        self._jumps: dict[Partition, float] = {}
        self._limit, self._lines = MinuteLimit(LINES_A_MINUTE), Window()

    def note(self, owned: Owned, observations: Observations, scores: Scores, before: int) -> None:
        """Check a live batch. `before` is the partition's event time before this batch, in epoch microseconds."""
        if len(observations):
            self._note_jump(owned, observations, before)
            self._note_late(owned, observations, scores.status_N == Status.LATE)

    def _note_jump(self, owned: Owned, observations: Observations, before: int) -> None:
        place, now = int(np.argmax(observations.time_N)), self._monotonic()
        time, append = int(observations.time_N[place]), int(observations.append_N[place])
        far = append >= 0 and before > 0 and min(time - append, time - before) > JUMP_SECONDS * 1e6
        if far and now - self._jumps.get(owned.partition, -math.inf) >= REPEAT_SECONDS:
            self._jumps[owned.partition] = now
            self._log.warning(
                "a record is far ahead of its append time: the event time of its partition jumps ahead, so "
                "silences may be false",
                **_where(owned),
                stream=observations.keys[observations.stream_N[place]],
                offset=int(observations.offset_N[place]),
                time=iso(time),
                ahead_seconds=round((time - append) / 1e6),
            )

    def _note_late(
        self, owned: Owned, observations: Observations, late_N: np.ndarray[tuple[int], np.dtype[np.bool_]]
    ) -> None:
        streaks = self._streaks.setdefault(owned.partition, {})
        if not streaks and not late_N.any():
            return
        all_K = np.bincount(observations.stream_N, minlength=len(observations.keys))
        late_K = np.bincount(observations.stream_N[late_N], minlength=len(observations.keys))
        last_K = np.zeros(len(observations.keys), np.int64)
        last_K[observations.stream_N] = observations.time_N  # the last value of each stream stays
        for stream in np.flatnonzero(all_K > late_K).tolist():
            streaks.pop(observations.keys[stream], None)
        for stream in np.flatnonzero((late_K > 0) & (late_K == all_K)).tolist():
            key = observations.keys[stream]
            if key in streaks or len(streaks) < MOST_STREAMS:
                streak = streaks.setdefault(key, Streak())
                streak.records += int(late_K[stream])
                self._tell(owned, key, streak, int(last_K[stream]))

    def _tell(self, owned: Owned, key: str, streak: Streak, last: int) -> None:
        now = self._monotonic()
        if streak.records < IN_A_ROW or now - streak.reported_at < REPEAT_SECONDS:
            return
        newest = owned.detector.newest(key)
        if newest is None:
            return
        self._lines = self._limit.add(self._lines, 1, now=now)
        if self._limit.passed(self._lines):
            return
        streak.reported_at = now
        self._log.warning(
            "every record of a stream is late and skipped, until their times pass the newest time of the stream",
            **_where(owned),
            stream=key,
            records=streak.records,
            time=iso(last),
            passed=iso(newest),
            behind_seconds=round((newest - last) / 1e6),
        )


def _where(owned: Owned) -> dict[str, str]:
    return {"partition": f"{owned.partition.topic}-{owned.partition.partition}"}

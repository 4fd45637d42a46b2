"""For how long a partition has been without records, as far as we could have read them.

A silence is the producer's only while the broker would have shown us a record: time in which it was away, or in which we
could not read, is no one's silence. So what counts goes from one hearing of the partition's end to the next, and not up
to now. A stretch between two hearings does not count where a poll should have heard of the end and did not; and where a
call kept the loop waiting, less of it. A loop that only computes for long may count. Where it has the backlog of another
partition to read, ends may be heard too rarely: then the count stands still, and `lag_records` tells why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from anomaly_daemon.daemon.partition import Owned
from anomaly_daemon.transport.ports import Partition

AWAY_SECONDS = 2.0
"""A broker that is there says where a partition ends every half second, and does not keep a call waiting for longer. Both
are past a poll's own wait."""


@dataclass(slots=True)
class Heard:
    """Of one partition while it is ours."""

    owned: Owned
    at: float
    """Monotonic time of the last hearing, or of the first look."""
    lag: int | None = None
    calm: int = 0
    """Hearings in a row of an end that we had reached."""
    doubtful: bool = False
    """Nothing of the time since then counts."""
    waited: float = 0.0
    """Seconds of it that do not count."""


class Idleness:
    """The loop's alone."""

    def __init__(self) -> None:
        self._heard: dict[Partition, Heard] = {}

    @property
    def lag(self) -> Mapping[Partition, int]:
        """The last known figures."""
        return {name: heard.lag for name, heard in self._heard.items() if heard.lag is not None}

    def polled(
        self, owned: Mapping[Partition, Owned], lag: Mapping[Partition, int], now: float, took: float, timeout: float
    ) -> None:
        """A poll that was to wait for `timeout` ended now, and then the source knew of these ends."""
        self.waited(took - timeout)
        self._heard = {name: self._of(name, one, now) for name, one in owned.items()}
        for name, heard in self._heard.items():
            if name in lag:
                self._hear(heard, lag[name], now)
            elif now - heard.at > AWAY_SECONDS + timeout:
                heard.doubtful = True

    def waited(self, seconds: float) -> None:
        """A call to the broker has taken so long."""
        if seconds > AWAY_SECONDS:
            for heard in self._heard.values():
                heard.waited += seconds

    def caught_up(self, owned: Owned) -> bool:
        """By what was heard last."""
        heard = self._heard.get(owned.partition)
        return heard is not None and heard.owned is owned and heard.calm > 0

    def surely_caught_up(self, owned: Owned) -> bool:
        """By two hearings: the first after a seek may be the answer to a question of before it."""
        return self.caught_up(owned) and self._heard[owned.partition].calm > 1

    def seconds(self, owned: Owned) -> float:
        """Since the last record, up to the last hearing."""
        return max(0.0, self._heard[owned.partition].at - owned.last_record)

    def _of(self, name: Partition, owned: Owned, now: float) -> Heard:
        heard = self._heard.get(name)
        return heard if heard is not None and heard.owned is owned else Heard(owned, now)

    def _hear(self, heard: Heard, lag: int, now: float) -> None:
        lost = now - heard.at if heard.doubtful else heard.waited
        heard.owned.last_record = min(now, heard.owned.last_record + lost)
        heard.at, heard.lag, heard.doubtful, heard.waited = now, lag, False, 0.0
        heard.calm = heard.calm + 1 if lag == 0 else 0

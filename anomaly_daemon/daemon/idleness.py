"""For how long a partition has been without records, as far as we could have read them.

A silence is the producer's only while the broker would have shown us a record: time in which it was away, or in which we
could not read, is no one's silence. So what counts goes from one hearing of the partition's end to the next, and not up
to now. A stretch between two hearings does not count where a poll should have heard of the end and did not; and where a
call kept the loop waiting, less of it. A loop that only computes for long may count. Where it has the backlog of another
partition to read, ends may be heard too rarely: then the count stands still, and `lag_records` tells why.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from anomaly_daemon.daemon.partition import Owned
from anomaly_daemon.transport.ports import Partition

AWAY_SECONDS = 2.0
"""A broker that is there says where a partition ends every half second, and does not keep a call waiting for longer. Both
are past a poll's own wait."""
SILENT_SECONDS = 10.0
"""A partition whose end is asked for and not heard for so long has a broker that is silent. Twenty answers are missing
then; a leader that moves in good order takes less."""


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
    asked: bool = False
    """The poll before this one left it to be answered."""
    owed: float = 0.0
    """Seconds between polls for which it was."""


class Idleness:
    """The loop's alone."""

    def __init__(self) -> None:
        self._heard: dict[Partition, Heard] = {}
        self._polled: float | None = None
        self.owed = 0.0
        """Seconds for which an end was asked for in vain, where longest, up to the last poll; read by any thread."""

    @property
    def lag(self) -> Mapping[Partition, int]:
        """The last known figures; none of a partition whose broker is silent."""
        heard = self._heard.items()
        return {name: one.lag for name, one in heard if one.lag is not None and one.owed <= SILENT_SECONDS}

    def polled(
        self,
        owned: Mapping[Partition, Owned],
        lag: Mapping[Partition, int],
        owed: Collection[Partition],
        now: float,
        took: float,
        timeout: float,
    ) -> None:
        """A poll that was to wait for `timeout` ended now; then the source knew of these ends, and others were owed."""
        self.waited(took - timeout)
        self._heard = {name: self._of(name, one, now) for name, one in owned.items()}
        for name, heard in self._heard.items():
            if name in lag:
                self._hear(heard, lag[name], now)
            elif now - heard.at > AWAY_SECONDS + timeout:
                heard.doubtful = True
        self._owe(lag, owed, now)

    def _owe(self, lag: Mapping[Partition, int], owed: Collection[Partition], now: float) -> None:
        passed = 0.0 if self._polled is None else now - self._polled
        for name, heard in self._heard.items():
            heard.owed = 0.0 if name in lag else heard.owed + (passed if heard.asked and name in owed else 0.0)
            heard.asked = name in owed
        self._polled = now
        self.owed = max((heard.owed for heard in self._heard.values()), default=0.0)

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

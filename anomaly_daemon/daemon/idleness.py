"""For how long a partition has been without records, as far as we could have read them.

A silence is the producer's only while the broker would have shown us a record: time in which it was away, or in which we
could not read, is no one's silence. So what counts goes from one hearing of the partition's end to the next, and not up
to now; and a stretch between two hearings counts only where nothing speaks against it: no poll that should have heard of
the end and did not, and no call that kept the loop waiting. A loop that only computes for long may count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from anomaly_daemon.daemon.partition import Owned
from anomaly_daemon.transport.ports import Partition

HEARD_SECONDS = 2.0
"""Past a poll's own wait: a broker that is there says where a partition ends every half second."""
WAITED_SECONDS = 1.0
"""A delivery, or a poll past its own wait, that takes longer was kept waiting."""


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
    """Whether the time since then counts as silence."""


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
            elif now - heard.at > HEARD_SECONDS + timeout:
                heard.doubtful = True

    def waited(self, seconds: float) -> None:
        """A call to the broker has taken so long."""
        if seconds > WAITED_SECONDS:
            for heard in self._heard.values():
                heard.doubtful = True

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
        if heard.doubtful:
            heard.owned.last_record = min(now, heard.owned.last_record + now - heard.at)
        heard.at, heard.lag, heard.doubtful = now, lag, False
        heard.calm = heard.calm + 1 if lag == 0 else 0

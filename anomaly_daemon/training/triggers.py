"""Triggers that request a new model automatically: a schedule, the model's age, and a periodic test for drift.

A trigger computes when it was last due, and each due moment has one request. The moments of a deployment are delayed by
its own share of `jitter_seconds`, so that deployments that share workers do not ask all at once. The share is derived
from the deployment's name, so a restarted worker finds the same moments; a request that it repeats has the same id, and
is not served again. The current time is an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Protocol
from zlib import crc32

from cronsim import CronSim
from structlog.typing import FilteringBoundLogger

from anomaly_daemon.errors import DaemonError
from anomaly_daemon.training.requests import Request

DAY = timedelta(days=1)
MOST_DAYS = 10**6
"""More days than there are since 1970, where the records of any request begin at the earliest."""
EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class Trigger(Protocol):
    """Something that makes training due. `name` is the reason given in its requests."""

    @property
    def name(self) -> str: ...
    @property
    def if_drifted(self) -> bool:
        """Whether its requests ask for a training only if the champion no longer fits."""

    def last_due(self, now: datetime, trained: datetime) -> datetime | None:
        """Return the last moment up to `now` at which a model was due, or None; `trained` is when the last one was
        trained."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Due at the times of a cron expression, in UTC. Times missed while no worker ran are due once."""

    words: str
    name: str = "schedule"
    if_drifted: bool = False

    def last_due(self, now: datetime, trained: datetime) -> datetime | None:
        at = next(CronSim(self.words, now.replace(microsecond=0) + timedelta(seconds=1), reverse=True))
        return at if at > trained else None


@dataclass(frozen=True, slots=True)
class Age:
    """Due a number of days after the last training, whatever its outcome, and again after as many days where none took
    place: its request may have failed."""

    days: float
    name: str = "age"
    if_drifted: bool = False

    def last_due(self, now: datetime, trained: datetime) -> datetime | None:
        periods = (now - trained) / DAY // self.days  # one of them may lie beyond the last date that there is
        return trained + periods * timedelta(days=self.days) if periods >= 1 else None


@dataclass(frozen=True, slots=True)
class DriftLook:
    """Due every `seconds` since 1970; its requests ask for the drift test first."""

    seconds: float
    name: str = "drift"
    if_drifted: bool = True

    def last_due(self, now: datetime, trained: datetime) -> datetime | None:
        return EPOCH + timedelta(seconds=(now - EPOCH).total_seconds() // self.seconds * self.seconds)


@dataclass
class Asking:
    """Requests what is due, each moment once. One worker of the group leads and calls `look`; the others do not."""

    name: str
    """The name of the deployment."""
    triggers: Sequence[Trigger]
    jitter_seconds: float
    recent_days: float
    """How far back the records of a request go, in days."""
    trained: Callable[[], datetime]
    """Returns when the last model was trained, according to the registry."""
    ask: Callable[[Request], None]
    log: FilteringBoundLogger
    asked: dict[str, datetime] = field(default_factory=dict)
    """The last moment that was requested, by trigger."""

    def look(self, now: datetime) -> None:
        """Request what is due at `now`. If the registry is unavailable this is logged, and nothing is requested. Raises
        Unavailable if a request cannot be sent."""
        put_off = now - timedelta(seconds=self.jitter_seconds * crc32(self.name.encode()) / 2**32)
        try:
            trained = self.trained()
        except DaemonError as error:
            self.log.warning("retraining triggers were not checked: the registry is unavailable", error=str(error))
            return
        for trigger in self.triggers:
            due = trigger.last_due(put_off, trained)
            if due is not None and due != self.asked.get(trigger.name):
                self.ask(self._request(trigger, due))
                self.asked[trigger.name] = due

    def _request(self, trigger: Trigger, due: datetime) -> Request:
        """Return the request for this moment. Its id depends on deployment, trigger and moment alone, so two leaders
        that request the same moment cause one training."""
        text = "\0".join((self.name, trigger.name, due.isoformat()))
        start = (due - min(timedelta(days=min(self.recent_days, MOST_DAYS)), due - EPOCH)).isoformat()
        name = blake2b(text.encode(), digest_size=16).hexdigest()
        return Request(name, trigger.name, start, None, trigger.if_drifted)

"""When to ask for a new model without anyone saying so: a schedule, the model's age, and now and then a look for drift.

A trigger says when it was last due, and it is asked for once for each such moment. A deployment's moments are put off by
its own share of `jitter_seconds`, told by its name: deployments that share workers must not ask all at once, and a
worker that starts again must not ask again. The clock is an argument.
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

EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class Trigger(Protocol):
    """`name` is the reason of its requests."""

    @property
    def name(self) -> str: ...
    @property
    def if_drifted(self) -> bool:
        """Whether its requests are for a training only where the champion no longer fits."""

    def last_due(self, now: datetime, trained: datetime) -> datetime | None:
        """When last, up to now, a model was due; `trained` is when the last one was trained."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Cron words, in UTC. What was missed while no worker ran is due once."""

    words: str
    name: str = "schedule"
    if_drifted: bool = False

    def last_due(self, now: datetime, trained: datetime) -> datetime | None:
        at = next(CronSim(self.words, now + timedelta(seconds=1), reverse=True))
        return at if at > trained else None


@dataclass(frozen=True, slots=True)
class Age:
    """So long after the last training, whatever became of it."""

    days: float
    name: str = "age"
    if_drifted: bool = False

    def last_due(self, now: datetime, trained: datetime) -> datetime | None:
        at = trained + timedelta(days=self.days)
        return at if at <= now else None


@dataclass(frozen=True, slots=True)
class DriftLook:
    """Every so many seconds the drift test is asked for."""

    seconds: float
    name: str = "drift"
    if_drifted: bool = True

    def last_due(self, now: datetime, trained: datetime) -> datetime | None:
        return EPOCH + timedelta(seconds=(now - EPOCH).total_seconds() // self.seconds * self.seconds)


@dataclass
class Asking:
    """Asks for what is due, each moment once. One worker of the group leads, and looks; the others stand by."""

    name: str
    """The deployment's."""
    triggers: Sequence[Trigger]
    jitter_seconds: float
    recent_days: float
    """How far back the records go that a request names."""
    trained: Callable[[], datetime]
    """When the last model was trained, by the registry."""
    ask: Callable[[Request], None]
    log: FilteringBoundLogger
    asked: dict[str, datetime] = field(default_factory=dict)
    """By trigger, the last moment asked for."""

    def look(self, now: datetime) -> None:
        """Raises Unavailable when the request cannot be sent; the registry may be away."""
        put_off = now - timedelta(seconds=self.jitter_seconds * crc32(self.name.encode()) / 2**32)
        try:
            trained = self.trained()
        except DaemonError as error:
            self.log.warning("no look for what is due: the registry is away", error=str(error))
            return
        for trigger in self.triggers:
            due = trigger.last_due(put_off, trained)
            if due is not None and due != self.asked.get(trigger.name):
                self.ask(self._request(trigger, due))
                self.asked[trigger.name] = due

    def _request(self, trigger: Trigger, due: datetime) -> Request:
        """The same for the same moment, whoever asks: two leaders of one moment ask for one training."""
        text = "\0".join((self.name, trigger.name, due.isoformat()))
        start = (due - timedelta(days=self.recent_days)).isoformat()
        name = blake2b(text.encode(), digest_size=16).hexdigest()
        return Request(name, trigger.name, start, None, trigger.if_drifted)

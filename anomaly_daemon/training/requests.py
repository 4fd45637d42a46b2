"""Requests for retraining, and the worker that takes them one after the other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from threading import Event
from typing import Protocol

import msgspec
from structlog.typing import FilteringBoundLogger

from anomaly_daemon.errors import DaemonError, Incompatible, Unavailable
from anomaly_daemon.training.under_way import Tell
from anomaly_daemon.transport.ports import Received

WAIT_SECONDS = 1.0
"""Between two looks for a request."""


class Request(msgspec.Struct, frozen=True):
    """One request. `start` and `end` are places in the input topic, offsets or times; none: all that came before it."""

    id: str
    reason: str
    """Why: schedule, drift, by hand; it goes into the result and the registry's history."""
    start: str | int | None = None
    end: str | int | None = None
    if_drifted: bool = False
    """Train only where a drift test says so."""
    asked: str | None = None
    """When, as the queue says: alerts and feedback that came later are not looked at."""


class Result(msgspec.Struct, frozen=True):
    """What became of a request."""

    id: str
    reason: str
    outcome: str
    """promoted, kept (the champion goes on), skipped (too soon, or no drift), or failed."""
    detail: str
    challenger: str | None = None
    """Its digest."""


class Abandoned(Exception):  # noqa: N818
    """The group has given the request to another worker, which goes on from our last checkpoint."""


class Queue(Protocol):
    """Where requests come from: each is given to one worker, and again to another until it is answered."""

    def next(self, seconds: float) -> Received | None: ...
    def kept(self, received: Received) -> AbstractContextManager[Event]:
        """Our place in the group is kept while the block runs; the event is set once the request is another's."""

    def told(self, key: str) -> bool:
        """Whether there is an answer to the request of this name: it was asked for twice."""

    def answer(self, received: Received, key: str, value: bytes | None) -> bool:
        """Announce the result (if there is any) and be done with the request, both or neither. False, and no answer from
        us, where it is another's by now."""


@dataclass(frozen=True, slots=True)
class Tenure:
    """For how long a request is ours."""

    lost: Event

    def check(self) -> None:
        """Raises Abandoned once it is another's."""
        if self.lost.is_set():
            raise Abandoned

    def watched(self, tell: Tell) -> Tell:
        """The same, and what is under way ends once the request is another's."""

        def guarded(phase: str, share: float, note: str = "") -> None:
            tell(phase, share, note)
            self.check()

        return guarded


Work = Callable[[Request, Tenure], Result]
"""Does what a request asks for. What others will see of it is kept only after a last `Tenure.check`."""


def serve(
    queue: Queue,
    work: Work,
    log: FilteringBoundLogger,
    more: Callable[[], bool] = lambda: True,
    between: Callable[[], None] = lambda: None,
) -> None:
    """Take requests for as long as there may be more; `between` two of them, triggers are looked at. Raises Unavailable,
    and the request stays."""
    while more():
        between()
        received = queue.next(WAIT_SECONDS)
        if received is None:
            continue
        try:
            request = decode(received)
        except Incompatible as error:
            log.error("a request was passed over", error=str(error))
            queue.answer(received, "", msgspec.json.encode(Result("", "", "failed", str(error))))
            continue
        if queue.told(request.id):
            log.info("a request that has its answer", request=request.id)
            queue.answer(received, request.id, None)
            continue
        log.info("retraining", request=request.id, reason=request.reason)
        try:
            with queue.kept(received) as lost:
                tenure = Tenure(lost)
                result = _done(request, work, tenure)
                tenure.check()
        except Abandoned:
            log.warning("another worker goes on with this request", request=request.id)
            continue
        if not queue.answer(received, request.id, msgspec.json.encode(result)):
            log.warning("another worker goes on with this request", request=request.id)
            continue
        log.info("answered", request=request.id, outcome=result.outcome, detail=result.detail)


def decode(received: Received) -> Request:
    """The request, its end pinned to when it was made, so that who takes it over reads the same records and alerts. Raises
    Incompatible when it is none."""
    try:
        request = msgspec.json.decode(received.value, type=Request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Incompatible(f"not a request for retraining: {error}") from error
    if not request.id.isalnum():
        raise Incompatible("a request's id is letters and digits: it names a file")
    end = received.appended if request.end is None else request.end
    return msgspec.structs.replace(request, end=end, asked=received.appended)


def too_soon(last: str | None, now: datetime, minimum_seconds: float) -> bool:
    """Whether the last challenger (ISO 8601) is so recent that another would learn the same."""
    return last is not None and (now - datetime.fromisoformat(last)).total_seconds() < minimum_seconds


def _done(request: Request, work: Work, tenure: Tenure) -> Result:
    try:
        return work(request, tenure)
    except Unavailable:
        raise
    except DaemonError as error:
        return Result(request.id, request.reason, "failed", str(error))

"""Requests for retraining, and the worker loop that serves them one after the other."""

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
"""Seconds that one wait for a request lasts."""
LONGEST_ID = 128
"""Bytes of a request's id. The name of its checkpoint has 34 more, and a file name at most 255."""


class Request(msgspec.Struct, frozen=True):
    """One request. `start` and `end` are offsets or times in the input topic. None means the beginning of the topic for
    `start`, and the time of the request for `end`."""

    id: str
    reason: str
    """Why it was made (schedule, drift, by hand); it goes into the result and the history of the registry."""
    start: str | int | None = None
    end: str | int | None = None
    if_drifted: bool = False
    """Whether to train only if a drift test reports a drift."""
    asked: str | None = None
    """When the request was appended, as reported by the queue. Later alerts and feedback are ignored."""


class Result(msgspec.Struct, frozen=True):
    """The outcome of a request."""

    id: str
    reason: str
    outcome: str
    """promoted, kept (the champion stays), skipped (too soon, or no drift), or failed."""
    detail: str
    challenger: str | None = None
    """The digest of the challenger."""


class Abandoned(Exception):  # noqa: N818
    """The group has assigned the request to another worker, which continues from the last checkpoint."""


class Queue(Protocol):
    """Where requests come from. Each is given to one worker, and to another one again until it is answered."""

    def next(self, seconds: float) -> Received | None: ...
    def keep_membership(self, received: Received) -> AbstractContextManager[Event]:
        """Keep this worker's membership of the group while the block runs. The event is set once the request belongs to
        another worker."""

    def answered(self, key: str) -> bool:
        """Return whether the request of this name already has an answer, because it was made twice."""

    def answer(self, received: Received, key: str, value: bytes | None) -> bool:
        """Publish the result (if there is one) and finish the request, both or neither. Returns False, without an
        answer from this worker, if the request belongs to another worker by now."""


@dataclass(frozen=True, slots=True)
class Tenure:
    """How long a request belongs to this worker: until `lost` is set."""

    lost: Event

    def check(self) -> None:
        """Raise Abandoned once the request belongs to another worker."""
        if self.lost.is_set():
            raise Abandoned

    def watched(self, tell: Tell) -> Tell:
        """Return `tell` with a check after each call, so that the work under way ends once the request belongs to
        another worker."""

        def guarded(phase: str, share: float, note: str = "") -> None:
            tell(phase, share, note)
            self.check()

        return guarded


Work = Callable[[Request, Tenure], Result]
"""Carries out a request. It calls `Tenure.check` a last time before it stores anything that others can see."""


def serve(
    queue: Queue,
    work: Work,
    log: FilteringBoundLogger,
    more: Callable[[], bool] = lambda: True,
    between: Callable[[], None] = lambda: None,
) -> None:
    """Serve requests while `more` returns True. `between` is called before each wait for a request, to check the
    triggers. Raises Unavailable; the request then stays in the queue."""
    while more():
        between()
        received = queue.next(WAIT_SECONDS)
        if received is None:
            continue
        try:
            request = decode(received)
        except Incompatible as error:
            log.error("a request was skipped", error=str(error))
            queue.answer(received, "", msgspec.json.encode(Result("", "", "failed", str(error))))
            continue
        if queue.answered(request.id):
            log.info("a request was skipped: it is answered already", request=request.id)
            queue.answer(received, request.id, None)
            continue
        log.info("retraining", request=request.id, reason=request.reason)
        try:
            with queue.keep_membership(received) as lost:
                tenure = Tenure(lost)
                result = _done(request, work, tenure)
                tenure.check()
        except Abandoned:
            log.warning("another worker has taken over this request", request=request.id)
            continue
        if not queue.answer(received, request.id, msgspec.json.encode(result)):
            log.warning("another worker has taken over this request", request=request.id)
            continue
        log.info("answered", request=request.id, outcome=result.outcome, detail=result.detail)


def decode(received: Received) -> Request:
    """Return the request. An open end is set to the time when the request was made, so that a worker that takes it over
    reads the same records and alerts. Raises Incompatible if the record is not a request."""
    try:
        request = msgspec.json.decode(received.value, type=Request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Incompatible(f"not a request for retraining: {error}") from error
    if not request.id.isalnum():
        raise Incompatible("a request's id is letters and digits: it names a file")
    if len(request.id.encode()) > LONGEST_ID:
        raise Incompatible(f"a request's id has at most {LONGEST_ID} bytes: it names a file")
    end = received.appended if request.end is None else request.end
    return msgspec.structs.replace(request, end=end, asked=received.appended)


def too_soon(last: str | None, now: datetime, minimum_seconds: float) -> bool:
    """Return whether the last challenger (ISO 8601) is so recent that another would learn the same."""
    return last is not None and (now - datetime.fromisoformat(last)).total_seconds() < minimum_seconds


def _done(request: Request, work: Work, tenure: Tenure) -> Result:
    try:
        return work(request, tenure)
    except Unavailable:
        raise
    except DaemonError as error:
        return Result(request.id, request.reason, "failed", str(error))

"""One message after the other, each until it is taken: at least once, and in order."""

from __future__ import annotations

import time
import urllib.error
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.request import Request

from anomaly_daemon.errors import ConfigurationError, NotPermitted
from anomaly_daemon.forwarding.message import Message, Target, Unfit
from anomaly_daemon.transport import web

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
LONGEST_ASKED = 600.0
"""The longest pause that is kept because the other side asks for it (Retry-After): a wrong clock may ask for a year."""
MESSAGE = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
)
"""Refusals that are of what was sent; all others are of who sends, and where."""
BUSY = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT)
"""Answers that are never of the message."""


class Sender:
    """Counts what became of messages in `sent` and `refused`."""

    def __init__(
        self,
        target: Target,
        open_: Callable[..., Any],
        log: FilteringBoundLogger,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        give_up_seconds: float | None = None,
    ) -> None:
        """`give_up_seconds`: how long a message is tried again that is answered as broken (5xx but 503) each time; None:
        for as long as it takes."""
        self._target, self._open, self._log = target, open_, log
        self._sleep, self._clock, self._give_up = sleep, clock, give_up_seconds
        self.sent = self.refused = 0
        self.stuck_since: float | None = None
        """By the clock: from when on the message at hand was not taken; None while messages go through."""

    def send(self, message: Message, wanted: Callable[[], bool] = lambda: True) -> None:
        """Until it is taken, refused for what it is, or, after a pause, not `wanted` any more.

        Raises:
            NotPermitted, ConfigurationError: nothing will be taken from us, whatever it is.
            Incompatible: it is of a later version of this program.
        """
        try:
            request = self._target.request(message)
        except Unfit as why:
            self._refuse(message, str(why))
            return
        try:
            self._until_taken(request, message, wanted)
        finally:
            self.stuck_since = None

    def _until_taken(self, request: Request, message: Message, wanted: Callable[[], bool]) -> None:
        pause, broken_since = FIRST_PAUSE, None
        while (error := self._tried(request)) is not None:
            now = self._clock()
            self.stuck_since = now if self.stuck_since is None else self.stuck_since
            if not web.may_pass(error):
                return self._not_taken(message, web.host_of(request.full_url), error)
            broken_since = (now if broken_since is None else broken_since) if _is_broken(error) else None
            if self._give_up is not None and broken_since is not None and now - broken_since >= self._give_up:
                return self._refuse(message, f"{error}, for {now - broken_since:.0f} s")
            seconds = max(pause, min(web.asked_to_wait(error), LONGEST_ASKED))
            _close(error)
            self._log.warning(
                "not taken, trying again",
                place=message.place,
                id=message.id,
                seconds=round(seconds, 1),
                reason=str(error),
            )
            self._sleep(seconds)
            if not wanted():
                return None
            pause = min(2 * pause, LONGEST_PAUSE)
        self.sent += 1
        self._target.taken(message)
        return None

    def _tried(self, request: Request) -> Exception | None:
        """Why it was not taken. What is answered besides the status is not read: it may have no end."""
        try:
            with self._open(request, timeout=web.TIMEOUT_SECONDS):
                return None
        except web.FAILURES as error:
            return error

    def again(self, between: Callable[[], None] = lambda: None) -> None:
        """What is to be told now and then, once: where it is not taken the next time will do. `between` its parts."""
        for part, request in enumerate(self._target.again()):
            if part:
                between()
            if (error := self._tried(request)) is not None:
                _close(error)
                self._log.warning("open episodes were not taken again", reason=str(error))
                if web.may_pass(error):
                    return  # it is away: the next part would wait for as long

    def _not_taken(self, message: Message, host: str, error: Exception) -> None:
        if not isinstance(error, urllib.error.HTTPError):
            raise ConfigurationError(f"{host}: {web.reason_of(error)}: name its certificates with --cafile") from error
        with error:
            if error.code in MESSAGE:
                told = error.read(1000).decode("utf-8", "replace")
                self._refuse(message, f"{error.code} {error.reason}: {told}")
            elif error.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                raise NotPermitted(f"{host} takes nothing from us ({error.code}): name a login with --headers-file")
            else:
                raise ConfigurationError(
                    f"{host} answers {error.code} {error.reason}{web.moved_to(error, host_only=True)}"
                )

    def _refuse(self, message: Message, why: str) -> None:
        self.refused += 1
        self._log.error("passed over", place=message.place, id=message.id, reason=why)


def _close(error: Exception) -> None:
    """An answer that is an error is open."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()


def _is_broken(error: Exception) -> bool:
    """Whether it may be the message that the other side breaks on."""
    return isinstance(error, urllib.error.HTTPError) and error.code not in BUSY

"""Sends one message after the other, each until it is accepted: at least once, and in order."""

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
LONGEST_RETRY_AFTER = 600.0
"""The longest pause, in seconds, that is made because the target asks for it (Retry-After). A target with a wrong clock
may ask for a year."""
CONTENT_REFUSED = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
)
"""Statuses that refuse this message because of its content. Every other refusal concerns the sender or the address."""
BUSY = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT)
"""Statuses that never depend on the message."""


class Sender:
    """Sends messages to one target, and counts them in `sent` and `refused`."""

    def __init__(
        self,
        target: Target,
        open_: Callable[..., Any],
        log: FilteringBoundLogger,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        give_up_seconds: float | None = None,
    ) -> None:
        """`give_up_seconds`: for how long a message is retried while each attempt is answered by an error status that
        may be the message's fault (5xx, except 503). None: without limit."""
        self._target, self._open, self._log = target, open_, log
        self._sleep, self._clock, self._give_up = sleep, clock, give_up_seconds
        self.sent = self.refused = 0
        self.stuck_since: float | None = None
        """Since when, by the clock, the current message has not been accepted; None while messages are accepted."""

    def send(self, message: Message, wanted: Callable[[], bool] = lambda: True) -> None:
        """Send the message until it is accepted, refused because of its content or, after a pause, no longer `wanted`.

        Raises:
            NotPermitted, ConfigurationError: the target accepts no message from this process.
            Incompatible: the message is of a later version of this program.
        """
        try:
            request = self._target.request(message)
        except Unfit as why:
            self._refuse(message, str(why))
            return
        try:
            self._until_accepted(request, message, wanted)
        finally:
            self.stuck_since = None

    def _until_accepted(self, request: Request, message: Message, wanted: Callable[[], bool]) -> None:
        pause, broken_since = FIRST_PAUSE, None
        while (error := self._attempt(request)) is not None:
            now = self._clock()
            self.stuck_since = now if self.stuck_since is None else self.stuck_since
            if not web.may_pass(error):
                return self._rejected(message, web.host_of(request.full_url), error)
            broken_since = (now if broken_since is None else broken_since) if _may_blame_message(error) else None
            if self._give_up is not None and broken_since is not None and now - broken_since >= self._give_up:
                _close(error)
                return self._refuse(message, f"{error}, for {now - broken_since:.0f} s")
            seconds = max(pause, min(web.asked_to_wait(error), LONGEST_RETRY_AFTER))
            _close(error)
            self._log.warning(
                "message not accepted, trying again",
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
        self._target.accepted(message)
        return None

    def _attempt(self, request: Request) -> Exception | None:
        """Return why the request was not accepted; None if it was. The body of the answer is not read, as it may have
        no end."""
        try:
            with self._open(request, timeout=web.TIMEOUT_SECONDS):
                return None
        except web.FAILURES as error:
            return error

    def resend(self, between: Callable[[], None] = lambda: None) -> None:
        """Send once more what the target may have forgotten, calling `between` before every part but the first. A part
        that is not accepted now is sent again the next time."""
        for part, request in enumerate(self._target.to_resend()):
            if part:
                between()
            if (error := self._attempt(request)) is not None:
                _close(error)
                self._log.warning("open episodes could not be sent again", reason=str(error))
                if web.may_pass(error):
                    return  # unreachable: the next part would wait as long

    def _rejected(self, message: Message, host: str, error: Exception) -> None:
        if not isinstance(error, urllib.error.HTTPError):
            raise ConfigurationError(
                f"{host}: {web.reason_of(error)}: name its certificate authority with --cafile"
            ) from error
        with error:
            if error.code in CONTENT_REFUSED:
                self._refuse(message, f"{error.code} {error.reason}: {_beginning_of(error)}")
            elif error.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                raise NotPermitted(f"{host} refuses access ({error.code}): give a login with --headers-file")
            else:
                raise ConfigurationError(
                    f"{host} answers {error.code} {error.reason}{web.moved_to(error, host_only=True)}"
                )

    def _refuse(self, message: Message, why: str) -> None:
        self.refused += 1
        self._log.error("message skipped", place=message.place, id=message.id, reason=why)


def _beginning_of(answer: urllib.error.HTTPError) -> str:
    """Return the beginning of the answer's body; "" where it does not arrive, which changes nothing about the answer."""
    try:
        return answer.read(1000).decode("utf-8", "replace")
    except web.FAILURES:
        return ""


def _close(error: Exception) -> None:
    """Close an error answer, which is an open response."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()


def _may_blame_message(error: Exception) -> bool:
    """Whether the target fails in a way that the message may have caused."""
    return isinstance(error, urllib.error.HTTPError) and error.code not in BUSY

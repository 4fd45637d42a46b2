"""One message after the other, each until it is taken: at least once, and in order."""

from __future__ import annotations

import time
import urllib.error
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from anomaly_daemon.errors import ConfigurationError, NotPermitted
from anomaly_daemon.forwarding.message import Message, Target, Unfit
from anomaly_daemon.transport import web

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
MESSAGE = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY)
"""Refusals that are of what was sent; all others are of who sends, and where."""


class Sender:
    """Counts what became of messages in `sent` and `refused`."""

    def __init__(
        self,
        target: Target,
        open_: Callable[..., Any],
        log: FilteringBoundLogger,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._target, self._open, self._log, self._sleep = target, open_, log, sleep
        self.sent = self.refused = 0

    def send(self, message: Message) -> None:
        """Until it is taken, or refused for what it is.

        Raises:
            NotPermitted, ConfigurationError: nothing will be taken from us, whatever it is.
        """
        try:
            request = self._target.request(message)
        except Unfit as why:
            self._refuse(message, str(why))
            return None
        pause = FIRST_PAUSE
        while True:
            try:
                with self._open(request, timeout=web.TIMEOUT_SECONDS) as answer:
                    answer.read()
            except web.FAILURES as error:
                if not web.may_pass(error):
                    return self._not_taken(message, web.host_of(request.full_url), error)
                self._log.warning("not taken, trying again", place=message.place, seconds=pause, reason=str(error))
            else:
                self.sent += 1
                return None
            self._sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def again(self) -> None:
        """What is to be told now and then, once: where it is not taken the next time will do."""
        request = self._target.again()
        if request is None:
            return
        try:
            with self._open(request, timeout=web.TIMEOUT_SECONDS) as answer:
                answer.read()
        except web.FAILURES as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            self._log.warning("open episodes were not taken again", reason=str(error))

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
                raise ConfigurationError(f"{host} answers {error.code} {error.reason}{web.moved_to(error)}")

    def _refuse(self, message: Message, why: str) -> None:
        self.refused += 1
        self._log.error("passed over", place=message.place, reason=why)

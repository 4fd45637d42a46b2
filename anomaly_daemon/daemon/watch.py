"""Follows the model that is to decide, beside the loop: looks up what the registry's alias stands for, reads that model
and tries it.

The registry may be away, slow or broken. The loop never waits for it, and goes on with the model it has.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from anomaly_daemon.daemon.metrics import Metrics
from anomaly_daemon.daemon.partition import Owned
from anomaly_daemon.daemon.policy import WatchPolicy
from anomaly_daemon.daemon.shadow import Shadow
from anomaly_daemon.daemon.succession import Deciding
from anomaly_daemon.errors import DaemonError, Incompatible, NoInput
from anomaly_daemon.transport.ports import Log

READ_SECONDS = 1.0
SPREAD_SECONDS = 1.0
"""After an announcement each daemon waits for a random part of this time before it reads the registry, so that not all
daemons that received it read at once."""


class Candidates(Protocol):
    """The registry, as the daemon uses it."""

    def named(self) -> str:
        """Return the digest of the model that is to decide; "" where there is none. Raises one of `errors`."""

    def prepared(self, digest: str) -> Deciding:
        """Load the model with this digest, verify it and try it. Raises Incompatible or NoInput, with the reason, for
        one that is refused."""


class ModelWatch:
    """Follows one alias of the registry on a thread. `ready` is written by a single assignment, and read by the loop."""

    def __init__(
        self,
        candidates: Candidates,
        running: str,
        policy: WatchPolicy,
        random: Callable[[], float],
        metrics: Metrics,
        log: FilteringBoundLogger,
        shadow: Shadow | None = None,
        announced: Log | None = None,
        *,
        decides: bool = True,
    ) -> None:
        """`running` is the digest of the model that the daemon starts with; `random` gives numbers between 0 and 1.
        `shadow` runs the challenger, with a watch of its own. `announced` is the log in which moves of the alias are
        announced as they are made. `decides`: whether the metric `registry_away` is about this alias. It is not about
        the challenger, which decides nothing."""
        self._decides = decides
        self._shadow, self._announced = shadow, announced
        self._candidates, self._policy, self._random = candidates, policy, random
        self._metrics, self._log = metrics, log
        self._judged = running
        """The digest that was judged last, even if it was refused: it is not judged again while the alias stays there."""
        self._away = False
        self._over = threading.Event()
        self.ready: Deciding | None = None

    def start(self) -> None:
        """Check the registry again and again on a thread, until closed."""
        threading.Thread(target=self._run, name="model-watch", daemon=True).start()
        if self._shadow is not None:
            self._shadow.watch.start()

    def close(self) -> None:
        """Ask the thread to end. It is not joined, because it may be waiting for a registry that never answers."""
        self._over.set()
        if self._shadow is not None:
            self._shadow.watch.close()

    @property
    def observers(self) -> list[Shadow]:
        """The observers that must see every live observation."""
        return [] if self._shadow is None else [self._shadow]

    def beside(self, live: Sequence[Owned], deciding: Deciding) -> None:
        """See `Watches`."""
        if self._shadow is not None:
            self._shadow.stand_beside(live, deciding)

    def _run(self) -> None:
        while not self._over.is_set():
            self._attempt(lambda: self._pause(self._policy.pause(self._random())))
            if not self._over.is_set():
                self._attempt(self.look)
        if self._announced is not None:
            self._announced.close()

    def _attempt(self, step: Callable[[], None]) -> None:
        """Do one step of the thread. An unexpected error is logged, since no other code would notice that this thread
        ended, and the next check comes all the same."""
        try:
            step()
        except Exception:
            self._log.exception("checking the registry failed because of a bug: the running model stays in use")
            self._set_away(away=True)
            self._over.wait(self._policy.pause(self._random()))

    def _pause(self, seconds: float) -> None:
        """Wait until the next check, or until a move is announced. After an announcement wait for a moment that differs
        between daemons."""
        if self._announced is None:
            self._over.wait(seconds)
            return
        while seconds > 0 and not self._over.is_set():
            step = min(seconds, READ_SECONDS)
            if self._is_announced(self._announced, step):
                self._over.wait(SPREAD_SECONDS * self._random())
                return
            seconds -= step

    def _is_announced(self, announced: Log, seconds: float) -> bool:
        """Whether anything was announced. Its content does not matter: the registry is what counts."""
        try:
            return bool(announced.read(seconds))
        except DaemonError:
            self._over.wait(seconds)
            return False

    def look(self) -> None:
        """Check the registry once."""
        try:
            digest = self._candidates.named()
            if digest != self._judged:
                self._judge(digest)
            self._set_away(away=False)
        except (Incompatible, NoInput) as error:
            self._report_away("the registry names no readable model", error)
        except DaemonError as error:
            self._report_away("the registry is unavailable", error)

    def _judge(self, digest: str) -> None:
        try:
            self.ready = self._candidates.prepared(digest) if digest else None
        except (Incompatible, NoInput) as error:
            self._metrics.count("models_refused_total")
            self._log.error("a model was refused: the running model stays in use", model=digest[:12], reason=str(error))
        self._judged = digest  # not reached for one that could not be read now: it is judged again

    def _report_away(self, what: str, error: DaemonError) -> None:
        """Report this in the log once, however long it lasts."""
        if not self._away:
            self._log.warning(f"{what}: the running model stays in use", error=str(error))
        self._set_away(away=True)

    def _set_away(self, *, away: bool) -> None:
        self._away = away
        if self._decides:
            self._metrics.set("registry_away", away)

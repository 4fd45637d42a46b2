"""Processes a batch: it advances the state, and leaves alerts and dead letters pending. It uses no transport and no
lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from structlog.typing import FilteringBoundLogger

from anomaly_daemon.daemon.cap import admit
from anomaly_daemon.daemon.commit import iso
from anomaly_daemon.daemon.crowding import Crowding
from anomaly_daemon.daemon.lateness import Lateness
from anomaly_daemon.daemon.measure import count_observations
from anomaly_daemon.daemon.metrics import Metrics
from anomaly_daemon.daemon.partition import Owned, cut
from anomaly_daemon.daemon.policy import Clocks, MinuteLimit, Policies, Window
from anomaly_daemon.detection.alert import Alert, Event
from anomaly_daemon.detection.detector import Status, Step
from anomaly_daemon.detection.observation import Observations
from anomaly_daemon.errors import TooManyMalformed
from anomaly_daemon.transport.codec import SKIPPED, Decoded
from anomaly_daemon.transport.dead_letters import dead_letter, of_record
from anomaly_daemon.transport.ports import Outgoing, RecordBatch
from anomaly_daemon.transport.rejection import Reason

Observer = Callable[[Observations, Step], None]


class Decodes(Protocol):
    def decode(self, batch: RecordBatch) -> Decoded: ...


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that becomes a dead letter, and why."""

    outgoing: Outgoing
    reason: str
    detail: str


class Intake:
    """Processes the batches of all partitions of one daemon."""

    def __init__(
        self,
        decoder: Decodes,
        policies: Policies,
        clocks: Clocks,
        metrics: Metrics,
        log: FilteringBoundLogger,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._decoder, self._clocks, self._metrics, self._observers = decoder, clocks, metrics, observers
        self._log, self._lateness = log, Lateness(clocks.monotonic, log)
        self._crowding = Crowding(clocks.monotonic, log)
        self._letters_limit = MinuteLimit(policies.dead_letters_per_minute)
        self._opened_limit = MinuteLimit(policies.alerts_per_minute)
        self._dead_letter_late = policies.dead_letter_late
        self._letters = self._opened = Window()

    def take(self, owned: Owned, batch: RecordBatch) -> None:
        """Process a batch, silently up to the committed position and live from there on. Each part is processed under
        the regime in force at its offsets."""
        places = () if owned.live else {owned.committed, *(regime.since for regime, _ in owned.ahead)}
        for part in cut(batch, places):
            if len(part):
                owned.reach(int(part.offsets[0]))
            if len(part) and part.offsets[0] >= owned.committed:
                owned.live = True
            if len(part):
                (self._detect if owned.live else self._replay)(owned, part)
            owned.position = part.next_offset
            owned.reach(owned.position)
            owned.live = owned.live or owned.position >= owned.committed
        owned.last_record = self._clocks.monotonic()
        owned.last_watermark = owned.detector.watermark

    def _replay(self, owned: Owned, batch: RecordBatch) -> None:
        """Rebuild the state. Alerts that this raises were reported by an earlier run of the process, and are dropped."""
        owned.detector.step(self._decoder.decode(batch).observations)
        owned.detector.evidence()  # dropped, like its alerts
        owned.last_append = int(batch.timestamps[-1])

    def _detect(self, owned: Owned, batch: RecordBatch) -> None:
        started, before = self._clocks.monotonic(), owned.detector.watermark
        decoded = self._decoder.decode(batch)
        observations = decoded.observations
        step = owned.detector.step(observations)
        self._metrics.observe("step_seconds", self._clocks.monotonic() - started)
        self._metrics.count("records_total", len(batch))
        count_observations(self._metrics, observations, step)
        self._lateness.note(owned, observations, step.scores, before)
        self._crowding.note(owned.partition, step.crowded_out, owned.detector.streams)
        for reason in SKIPPED:
            self._metrics.count("passed_over_total", decoded.counts.get(reason, 0), reason=reason)
        owned.pending.events += max(len(batch), len(observations))
        owned.last_append = int(batch.timestamps[-1])
        letters = [*_rejected(batch, decoded), *(_late(batch, observations, step) if self._dead_letter_late else ())]
        self._put_aside(owned, letters)
        self.admit(owned, step.alerts)
        for observe in self._observers:
            observe(observations, step)

    def _put_aside(self, owned: Owned, letters: Sequence[Refused]) -> None:
        """Put dead letters among the pending results, up to the limit per minute. Past it the fault is taken to be the
        configuration's and not the records': TooManyMalformed is raised, and this batch is not committed."""
        if not letters:
            return
        for letter in letters:
            self._metrics.count("dead_letters_total", reason=letter.reason)
        self._letters = self._letters_limit.add(self._letters, len(letters), now=self._clocks.monotonic())
        if self._letters.count == len(letters):  # the first of its minute stands for all of them
            first = of_record(letters[0].outgoing)
            where = {"partition": f"{first.topic}-{first.partition}", "offset": int(first.offset)}
            self._log.info("dead letters", **where, reason=first.reason, detail=first.detail)
        if self._letters_limit.passed(self._letters):
            raise TooManyMalformed(
                f"{self._letters.count} records were refused within a minute, the last one as {letters[-1].reason} "
                f"({letters[-1].detail}): correct the stream section, or raise limits.dead_letters_per_minute"
            )
        owned.pending.dead_letters += [letter.outgoing for letter in letters]

    def admit(self, owned: Owned, alerts: Sequence[Alert]) -> None:
        """Put alerts, up to the alert cap, among the pending results, with the time at which they were detected."""
        admitted = admit(alerts, owned.held, self._opened, self._opened_limit, self._clocks.monotonic())
        self._opened, owned.held = admitted.window, admitted.held
        owned.unreported += admitted.held_back
        self._metrics.count("alerts_held_back_total", admitted.held_back)
        detected, evidence = iso(self._clocks.wall()), owned.detector.evidence()
        opened = [alert.alert_id for alert in admitted.alerts if alert.event is Event.OPEN]
        owned.pending.evidence.update({name: evidence[name] for name in opened if name in evidence})
        for alert in admitted.alerts:
            owned.pending.alerts.append(replace(alert, times=replace(alert.times, detected=detected)))


def _rejected(batch: RecordBatch, decoded: Decoded) -> Iterator[Refused]:
    for one in decoded.rejected:
        yield Refused(dead_letter(batch, one.row, one.reason, one.detail, "decode"), one.reason, one.detail)


def _late(batch: RecordBatch, observations: Observations, step: Step) -> Iterator[Refused]:
    """Yield a dead letter for each message with a late record, once however many of its records are late. Where it holds
    several records, the detail says how many are late: the others were scored, and must not be sent again."""
    late_N = step.scores.status_N == Status.LATE
    offsets, late = np.unique(observations.offset_N[late_N], return_counts=True)
    first, behind = (np.searchsorted(observations.offset_N, offsets, side) for side in ("left", "right"))
    rows = np.searchsorted(batch.offsets, offsets)
    for row, count, records in zip(rows.tolist(), late.tolist(), (behind - first).tolist(), strict=True):
        detail = "older than its stream's newest record" + (f": {count} of {records} records" if records > 1 else "")
        yield Refused(dead_letter(batch, row, Reason.LATE, detail, "detect"), Reason.LATE, detail)

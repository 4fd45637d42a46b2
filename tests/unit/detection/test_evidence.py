"""The stored evidence of an episode: its stream's row and the watermark, as they were before the record that opened it."""

from __future__ import annotations

import numpy as np
import pytest
from streams import MINUTE, START, detector, observations

from anomaly_daemon.detection.alert import Alert, Event, Kind
from anomaly_daemon.detection.detector import Detector, Exported
from anomaly_daemon.detection.evidence import Evidence
from anomaly_daemon.detection.observation import Int64, Observations
from anomaly_daemon.detection.rules import Rules

RULES = Rules(alarms_per_day=20.0, grace_events=20)


def troubled(streams: int = 3, events: int = 240) -> Observations:
    """Return interleaved noisy waves. At event 120 `s0` runs high, and from 150 on `s1` sends nothing for 40 minutes."""
    generator = np.random.default_rng(4)
    keys, times, values = [], [], []
    for at in range(events):
        for stream in range(streams):
            if stream == 1 and 150 <= at < 190:
                continue
            high = 30.0 * (stream == 0 and 120 <= at < 126)
            keys.append(f"s{stream}")
            times.append(at)
            values.append([10 + high + generator.normal(0, 0.3), 5 + np.sin(at / 20) + generator.normal(0, 0.1)])
    return observations(keys, times, values)


def opened(alerts: list[Alert]) -> list[Alert]:
    return [alert for alert in alerts if alert.event is Event.OPEN]


def in_batches(made: Detector, whole: Observations, size: int) -> tuple[list[Alert], dict[str, Evidence]]:
    alerts: list[Alert] = []
    kept: dict[str, Evidence] = {}
    for start in range(0, len(whole), size):
        alerts += made.step(whole.take(slice(start, start + size))).alerts
        kept |= made.evidence()
    return alerts, kept


def begun_at(evidence: Evidence) -> Detector:
    """Return a detector that has nothing but this evidence."""
    made = detector(rules=RULES)
    arrays = {"carried": evidence.row.carried_BP, "statistics": evidence.row.statistics_BQ}
    made.restore(Exported([evidence.key], arrays, {"watermark": evidence.watermark}))
    made.watermark = evidence.watermark
    return made


def own(whole: Observations, evidence: Evidence) -> Int64:
    return np.flatnonzero(whole.offset_N >= evidence.offset)


def test_every_opened_episode_has_its_evidence_and_no_other_message_has() -> None:
    alerts, kept = in_batches(detector(rules=RULES), troubled(), 100)
    assert {alert.kind for alert in opened(alerts)} >= {Kind.PATTERN, Kind.SILENCE}
    assert set(kept) == {alert.alert_id for alert in opened(alerts)}


def test_evidence_is_given_once() -> None:
    made = detector(rules=RULES)
    made.step(troubled())
    assert made.evidence()
    assert made.evidence() == {}


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_batches_do_not_change_what_an_episode_is_computed_from(size: int) -> None:
    """The rows may differ with the batch size: a timer that expired at the end of a batch is already handled in the
    row, or expires again. The results must not differ."""
    whole = troubled()
    alerts, kept = in_batches(detector(rules=RULES), whole, size)
    for alert in opened(alerts):
        evidence = kept[alert.alert_id]
        again = begun_at(evidence).step(whole.take(own(whole, evidence))).alerts
        mine = [one for one in again if one.alert_id == alert.alert_id]
        assert mine == [one for one in alerts if one.alert_id == alert.alert_id]


def test_a_silence_that_the_clock_raised_says_so() -> None:
    made = detector(rules=RULES)
    whole = troubled(streams=1, events=100)
    made.step(whole)
    made.evidence()
    (alert,) = made.advance(START + 1000 * MINUTE)
    (evidence,) = made.evidence().values()
    assert evidence.clock == START + 1000 * MINUTE
    assert evidence.offset == int(whole.offset_N[-1])
    again = begun_at(evidence)
    again.watermark, again.last_offset = min(evidence.watermark, START + 999 * MINUTE), evidence.offset
    assert again.advance(START + 1000 * MINUTE) == [alert]

"""The loop over the memory transport: dead letters, idle timers and the cap on alerts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
import structlog
from crashing import (
    BUCKETS,
    ENDLESS,
    POLICIES,
    TOPIC,
    ZERO,
    Clock,
    Life,
    alerts,
    dead_letters,
    filled,
    life,
    ran,
    turned,
)
from structlog.testing import capture_logs

from anomaly_daemon.daemon.commit import Outbox
from anomaly_daemon.daemon.policy import SnapshotPolicy
from anomaly_daemon.errors import TooManyMalformed
from anomaly_daemon.settings import LimitSettings, StreamSettings
from anomaly_daemon.transport.alert_codec import encode
from anomaly_daemon.transport.codec import Decoder
from anomaly_daemon.transport.memory import MemoryBroker, MemorySnapshots, Stored
from anomaly_daemon.transport.ports import Partition


def test_a_record_that_cannot_be_read_is_dead_lettered_once_with_its_origin() -> None:
    broker = filled([("a", 1), ("a", -1), ("a", 2)])
    one = ran(broker)
    (letter,) = broker.records("anomaly-dead-letters")
    assert (letter.key, letter.value) == (b"a", b"?")
    assert dict(letter.headers)["dead_letter_offset"] == b"1"
    assert one.worker.metrics.value("dead_letters_total", reason="empty") == 1


def test_too_many_unreadable_records_in_a_minute_end_the_daemon_uncommitted() -> None:
    broker = filled([("a", 1), ("a", -1), ("a", -1), ("a", -1)])
    with pytest.raises(TooManyMalformed, match=r"3 records.*dead_letters_per_minute"):
        ran(broker, policies=replace(POLICIES, dead_letters_per_minute=2), max_records=1)
    assert b"3" not in dead_letters(broker)
    assert broker.positions[ZERO] <= 3


def test_unreadable_records_spread_over_minutes_do_not_end_it() -> None:
    broker = filled([("a", -1)] * 6)
    ran(broker, policies=replace(POLICIES, dead_letters_per_minute=2), max_records=1, clock=Clock(step=10.0))
    assert len(dead_letters(broker)) == 6


def test_one_unreadable_record_a_minute_is_logged_and_stands_for_the_others() -> None:
    one = life(filled([("a", -1), ("a", 1)] + [("a", -1)] * 9), max_records=1, clock=Clock(step=1.0))
    one.worker._intake._log = structlog.get_logger()
    with capture_logs() as logs:
        one.worker.run()
    told = [line for line in logs if line["event"] == "dead letters"]
    assert 1 < len(told) < 10
    assert told[0] == {
        "event": "dead letters",
        "log_level": "info",
        "partition": f"{TOPIC}-0",
        "offset": 0,
        "reason": "empty",
        "detail": told[0]["detail"],
    }
    assert len({line["offset"] for line in told}) == len(told)


def late(policy: bool) -> MemoryBroker:
    broker = MemoryBroker()
    broker.create(TOPIC)
    broker.produce(ZERO, [Stored(time, b"a", b"1") for time in (5, 9, 3, 4, 10)])
    ran(broker, policies=replace(POLICIES, dead_letter_late=policy))
    return broker


def test_late_records_are_dead_lettered_where_the_policy_says_so() -> None:
    broker = late(True)
    assert dead_letters(broker) == [b"2", b"3"]
    (letter, _) = broker.records("anomaly-dead-letters")
    assert dict(letter.headers)["dead_letter_reason"] == b"late"
    assert dict(letter.headers)["dead_letter_stage"] == b"detect"


def test_a_message_is_one_dead_letter_that_says_how_many_of_its_records_are_late() -> None:
    broker = MemoryBroker()
    broker.create(TOPIC)
    for times in ([5], [3, 9, 4], [9], [2], [12]):
        text = json.dumps([{"s": "a", "t": time, "v": time} for time in times])
        broker.produce(ZERO, [Stored(10, None, text.encode())])
    one = life(broker, policies=replace(POLICIES, dead_letter_late=True), max_records=10)
    stream = StreamSettings(unnest=".", key=["s"], time="t", time_unit="us", numeric=["v"])
    one.worker._intake._decoder = Decoder(stream, LimitSettings())
    one.worker.run()
    letters = [dict(letter.headers) for letter in broker.records("anomaly-dead-letters")]
    said = "older than its stream's newest record"
    assert [(one["dead_letter_offset"], one["dead_letter_detail"].decode()) for one in letters] == [
        (b"1", f"{said}: 2 of 3 records"),
        (b"3", said),
    ]
    assert one.worker.metrics.value("dead_letters_total", reason="late") == 2
    assert one.worker.metrics.value("unscored_total", reason="late") == 3


def test_late_records_are_only_counted_otherwise() -> None:
    assert dead_letters(late(False)) == []


def idle(**changes: object) -> tuple[MemoryBroker, Clock, Life]:
    broker = MemoryBroker()
    broker.create(TOPIC)
    broker.produce(ZERO, [Stored(1_000_000, b"a", b"1")])
    clock = Clock(step=0.0)
    settings = replace(ENDLESS, idle_timers=True, **changes)  # type: ignore[arg-type]
    return broker, clock, life(broker, policies=settings, clock=clock, finite=False)


def pass_time(one: Life, clock: Clock, seconds: float, turns: int = 3) -> None:
    clock.now += seconds
    for _ in range(turns):
        one.worker.turn()


def test_a_silent_partition_raises_its_silence_by_the_time_since_its_last_record() -> None:
    broker, clock, one = idle()
    turned(one, 2)
    pass_time(one, clock, 999.0)
    assert alerts(broker) == []
    pass_time(one, clock, 2.0)
    assert alerts(broker) == ["readings-0-0-a-silence/open"]


def test_the_time_that_a_take_over_took_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may wait for other partitions, and for a broker that is away: no record could be read then."""
    broker, clock, one = idle()
    turned(one, 2).worker.finish()  # all of the state, so that nothing is replayed
    again = life(broker, policies=replace(ENDLESS, idle_timers=True), clock=clock, finite=False)
    store, load = again.worker._ports.snapshots, MemorySnapshots(broker).load

    def slowly(partition: Partition) -> Mapping[bytes, bytes]:
        clock.now += 5000.0
        return load(partition)

    monkeypatch.setattr(store, "load", slowly, raising=False)
    turned(again, 3)
    assert again.worker.metrics.value("records_total") == 0
    assert again.worker.progress.running == 1
    pass_time(again, clock, 999.0)
    assert alerts(broker) == []
    pass_time(again, clock, 2.0)
    assert alerts(broker) == ["readings-0-0-a-silence/open"]


def test_an_alert_of_the_clock_is_not_told_again_after_a_restart() -> None:
    broker, clock, one = idle(snapshot=SnapshotPolicy(1e9, BUCKETS))
    turned(one, 2)
    pass_time(one, clock, 1001.0)
    again = life(
        broker,
        policies=replace(ENDLESS, idle_timers=True, snapshot=SnapshotPolicy(1e9, BUCKETS)),
        clock=clock,
        finite=False,
    )
    turned(again, 2)
    pass_time(again, clock, 5000.0)
    assert alerts(broker) == ["readings-0-0-a-silence/open"]


def test_the_clock_raises_nothing_for_a_finite_source() -> None:
    broker, clock, one = idle()
    quiet = life(broker, policies=ENDLESS, clock=clock, finite=False)
    turned(quiet, 2)
    pass_time(quiet, clock, 9999.0)
    assert alerts(broker) == []
    assert one.worker.progress.running == 0


def test_the_clock_raises_nothing_while_records_are_waiting() -> None:
    broker, clock, one = idle()
    turned(one, 2)
    broker.produce(ZERO, [Stored(2_000_000, b"a", b"1")])
    one.source.pause([ZERO])
    pass_time(one, clock, 9999.0)
    assert alerts(broker) == []


def storm(broker: MemoryBroker, opens: int) -> None:
    broker.create(TOPIC)
    broker.produce(ZERO, [Stored(at, f"s{at}".encode(), b"150") for at in range(opens)])


def digests(broker: MemoryBroker) -> list[int]:
    told = [
        record for record in broker.records("anomaly-alerts") if b"digest" in dict(record.headers).get("ce_type", b"")
    ]
    return [json.loads(record.value or b"")["digest"]["held_back"] for record in told]


def test_past_the_cap_a_digest_tells_how_many_alerts_were_held_back() -> None:
    broker = MemoryBroker()
    storm(broker, 20)
    one = ran(broker, policies=replace(POLICIES, alerts_per_minute=5), clock=Clock(step=0.001))
    assert len(alerts_without_digests(broker)) == 5
    assert sum(digests(broker)) == 15
    assert one.worker.metrics.value("alerts_held_back_total") == 15


def alerts_without_digests(broker: MemoryBroker) -> list[str]:
    return [(r.value or b"").decode() for r in broker.records("anomaly-alerts") if not r.headers]


def test_digests_come_at_most_once_a_minute() -> None:
    broker = MemoryBroker()
    storm(broker, 40)
    clock = Clock(step=0.0)
    one = life(broker, policies=replace(ENDLESS, alerts_per_minute=1), clock=clock, max_records=4, finite=False)
    turned(one, 12)
    assert len(digests(broker)) == 1
    pass_time(one, clock, 61.0)
    assert len(digests(broker)) == 2
    assert sum(digests(broker)) == 39


def test_two_digests_at_one_place_have_ids_of_their_own() -> None:
    """A plant that falls silent as a whole has more alerts held back a minute later, with no record in between."""
    one = life(filled())
    turned(one, 2)
    outbox, owned = Outbox("plant", encode, lambda: 0.0), list(one.worker._members.owned.values())
    ids = [
        dict(outbox.digest(9, owned, published).headers)["ce_id"]
        for published in ("2026-01-02T03:05", "2026-01-02T03:06")
    ]
    assert len(set(ids)) == 2
    assert all(one.startswith(b"plant/digest/readings/0/") for one in ids)


def test_what_was_held_back_survives_a_restart() -> None:
    broker = MemoryBroker()
    storm(broker, 12)
    clock = Clock(step=0.0)
    capped = replace(ENDLESS, alerts_per_minute=1)
    turned(life(broker, policies=capped, clock=clock, max_records=4, finite=False), 6)
    broker.produce(ZERO, [Stored(99, b"s11", b"1"), Stored(99, b"s0", b"1")])  # ends one held back and one published
    ran(broker, policies=capped, clock=clock)
    assert alerts_without_digests(broker) == ["readings-0-0-s0-pattern/open", "readings-0-0-s0-pattern/close"]
    assert sum(digests(broker)) == 12  # eleven opens and a close

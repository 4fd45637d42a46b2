from __future__ import annotations

from dataclasses import replace

import pytest

from anomaly_daemon.checkpoint.snapshot import Bucket, Corrupt, Ledger, Make, bucket_records, ledger_record
from anomaly_daemon.daemon.takeover import Found, Outcome, plan
from anomaly_daemon.detection.detector import Exported
from anomaly_daemon.errors import Incompatible

MAKE = Make("model-1", 1, {"stream.key": "id"})
LEDGER = Ledger(MAKE, 100, (80, 90, 100), ("alert-1",), 2)


def store(ledger: Ledger | None = LEDGER, *buckets: Bucket) -> dict[bytes, bytes]:
    records = [record for bucket in buckets for record in bucket_records(bucket)]
    records += [ledger_record(ledger)] if ledger else []
    return {record.key: record.value for record in records if record.key and record.value}


def bucket(number: int, position: int, make: Make = MAKE) -> Bucket:
    return Bucket(make, number, position, Exported(["a"], {}, {"watermark": 1}))


FOUND = Found(committed=100, start=0, beginning=0, stored=store(LEDGER, bucket(0, 80), bucket(1, 70)))


def test_nothing_known_begins_where_the_policy_says_and_is_fresh() -> None:
    taken = plan(Found(None, start=42, beginning=10, stored={}), MAKE, 3)
    assert (taken.outcome, taken.seek, taken.committed, taken.floors) == (Outcome.FRESH, 42, 42, (42, 42, 42))
    assert taken.records_lost == 0


def test_a_restore_begins_at_the_lowest_floor_and_goes_live_at_the_committed_position() -> None:
    taken = plan(FOUND, MAKE, 3)
    assert (taken.outcome, taken.seek, taken.committed) == (Outcome.RESTORED, 80, 100)
    assert taken.floors == (80, 90, 100)
    assert [one.bucket for one in taken.buckets] == [0, 1]
    assert (taken.held, taken.unreported) == (("alert-1",), 2)
    assert (taken.stale, taken.records_lost) == ((), 0)


def test_an_expired_group_offset_is_taken_from_the_ledger() -> None:
    taken = plan(replace(FOUND, committed=None, start=0), MAKE, 3)
    assert (taken.committed, taken.seek, taken.outcome) == (100, 80, Outcome.RESTORED)


def test_snapshots_that_are_gone_are_a_loss_that_is_named() -> None:
    taken = plan(replace(FOUND, stored={}), MAKE, 3)
    assert (taken.outcome, taken.seek, taken.floors) == (Outcome.LOST, 100, (100, 100, 100))


def test_a_deployment_without_snapshots_loses_nothing_it_was_promised() -> None:
    assert plan(replace(FOUND, stored=None), MAKE, 3).outcome is Outcome.FRESH


def test_another_model_begins_anew_and_deletes_the_old_state() -> None:
    taken = plan(FOUND, replace(MAKE, model="model-2"), 3)
    assert (taken.outcome, taken.seek, taken.committed) == (Outcome.REBUILT, 100, 100)
    assert taken.buckets == ()
    assert taken.stale == (b"bucket/0/0", b"bucket/1/0")
    assert taken.floors == (100, 100, 100)


def test_another_configuration_is_refused_with_what_to_do() -> None:
    with pytest.raises(Incompatible, match=r"stream\.key was 'id' and is 'machine'.*snapshot\.topic"):
        plan(FOUND, replace(MAKE, decides={"stream.key": "machine"}), 3)


def test_a_group_offset_moved_back_is_refused_with_what_to_do() -> None:
    with pytest.raises(Incompatible, match=r"moved back.*snapshot\.topic"):
        plan(replace(FOUND, committed=99), MAKE, 3)


def test_a_group_offset_moved_forward_is_followed() -> None:
    assert plan(replace(FOUND, committed=500), MAKE, 3).committed == 500


def test_buckets_without_a_ledger_are_refused() -> None:
    with pytest.raises(Corrupt, match="no ledger"):
        plan(replace(FOUND, stored=store(None, bucket(0, 80))), MAKE, 3)


def test_a_bucket_ahead_of_the_ledger_or_of_another_make_is_refused() -> None:
    for wrong in (bucket(0, 81), bucket(0, 80, replace(MAKE, model="model-0"))):
        with pytest.raises(Corrupt, match="not of one commit"):
            plan(replace(FOUND, stored=store(LEDGER, wrong)), MAKE, 3)


def test_another_number_of_buckets_is_refused() -> None:
    with pytest.raises(Corrupt, match="3 buckets instead of 4"):
        plan(FOUND, MAKE, 4)


def test_records_that_retention_took_from_the_replay_are_counted() -> None:
    taken = plan(replace(FOUND, beginning=95), MAKE, 3)
    assert (taken.seek, taken.committed, taken.records_lost) == (95, 100, 15)


def test_records_that_retention_took_unread_are_counted() -> None:
    taken = plan(replace(FOUND, beginning=130), MAKE, 3)
    assert (taken.seek, taken.committed, taken.records_lost) == (130, 130, 50)
    fresh = plan(Found(100, 0, 130, None), MAKE, 3)
    assert (fresh.seek, fresh.committed, fresh.records_lost) == (130, 130, 30)

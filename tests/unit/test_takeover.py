from __future__ import annotations

from dataclasses import replace

import pytest

from anomaly_daemon.checkpoint.envelope import Corrupt
from anomaly_daemon.checkpoint.ledger import Author, Ledger, Regime, decode_ledger, model_records
from anomaly_daemon.checkpoint.snapshot import Bucket, Make, bucket_records
from anomaly_daemon.daemon.takeover import Found, Outcome, TakeOver, plan, regime_of
from anomaly_daemon.detection.detector import Exported
from anomaly_daemon.errors import Incompatible

MAKE = Make("model-1", 1, {"stream.key": "id"})
OURS = Regime(0, "model-1", {"limit": 1})
LEDGER = Ledger(MAKE, 100, (80, 90, 100), (8, 9, 10), (80, 70, -1), (OURS,), ("alert-1",), 2)


def planned(found: Found, make: Make = MAKE, ours: Regime = OURS, buckets: int = 3) -> TakeOver:
    own = None if found.stored is None else dict(found.stored)
    return plan(replace(found, stored=own), make, ours, buckets)


def store(ledger: Ledger | None = LEDGER, *buckets: Bucket) -> dict[bytes, bytes]:
    records = [record for bucket in buckets for record in bucket_records(bucket)]
    records += Author(topic_id=ledger.topic_id).records(ledger) if ledger else []
    return {record.key: record.value for record in records if record.key and record.value}


def bucket(number: int, position: int, make: Make = MAKE) -> Bucket:
    return Bucket(make, number, position, Exported(["a"], {}))


FOUND = Found(committed=100, start=0, beginning=0, stored=store(LEDGER, bucket(0, 80), bucket(1, 70)))


def test_nothing_known_begins_where_the_policy_says_and_is_fresh() -> None:
    taken = planned(Found(None, start=42, beginning=10, stored={}))
    assert (taken.outcome, taken.seek, taken.committed, taken.floors) == (Outcome.FRESH, 42, 42, (42, 42, 42))
    assert taken.records_lost == 0


def test_a_restore_begins_at_the_lowest_floor_and_goes_live_at_the_committed_position() -> None:
    taken = planned(FOUND)
    assert (taken.outcome, taken.seek, taken.committed) == (Outcome.RESTORED, 80, 100)
    assert taken.floors == (80, 90, 100)
    assert [one.bucket for one in taken.buckets] == [0, 1]
    assert (taken.held, taken.unreported) == (("alert-1",), 2)
    assert taken.records_lost == 0


def test_an_expired_group_offset_is_taken_from_the_ledger() -> None:
    taken = planned(replace(FOUND, committed=None, start=0))
    assert (taken.committed, taken.seek, taken.outcome) == (100, 80, Outcome.RESTORED)


def test_snapshots_that_are_gone_are_a_loss_that_is_named() -> None:
    taken = planned(replace(FOUND, stored={}))
    assert (taken.outcome, taken.seek, taken.floors) == (Outcome.LOST, 100, (100, 100, 100))


def test_a_deployment_without_snapshots_loses_nothing_it_was_promised() -> None:
    assert planned(replace(FOUND, stored=None)).outcome is Outcome.FRESH


def test_the_replay_begins_at_the_event_time_of_the_lowest_floor() -> None:
    ledger = replace(LEDGER, floors=(90, 80, 100), watermarks=(9, 8, 10), stored=(-1, -1, -1))
    assert planned(replace(FOUND, stored=store(ledger))).watermark == 8


@pytest.mark.parametrize("ours", [replace(OURS, model="model-2"), replace(OURS, rules={"limit": 2})])
def test_another_model_or_other_rules_are_in_force_from_the_committed_position_on(ours: Regime) -> None:
    taken = planned(FOUND, replace(MAKE, model=ours.model), ours)
    assert (taken.outcome, taken.seek, taken.committed) == (Outcome.CHANGED, 80, 100)
    assert taken.regimes == (OURS, replace(ours, since=100))
    assert [one.bucket for one in taken.buckets] == [0, 1]


def test_the_keys_of_stored_models_are_known_so_that_they_can_be_deleted() -> None:
    stored = dict(FOUND.stored or {})
    stored |= {record.key or b"": record.value or b"" for record in model_records("model-1", bytes(2_000_000))}
    assert planned(replace(FOUND, stored=stored)).models == {
        "model-1": [b"model/model-1/0", b"model/model-1/1", b"model/model-1/2"]
    }


def test_a_bucket_belongs_to_the_newest_regime_of_its_model_that_had_begun() -> None:
    other = replace(MAKE, model="model-2")
    regimes = (OURS, Regime(70, "model-2", {}), Regime(90, "model-1", {}))
    assert regime_of(bucket(0, 70), regimes) == 0
    assert regime_of(bucket(0, 70, other), regimes) == 1
    assert regime_of(bucket(0, 90, other), regimes) == 1
    assert regime_of(bucket(0, 89), regimes) == 0
    assert regime_of(bucket(0, 90), regimes) == 2
    with pytest.raises(Corrupt, match="does not name"):
        regime_of(bucket(0, 90, replace(MAKE, model="model-3")), regimes)


def test_another_configuration_is_refused_with_what_to_do() -> None:
    with pytest.raises(Incompatible, match=r"stream\.key was 'id' and is 'machine'.*snapshot\.topic"):
        planned(FOUND, replace(MAKE, decides={"stream.key": "machine"}))


def test_a_topic_that_was_made_anew_is_refused_though_it_holds_as_many_records() -> None:
    of_one = store(replace(LEDGER, topic_id="one"), bucket(0, 80), bucket(1, 70))
    with pytest.raises(Incompatible, match=r"was recreated since.*kafka\.group_id and snapshot\.topic"):
        planned(replace(FOUND, stored=of_one, topic_id="other"))
    assert planned(replace(FOUND, stored=of_one, topic_id="one")).author.topic_id == "one"


@pytest.mark.parametrize(("was", "now"), [("", "one"), ("one", ""), ("", "")])
def test_where_a_topics_id_is_not_known_its_offsets_are_believed(was: str, now: str) -> None:
    """Older releases stored no id, and older brokers have none."""
    stored = store(replace(LEDGER, topic_id=was), bucket(0, 80), bucket(1, 70))
    taken = planned(replace(FOUND, stored=stored, topic_id=now))
    assert (taken.outcome, taken.author.topic_id) == (Outcome.RESTORED, now)


def test_the_first_ledger_names_the_topic() -> None:
    taken = planned(Found(None, start=0, beginning=0, stored={}, topic_id="one"))
    (record,) = taken.author.records(LEDGER)
    assert decode_ledger(record.value or b"") == replace(LEDGER, topic_id="one")


def test_a_group_offset_moved_back_is_refused_with_what_to_do() -> None:
    with pytest.raises(Incompatible, match=r"moved back.*snapshot\.topic"):
        planned(replace(FOUND, committed=99))


def test_a_group_offset_moved_forward_is_followed() -> None:
    assert planned(replace(FOUND, committed=500)).committed == 500


def test_buckets_without_a_ledger_are_refused() -> None:
    with pytest.raises(Corrupt, match="no ledger"):
        planned(replace(FOUND, stored=store(None, bucket(0, 80))))


def test_a_bucket_ahead_of_the_ledger_or_of_another_make_is_refused() -> None:
    commit, settings = "are not from the same commit", "were written under different settings"
    others = ((bucket(0, 81), commit), (bucket(0, 79), commit), (bucket(0, 80, replace(MAKE, decides={})), settings))
    for wrong, why in others:
        with pytest.raises(Corrupt, match=why):
            planned(replace(FOUND, stored=store(LEDGER, wrong, bucket(1, 70))))


def test_a_bucket_that_the_ledger_names_and_nobody_has_is_refused() -> None:
    for atomic in (True, False):
        with pytest.raises(Corrupt, match="bucket 1"):
            planned(replace(FOUND, stored=store(replace(LEDGER, atomic=atomic), bucket(0, 80))))


def loose(*buckets: Bucket) -> TakeOver:
    return planned(replace(FOUND, stored=store(replace(LEDGER, atomic=False), *buckets)))


def marked(number: int, position: int, slot: int = 0) -> Bucket:
    return Bucket(MAKE, number, position, Exported(["a"], {}, {"watermark": position // 10}), slot)


def test_without_transactions_a_version_the_ledger_knows_has_the_ledgers_floor() -> None:
    taken = loose(marked(0, 80), marked(1, 70))
    assert (taken.floors, taken.watermarks, taken.stored) == ((80, 90, 100), (8, 9, 10), (80, 70, -1))


@pytest.mark.parametrize("position", [60, 75, 95])
def test_without_transactions_any_other_version_says_itself_where_it_stands(position: int) -> None:
    taken = loose(marked(0, 80), marked(1, position))
    assert (taken.floors, taken.watermarks) == ((80, position, 100), (8, position // 10, 10))
    assert taken.seek == min(80, position)


@pytest.mark.parametrize("extra", [{}, {"watermark": float("inf")}, {"watermark": float("nan")}, {"watermark": -1}])
def test_without_transactions_a_version_that_does_not_say_its_event_time_is_refused(extra: dict[str, float]) -> None:
    with pytest.raises(Corrupt, match="event time"):
        loose(marked(0, 80), Bucket(MAKE, 1, 75, Exported(["a"], {}, extra)))


def test_of_two_versions_the_newest_that_is_not_ahead_of_the_committed_offset_is_taken() -> None:
    taken = loose(marked(0, 80), marked(1, 70), marked(1, 95, slot=1))
    assert (taken.stored, taken.versions) == ((80, 95, -1), {0: (0, 0), 1: (1, 0)})
    taken = loose(marked(0, 80), marked(1, 70), marked(1, 101, slot=1))
    assert (taken.stored, taken.versions) == ((80, 70, -1), {0: (0, 0), 1: (0, 0)})


def test_of_two_versions_at_one_offset_the_later_one_is_taken() -> None:
    for later in (0, 1):
        two = [replace(marked(1, 70, slot), turn=3 + (slot == later)) for slot in (0, 1)]
        assert loose(marked(0, 80), *two).versions == {0: (0, 0), 1: (later, 4)}


def test_without_transactions_a_first_version_that_was_cut_short_is_none() -> None:
    whole = marked(2, 100)
    parts = {record.key or b"": record.value or b"" for record in bucket_records(whole, part_bytes=100)}
    torn = dict(list(parts.items())[:-1])
    stored = store(replace(LEDGER, atomic=False), marked(0, 80), marked(1, 70))
    taken = planned(replace(FOUND, stored=stored | torn))
    assert (taken.stored, taken.floors) == ((80, 70, -1), (80, 90, 100))
    with pytest.raises(Corrupt, match="cut short"):
        planned(replace(FOUND, stored=store(LEDGER, marked(0, 80), marked(1, 70)) | torn))
    known = replace(LEDGER, atomic=False, stored=(80, 70, 100))
    with pytest.raises(Corrupt, match="bucket 2, which the ledger names, is gone or cut short"):
        planned(replace(FOUND, stored=store(known, marked(0, 80), marked(1, 70)) | torn))


def test_a_ledger_ahead_of_the_committed_offset_by_what_retention_took_is_no_offset_moved_back() -> None:
    taken = planned(replace(FOUND, committed=50, beginning=100))
    assert (taken.outcome, taken.seek, taken.committed) == (Outcome.RESTORED, 100, 100)


def test_another_number_of_buckets_is_refused() -> None:
    with pytest.raises(Corrupt, match="3 buckets instead of 4"):
        planned(FOUND, buckets=4)


def test_records_that_retention_took_from_the_replay_are_counted() -> None:
    taken = planned(replace(FOUND, beginning=95))
    assert (taken.seek, taken.committed, taken.records_lost) == (95, 100, 15)


def test_records_that_retention_took_unread_are_counted() -> None:
    taken = planned(replace(FOUND, beginning=130))
    assert (taken.seek, taken.committed, taken.records_lost) == (130, 130, 50)
    fresh = planned(Found(100, 0, 130, None))
    assert (fresh.seek, fresh.committed, fresh.records_lost) == (130, 130, 30)

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anomaly_daemon import bootstrap
from anomaly_daemon.bootstrap import build_worker, heard_topics, make_of, policies_of
from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.checkpoint.snapshot import PLACES
from anomaly_daemon.compute import placement_of
from anomaly_daemon.configuration import load
from anomaly_daemon.daemon.policy import SnapshotPolicy
from anomaly_daemon.detection.detector import Step
from anomaly_daemon.detection.observation import Direction, Observations
from anomaly_daemon.detection.placement import Placement
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.errors import ConfigurationError, Incompatible
from anomaly_daemon.regime import PartitionDetectors, decisions_of, rules_of, stored_rules
from anomaly_daemon.settings import PRETRAINED, Settings
from anomaly_daemon.transport.memory import MemoryBroker, MemoryDelivery, MemorySnapshots, MemorySource, Stored
from anomaly_daemon.transport.ports import Partition

BASE = ["source.topic=readings", 'stream.numeric=["temperature"]', 'stream.key=["id"]', "stream.time=time"]


def configured(*overrides: str) -> Settings:
    return load(None, [*BASE, *overrides], {})


def records(count: int, jump_at: int | None = None) -> list[Stored]:
    """Return the records of a quiet sensor, one reading a minute. From `jump_at` on ten readings are far too high."""
    noise = np.random.default_rng(0).normal(20.0, 0.5, count)
    if jump_at is not None:
        noise[jump_at : jump_at + 10] += 40.0
    return [
        Stored(-1, None, json.dumps({"id": "s1", "time": 1_700_000_000 + 60 * at, "temperature": value}).encode())
        for at, value in enumerate(noise.tolist())
    ]


def over_memory(settings: Settings, broker: MemoryBroker, **options: Any) -> Any:
    source = MemorySource(broker, "readings", max_records=options.pop("max_records", 100))
    return build_worker(
        settings,
        source=source,
        delivery=MemoryDelivery(broker, source),
        snapshots=MemorySnapshots(broker),
        **options,
    )


def test_defaults_of_the_settings_are_those_of_the_rules() -> None:
    assert rules_of(configured()) == Rules()


def test_every_rule_follows_its_setting() -> None:
    rules = rules_of(
        configured(
            "detection.budget.alarms_per_stream_per_day=2",
            "detection.prediction_weight=0.25",
            "detection.grace_events=60",
            "detection.adaptation_events=500",
            "detection.window_events=20",
            "detection.shared_events=3000",
            "detection.episode.close_after=7",
            "detection.silence.minimum=9",
            "detection.stuck.enabled=false",
            "detection.schema_change.scale_ratio=50",
            "stream.late=accept",
            "limits.streams=1000",
            "limits.idle_stream_seconds=3600",
        )
    )
    assert (rules.alarms_per_day, rules.prediction_weight, rules.grace_events) == (2.0, 0.25, 60)
    assert (rules.adaptation_events, rules.window_events, rules.shared_events) == (500.0, 20, 3000.0)
    assert (rules.accept_late, rules.max_streams, rules.idle_stream_seconds) == (True, 1000, 3600.0)
    assert (rules.episode.close_after, rules.silence.minimum) == (7, 9)
    assert (rules.stuck.enabled, rules.schema_change.scale_ratio) == (False, 50.0)


def test_a_bucket_waits_for_its_turn_and_a_commit_within_the_period() -> None:
    assert policies_of(configured("snapshot.seconds=60", "commit.seconds=2")).snapshot == SnapshotPolicy(58.0, 64)
    assert policies_of(configured("snapshot.seconds=1", "commit.seconds=2")).snapshot.seconds == 0.0


def test_rare_commits_carry_what_falls_due_between_two() -> None:
    assert policies_of(configured("snapshot.seconds=60", "commit.seconds=20")).snapshot.at_once == 64
    assert policies_of(configured("snapshot.seconds=60", "commit.seconds=10")).snapshot.at_once == 26
    assert policies_of(configured("snapshot.seconds=60", "commit.seconds=2")).snapshot.at_once == 8
    assert policies_of(configured("snapshot.seconds=60", "snapshot.buckets=4096")).snapshot.at_once == 512


def test_no_poll_waits_so_long_that_a_stop_would_wait_for_it() -> None:
    assert policies_of(configured("source.poll_seconds=60", "limits.stop_seconds=2")).poll_seconds == 1.0
    assert policies_of(configured("source.poll_seconds=0.05")).poll_seconds == 0.05


@pytest.mark.parametrize(
    "override",
    [
        'stream.key=["machine"]',
        "stream.timezone=Europe/Berlin",
        'stream.numeric=["temperature", "pressure"]',
        'stream.numeric=[{"name": "temperature", "transform": "log"}]',
        'stream.categorical=["mode"]',
        "snapshot.buckets=32",
        "source.topic=another",
        "kafka.group_id=another",
    ],
)
def test_settings_that_decide_what_state_means_change_its_make(override: str) -> None:
    model = read_model(PRETRAINED)
    before, after = make_of(configured(), model), make_of(configured(override), model)
    assert len(after.differences(before)) == 1
    assert override.split("=")[0] in after.differences(before)[0]


@pytest.mark.parametrize(
    "override",
    [
        "detection.budget.alarms_per_stream_per_day=3",
        "commit.seconds=2",
        "name=x",
        'stream.numeric=[{"name": "temperature", "min_deviation": 5, "min_deviation_percent": 10, "direction": "above"}]',
    ],
)
def test_settings_that_do_not_leave_the_make_as_it_is(override: str) -> None:
    model = read_model(PRETRAINED)
    assert make_of(configured(override), model) == make_of(configured(), model)


def test_state_from_before_it_said_whose_it_is_is_taken_for_ours() -> None:
    ours = make_of(configured(), read_model(PRETRAINED))
    before = replace(ours, decides={name: text for name, text in ours.decides.items() if name not in PLACES})
    assert (ours.differences(before), before.differences(ours)) == ([], [])


def test_a_sink_of_another_kind_than_its_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"source\.kind is kafka and sink\.kind is files: one commit cannot cover both"
    ):
        build_worker(configured("sink.kind=files"))
    path = tmp_path / "in.jsonl"
    path.touch()
    with pytest.raises(
        ConfigurationError, match=r"source\.kind is files and sink\.kind is kafka: one commit cannot cover both"
    ):
        build_worker(configured("source.kind=files", f'source.paths=["{path}"]', "sink.kind=kafka"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_validate_looks_at_the_topics_that_a_start_reads_whole() -> None:
    named = ["retraining.feedback_topic=said", "retraining.announcements_topic=moved"]
    of_files = ["source.kind=files", 'source.paths=["x.jsonl"]']
    said, moved = {"retraining.feedback_topic": "said"}, {"retraining.announcements_topic": "moved"}
    assert heard_topics(configured()) == {}
    assert heard_topics(configured(*named)) == said
    assert heard_topics(configured(*named, "model.path=/srv/models@champion")) == said | moved
    assert heard_topics(configured(*named, "model.path=/srv/models@champion", "model.watch_seconds=0")) == said
    assert heard_topics(configured(*named, *of_files)) == {}


def test_a_device_that_is_not_there_is_refused_and_auto_does_without() -> None:
    with pytest.raises(ConfigurationError, match=r"model\.device"):
        build_worker(configured("model.device=cuda"))
    assert placement_of(configured("model.device=auto")) == placement_of(configured()) == Placement()


def test_the_idle_timers_run_for_kafka_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(bootstrap, "Worker", lambda *told: seen.append(told[5].idle_timers))
    monkeypatch.setattr(bootstrap, "_ports", lambda *told: None)
    broker = MemoryBroker()
    build_worker(configured())
    build_worker(configured(), source=MemorySource(broker, "readings"))
    build_worker(configured("source.kind=files", 'source.paths=["-"]'))
    build_worker(configured(), source=MemorySource(broker, "readings"), idle_timers=True)
    assert seen == [True, False, False, True]


def test_a_jump_is_alerted_and_observers_see_every_observation() -> None:
    broker = MemoryBroker()
    (partition,) = broker.create("readings")
    broker.produce(partition, records(400, jump_at=300))
    seen: list[int] = []
    counted: list[int] = []

    def observe(observations: Observations, step: Step) -> None:
        assert len(step.scores.status_N) == len(observations)
        seen.extend(observations.offset_N.tolist())

    worker = over_memory(configured(), broker, observers=[observe], progress=counted.append)
    worker.run()
    assert seen == list(range(400))
    assert sum(counted) == 400
    first = json.loads(broker.records("anomaly-alerts")[0].value or b"")
    assert (first["event"], first["kind"], first["stream"]["key"]) == ("open", "pattern", "s1")
    assert first["provenance"]["first_offset"] in range(300, 310)
    assert first["times"]["detected"]
    assert first["times"]["published"]
    assert worker.metrics.value("budget_alarms_per_stream_day") == 1.0
    ref = read_model(PRETRAINED).ref
    assert worker.metrics.value("model_info", name=ref.name, version=ref.version, digest=ref.digest) == 1


def told(broker: MemoryBroker) -> list[tuple[str, str]]:
    alerts = [json.loads(record.value or b"") for record in broker.records("anomaly-alerts")]
    return [(alert["alert_id"], alert["event"]) for alert in alerts]


def test_the_real_detector_stopped_anywhere_tells_the_same_alerts() -> None:
    whole = MemoryBroker()
    (partition,) = whole.create("readings")
    whole.produce(partition, records(460, jump_at=300))
    over_memory(configured(), whole, max_records=17).run()
    assert len(told(whole)) >= 2
    pieces = MemoryBroker()
    pieces.create("readings")
    settings = configured("snapshot.buckets=3")
    for start, stop in ((0, 120), (120, 303), (303, 305), (305, 460)):
        pieces.produce(partition, records(460, jump_at=300)[start:stop])
        over_memory(settings, pieces, max_records=50).run()
    assert told(pieces) == told(whole)


def test_the_partition_of_an_alert_is_its_inputs() -> None:
    broker = MemoryBroker()
    partitions = broker.create("readings", 2)
    broker.produce(partitions[1], records(320, jump_at=300))
    over_memory(configured(), broker).run()
    first = json.loads(broker.records("anomaly-alerts")[0].value or b"")
    assert Partition(first["provenance"]["topic"], first["provenance"]["partition"]) == partitions[1]


def test_rules_read_back_from_a_ledger_are_those_that_were_written() -> None:
    """Otherwise every start would count as a change of rules."""
    rules = rules_of(configured())
    assert json.loads(json.dumps(rules.as_mapping())) == rules.as_mapping()
    assert Rules.of_mapping(rules.as_mapping()) == rules


FLOORED = 'stream.numeric=[{"name": "temperature", "direction": "above", "min_deviation": 1000}]'


def test_sides_and_floors_read_back_from_a_ledger_are_those_that_were_written() -> None:
    settings = configured(FLOORED)
    told = json.loads(json.dumps(decisions_of(settings)))
    assert told == decisions_of(settings) != decisions_of(configured())
    rules, schema = stored_rules(told, configured().stream.schema_())
    assert rules == rules_of(settings)
    (field,) = schema.numeric
    assert (field.direction, field.min_deviation, field.min_deviation_percent) == (Direction.ABOVE, 1000.0, 0.0)


def test_streams_of_a_short_life_are_stored_rules_and_without_them_nothing_is() -> None:
    pods = configured('detection.silence.short_lived=["web-*"]')
    told = json.loads(json.dumps(decisions_of(pods)))
    rules, _ = stored_rules(told, configured().stream.schema_())
    assert rules == rules_of(pods) != rules_of(configured())
    assert "short_lived" not in json.dumps(decisions_of(configured()))


def test_without_sides_and_floors_the_stored_rules_are_those_of_a_release_that_stored_none() -> None:
    """Such stored rules stand for fields at their defaults, whatever the configuration says now."""
    assert decisions_of(configured()) == rules_of(configured()).as_mapping()
    _, schema = stored_rules(decisions_of(configured()), configured(FLOORED).stream.schema_())
    assert schema.numeric[0].min_deviation == 0.0
    assert schema.numeric[0].direction is Direction.BOTH


@pytest.mark.parametrize(
    "told", [{"humidity": {}}, {"temperature": {"floor": 1}}, {"temperature": "above"}, ["temperature"]]
)
def test_stored_sides_and_floors_of_another_release_are_refused(told: Any) -> None:
    detectors = PartitionDetectors(configured(), read_model(PRETRAINED))
    regime = replace(detectors.regime, rules={**detectors.regime.rules, "fields": told})
    with pytest.raises(Incompatible, match="the stored rules are of another release"):
        detectors.of(Partition("readings", 0), regime, detectors.artifact)


@pytest.mark.parametrize(("before", "after"), [((), (FLOORED,)), ((FLOORED,), ())])
def test_what_was_decided_before_a_crash_is_replayed_under_the_floors_of_then(
    before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    """Whether the jump is reported depends on the floor before the change. An episode that was opened is closed, and
    one that was not opened is not."""
    broker, jumped = MemoryBroker(), records(460, jump_at=300)
    (partition,) = broker.create("readings")
    broker.produce(partition, jumped[:305])
    killed = over_memory(configured("snapshot.seconds=100000", *before), broker, max_records=37)
    killed.start()
    for _ in range(14):
        killed.turn()
    opened = told(broker)
    broker.produce(partition, jumped[305:])
    next_one = over_memory(configured(*after), broker, max_records=37)
    next_one.run()
    assert next_one.metrics.value("restores_total", outcome="changed") == 1
    events = [event for _, event in told(broker)]
    assert (events[0], events[-1]) == ("open", "close") if not before else opened == []

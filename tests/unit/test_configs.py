"""The shipped configurations are valid, explain themselves, and read the records that they show."""

from __future__ import annotations

from pathlib import Path

import pytest

from anomaly_daemon import cli
from anomaly_daemon.configuration import load
from anomaly_daemon.settings import Settings

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "configs").glob("*.yaml"))


def settings_of(name: str) -> Settings:
    return load(ROOT / "configs" / name, (), {})


def test_there_is_one_for_each_of_the_usual_cases() -> None:
    assert [file.name for file in FILES] == ["sensors.yaml", "server-metrics.yaml", "transactions.yaml"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_passes_validate(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["validate", "--config", str(file)]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_takes_its_broker_from_the_environment(file: Path) -> None:
    assert load(file, (), {}).kafka.bootstrap_servers == "localhost:9092"
    assert load(file, (), {"KAFKA_BOOTSTRAP_SERVERS": "there:1"}).kafka.bootstrap_servers == "there:1"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_says_what_its_records_look_like_and_how_to_run_it(file: Path) -> None:
    comments = "".join(line for line in file.read_text(encoding="utf-8").splitlines(True) if line.startswith("#"))
    assert f"anomaly-daemon run --config configs/{file.name}" in comments
    assert "2026-03-01T08" in comments or "1772352000" in comments


def test_no_two_share_a_topic_or_a_group() -> None:
    every = [load(file, (), {}) for file in FILES]
    names = [(s.source.topic, s.sink.alerts_topic, s.sink.dead_letter_topic, s.snapshot.topic) for s in every]
    flat = [name for group in names for name in group]
    assert len(set(flat)) == len(flat)
    assert len({s.kafka.group_id for s in every}) == len(every)


def test_the_sensors_are_wide_json_keyed_by_machine() -> None:
    stream = settings_of("sensors.yaml").stream
    assert (stream.format, stream.shape, stream.key, stream.time) == ("json", "wide", ["machine"], "time")
    assert stream.schema_().names == ("temperature", "vibration", "pressure", "current")


def test_the_transactions_have_an_amount_by_its_logarithm_and_two_texts() -> None:
    stream = settings_of("transactions.yaml").stream
    assert (stream.key, stream.time, stream.time_unit) == (["card"], "time", "ms")
    assert [(feature.name, feature.transform) for feature in stream.numeric] == [("amount", "log")]
    assert stream.categorical == ["merchant_category", "channel"]


def test_the_server_metrics_are_one_metric_a_record() -> None:
    stream = settings_of("server-metrics.yaml").stream
    assert (stream.format, stream.shape, stream.key) == ("csv", "long", ["host"])
    assert stream.csv.columns == ["time", "host", stream.metric, stream.value]

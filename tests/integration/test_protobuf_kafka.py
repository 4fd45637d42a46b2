"""Protobuf messages with a schema registry, on Apache Kafka: from `init` to alerts."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from daemon_process import Deployment, expected, readings, wait_for

from anomaly_daemon.cli import main
from anomaly_daemon.configuration import load
from anomaly_daemon.errors import ExitCode
from tests.protobuf_files import classes, field, file, framed, message, text
from tests.registries import Registry, registry

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]

PLANT = file(
    message(
        "Reading",
        field("id", 1, "string"),
        field("time", 2, "message", of="google.protobuf.Timestamp"),
        field("temperature", 3, "double", optional=True),
    ),
    imports=["timestamp"],
)
Reading = classes(PLANT)["Reading"]
LINES = [json.loads(line) for line in readings(["press", "oven"], 150, [60, 120])]
Make = Callable[..., Deployment]


@pytest.fixture
def schemas() -> Iterator[Registry]:
    with registry() as one:
        yield one


@pytest.fixture
def made(deployment: Make, schemas: Registry) -> Deployment:
    return deployment(1, "stream.format=protobuf", f"stream.protobuf.registry_url={schemas.url}")


def values(schemas: Registry, topic: str) -> list[bytes]:
    number = schemas.register(text(PLANT), f"{topic}-value", schemaType="PROTOBUF")
    messages = [Reading(**line | {"time": {"seconds": line["time"]}}) for line in LINES]
    return [framed(number, one.SerializeToString()) for one in messages]


def test_it_alerts_of_protobuf_as_of_json(made: Deployment, deployment: Make, schemas: Registry) -> None:
    records = values(schemas, made.topic)
    made.produce([*records[:10], b"\0\0\0\0\x09\0abc", *records[10:]])
    daemon = made.start()
    wait_for("all to be committed", lambda: made.committed() == len(records) + 1)
    assert 'anomaly_daemon_dead_letters_total{reason="no_schema"} 1.0' in daemon.get("/metrics")[1]
    assert daemon.end(signal.SIGTERM) == 0
    told = made.told()
    assert told == expected(made, {0: [*records[:10], b"\0\0\0\0\x09\0abc", *records[10:]]})
    of_json = deployment()
    in_json = expected(of_json, {0: [json.dumps(line).encode() for line in LINES]})
    assert len(told) == len(in_json) >= 4


def test_init_reads_the_schemas_and_validate_asks_the_registry(
    made: Deployment, schemas: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made.produce(values(schemas, made.topic))
    output = tmp_path / "out.yaml"
    command = ["init", "--topic", made.topic, "--set", f"kafka.bootstrap_servers={made.bootstrap}", "-o", str(output)]
    assert main(command) == ExitCode.USAGE
    assert "Protobuf" in capsys.readouterr().err
    of_registry = ["--set", "stream.format=protobuf", "--set", f"stream.protobuf.registry_url={schemas.url}"]
    assert main([*command, *of_registry]) == ExitCode.OK
    read = load(output, environment={})
    assert (read.stream.format, read.stream.protobuf.registry_url) == ("protobuf", schemas.url)
    assert (read.stream.key, read.stream.time) == (["id"], "time")
    assert [field.name for field in read.stream.numeric] == ["temperature"]
    capsys.readouterr()
    assert main(["validate", "--config", str(output), "--online"]) == ExitCode.OK
    said = capsys.readouterr().out
    assert f"the newest schema of {made.topic}-value has the fields id, time, temperature" in said
    assert "300 records checked: 300 events of 2 streams" in said

"""Avro and Protobuf values with a schema registry, on Apache Kafka: from `init` to alerts."""

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
from tests.registries import Registry, registry, written

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]

READING = {
    "type": "record",
    "name": "Reading",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "temperature", "type": ["null", "double"]},
    ],
}
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
FOREIGN = b"\0\0\0\0\x09abc"
"""A value whose schema the registry does not know."""
Make = Callable[..., Deployment]


@pytest.fixture
def schemas() -> Iterator[Registry]:
    with registry() as one:
        yield one


@pytest.fixture(params=["avro", "protobuf"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def made(deployment: Make, schemas: Registry, form: str) -> Deployment:
    return deployment(1, f"stream.format={form}", f"stream.{form}.registry_url={schemas.url}")


def values(schemas: Registry, topic: str, form: str) -> list[bytes]:
    if form == "avro":
        number = schemas.register(READING, f"{topic}-value")
        return [written(READING, line | {"time": line["time"] * 1000}, number) for line in LINES]
    number = schemas.register(text(PLANT), f"{topic}-value", schemaType="PROTOBUF")
    messages = [Reading(**line | {"time": {"seconds": line["time"]}}) for line in LINES]
    return [framed(number, one.SerializeToString()) for one in messages]


def test_it_alerts_as_of_json(made: Deployment, deployment: Make, schemas: Registry, form: str) -> None:
    records = values(schemas, made.topic, form)
    all_values = [*records[:10], FOREIGN, *records[10:]]
    made.produce(all_values)
    daemon = made.start()
    wait_for("all to be committed", lambda: made.committed() == len(all_values))
    assert 'anomaly_daemon_dead_letters_total{reason="no_schema"} 1.0' in daemon.get("/metrics")[1]
    assert daemon.end(signal.SIGTERM) == 0
    told = made.told()
    assert told == expected(made, {0: all_values})
    of_json = deployment()
    in_json = expected(of_json, {0: [json.dumps(line).encode() for line in LINES]})
    assert len(told) == len(in_json) >= 4


@pytest.mark.parametrize("form", ["avro"], indirect=True)
def test_a_registry_that_lets_us_not_in_ends_it_and_nothing_is_lost(
    made: Deployment, schemas: Registry, form: str
) -> None:
    records = values(schemas, made.topic, form)
    made.produce(records)
    schemas.login = "key:secret"
    assert made.start().process.wait(timeout=60) == ExitCode.NOT_PERMITTED
    assert made.committed() <= 0
    login = "stream.avro.registry_username=key", "stream.avro.registry_password=secret"
    daemon = made.start(*login)
    wait_for("all to be committed", lambda: made.committed() == len(records))
    assert daemon.end(signal.SIGTERM) == 0
    schemas.login = None
    assert made.told() == expected(made, {0: records})
    assert "secret" not in daemon.log()


def test_init_reads_the_schemas_and_validate_asks_the_registry(
    made: Deployment, schemas: Registry, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made.produce(values(schemas, made.topic, form), key=b"\0\0\0\0\1\6abc")
    output = tmp_path / "out.yaml"
    command = ["init", "--topic", made.topic, "--set", f"kafka.bootstrap_servers={made.bootstrap}", "-o", str(output)]
    assert main(command) == ExitCode.USAGE
    told = capsys.readouterr().err
    assert "stream.avro.registry_url" in told
    assert "Protobuf" in told
    of_registry = ["--set", f"stream.format={form}", "--set", f"stream.{form}.registry_url={schemas.url}"]
    assert main([*command, *of_registry]) == ExitCode.OK
    read = load(output, environment={})
    assert (read.stream.format, getattr(read.stream, form).registry_url) == (form, schemas.url)
    assert (read.stream.key, read.stream.time) == (["id"], "time")
    assert [field.name for field in read.stream.numeric] == ["temperature"]
    capsys.readouterr()
    assert main(["validate", "--config", str(output), "--online"]) == ExitCode.OK
    said = capsys.readouterr().out
    assert f"the newest schema of {made.topic}-value has the fields id, time, temperature" in said
    assert "300 records checked: 300 events of 2 streams" in said
    schemas.login = "key:secret"
    assert main(["validate", "--config", str(output), "--online"]) == ExitCode.NOT_PERMITTED

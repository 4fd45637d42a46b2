from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from anomaly_daemon.daemon import logs


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_json_line_holds_the_event_its_values_and_what_is_bound() -> None:
    stream = io.StringIO()
    logs.configure("json", "info", stream, deployment="sensors")
    structlog.get_logger("anomaly_daemon").bind(partition="readings-0").warning("taken over", position=5)
    (line,) = lines(stream)
    assert line.pop("timestamp")
    assert line == {
        "event": "taken over",
        "deployment": "sensors",
        "partition": "readings-0",
        "position": 5,
        "level": "warning",
        "logger": "anomaly_daemon",
    }


def test_the_level_is_kept_to() -> None:
    stream = io.StringIO()
    logs.configure("json", "warning", stream)
    log = structlog.get_logger("anomaly_daemon")
    log.info("not this")
    log.error("but this")
    assert [line["event"] for line in lines(stream)] == ["but this"]


def test_the_kafka_clients_warnings_come_along_and_its_chatter_does_not() -> None:
    stream = io.StringIO()
    logs.configure("json", "debug", stream)
    logging.getLogger("kafka.conn").info("connecting to %s", "node-1")
    logging.getLogger("kafka.conn").warning("lost %s", "node-1")
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["logger"]) == ("lost node-1", "warning", "kafka.conn")


def test_a_traceback_is_part_of_its_line() -> None:
    stream = io.StringIO()
    logs.configure("json", "info", stream)
    try:
        raise ValueError("broken")
    except ValueError:
        structlog.get_logger("anomaly_daemon").exception("failed")
    (line,) = lines(stream)
    assert "broken" in json.dumps(line["exception"])


def test_auto_is_json_where_no_person_watches() -> None:
    stream = io.StringIO()
    logs.configure("auto", "info", stream)
    structlog.get_logger("anomaly_daemon").info("hello")
    assert lines(stream)[0]["event"] == "hello"


def test_console_is_text_for_a_person() -> None:
    stream = io.StringIO()
    logs.configure("console", "info", stream)
    structlog.get_logger("anomaly_daemon").info("hello", partition=3)
    assert "hello" in stream.getvalue()
    assert "partition=3" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_configuring_twice_writes_once() -> None:
    stream = io.StringIO()
    logs.configure("json", "info", io.StringIO())
    logs.configure("json", "info", stream)
    structlog.get_logger("anomaly_daemon").info("hello")
    assert len(lines(stream)) == 1

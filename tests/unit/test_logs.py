from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from types import SimpleNamespace

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


def test_what_is_bound_stands_in_the_lines_of_every_thread_and_of_the_kafka_client() -> None:
    stream = io.StringIO()
    logs.configure("json", "info", stream, deployment="sensors", process="1")
    log = structlog.get_logger("anomaly_daemon")
    tellers = (
        threading.Thread(target=log.warning, args=("the broker does not answer: waiting for it",)),
        threading.Thread(target=logging.getLogger("kafka.conn").error, args=("no node available",)),
    )
    for teller in tellers:
        teller.start()
        teller.join()
    assert [(line["deployment"], line["process"]) for line in lines(stream)] == [("sensors", "1")] * 2


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


def test_the_kafka_client_says_the_same_once_in_a_while_and_how_often_it_would_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream, now = io.StringIO(), [100.0]
    monkeypatch.setattr(logs, "time", SimpleNamespace(monotonic=lambda: now[0]))
    logs.configure("json", "info", stream)
    for _ in range(20):
        now[0] += 1.0
        logging.getLogger("kafka.net.manager").error("%s is away, again in %s s", "node-1", now[0])
        logging.getLogger("kafka.cluster").error("no node available")
    logging.getLogger("kafka.cluster").error("another thing")
    assert [line["event"] for line in lines(stream)] == [
        "node-1 is away, again in 101.0 s",
        "no node available",
        "another thing",
    ]
    now[0] = 101.0 + logs.REPEAT_SECONDS
    for _ in range(2):
        logging.getLogger("kafka.cluster").error("no node available")
    *_, last = lines(stream)
    assert (len(lines(stream)), last["event"], last["left_out"]) == (4, "no node available", 19)
    now[0] += logs.REPEAT_SECONDS
    logging.getLogger("kafka.cluster").error("no node available")
    assert lines(stream)[-1]["left_out"] == 1


def test_what_is_remembered_of_the_kafka_clients_messages_is_bounded() -> None:
    repeats = logs.Repeats()
    for number in range(3 * logs.MOST_KINDS):
        assert repeats.filter(logging.makeLogRecord({"name": "kafka.conn", "msg": f"request {number}"}))
    assert len(repeats._kinds) <= logs.MOST_KINDS


def test_our_own_lines_are_told_however_often_they_come() -> None:
    stream = io.StringIO()
    logs.configure("json", "info", stream)
    for _ in range(5):
        structlog.get_logger("anomaly_daemon").warning("unavailable, trying again")
    assert len(lines(stream)) == 5


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


@pytest.mark.parametrize("format", ["json", "console"])
def test_no_line_holds_a_whole_card_number(format: str) -> None:  # noqa: A002 - the setting's name
    stream = io.StringIO()
    logs.configure(format, "info", stream)
    log = structlog.get_logger("anomaly_daemon")
    log.info("feedback applied", stream="4111111111111111", streams=["5555555555554444"], offset=4111111111111111)
    try:
        raise ValueError("what is this: 378282246310005")
    except ValueError:
        log.exception("ended with 4111111111111111")
    told = stream.getvalue()
    assert [number for number in ("378282246310005", "5555555555554444") if number in told] == []
    assert [number for number in ("411111******1111", "378282*****0005") if number not in told] == []
    if format == "json":
        assert lines(stream)[0]["offset"] == 4111111111111111

"""Alerts sent on: what Alertmanager and a webhook are told, and what becomes of a message that is not taken."""

from __future__ import annotations

import argparse
import io
import json
import ssl
import urllib.error
from email.message import Message as Headers
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from anomaly_daemon.commands.forward import headers_of, message_of, target_of
from anomaly_daemon.errors import ConfigurationError, DaemonError, NoInput, NotPermitted, UsageError
from anomaly_daemon.forwarding import alertmanager
from anomaly_daemon.forwarding.alertmanager import OPEN_FOR, Alertmanager, alert_of
from anomaly_daemon.forwarding.message import Message, Unfit
from anomaly_daemon.forwarding.sender import Sender
from anomaly_daemon.forwarding.webhook import Webhook
from anomaly_daemon.transport.kafka.subscription import Read

START, PUBLISHED = "2026-01-02T03:04:05.000000Z", "2026-01-02T03:04:06.500000Z"
ALERT: dict[str, Any] = {
    "schema_version": 1,
    "alert_id": "6f1c",
    "event": "open",
    "kind": "pattern",
    "reason": "flow is 9.1, expected 3.2",
    "stream": {"key": "p7", "labels": {"site": "north", "kind": "pump", "7 things": "x"}},
    "episode": {"start": START, "last": START, "end": None, "count": 3, "peak_severity": 71.0},
    "severity": 71.4,
    "provenance": {"topic": "readings", "partition": 3, "first_offset": 1042, "last_offset": 1044},
    "times": {"event": START, "append": START, "detected": START, "published": PUBLISHED},
}
HEADERS = {"ce_id": "6f1c/open1", "ce_source": "/anomaly-daemon/plant%20one", "ce_subject": "p 7ü%", "ce_type": "x"}


def message(value: Any = ALERT, headers: dict[str, str] = HEADERS) -> Message:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Message(body, headers, "0/17")


def changed(**changes: Any) -> dict[str, Any]:
    return ALERT | changes


def test_an_open_episode_is_an_alert_that_is_known_by_its_stream_and_kind() -> None:
    told = alert_of(message())
    assert told["labels"] == {
        "alertname": "AnomalyEpisode",
        "deployment": "plant one",
        "stream": "p7",
        "kind": "pattern",
        "site": "north",
        "label_kind": "pump",
        "_7_things": "x",
    }
    assert told["annotations"]["summary"] == "p7: flow is 9.1, expected 3.2"
    assert told["annotations"]["records"] == "readings-3, offsets 1042 to 1044"
    assert told["startsAt"] == "2026-01-02T03:04:05+00:00"
    assert told["endsAt"] == "2026-01-09T03:04:06.500000+00:00"


def test_its_close_ends_the_same_alert() -> None:
    opened, closed = (
        alert_of(message()),
        alert_of(message(changed(event="close", severity=90.0, reason="back to normal"))),
    )
    assert closed["labels"] == opened["labels"]
    assert closed["endsAt"] == "2026-01-02T03:04:06.500000+00:00"


def test_a_clock_that_is_ahead_does_not_let_an_alert_end_before_it_begins() -> None:
    ahead = ALERT["episode"] | {"start": "2026-01-02T04:00:00Z"}
    told = alert_of(message(changed(event="close", episode=ahead)))
    assert told["startsAt"] == told["endsAt"]


def test_a_digest_is_an_alert_of_its_own() -> None:
    digest = {"schema_version": 1, "digest": {"held_back": 9}, "reason": "9 were held back", "published": PUBLISHED}
    told = alert_of(message(digest))
    assert told["labels"] == {"alertname": "AnomaliesHeldBack", "deployment": "plant one"}
    assert told["endsAt"] == "2026-01-02T03:14:06.500000+00:00"
    assert OPEN_FOR.days == 7


def test_of_the_headers_only_a_cloudevents_attributes_are_sent_on_whatever_they_hold() -> None:
    headers = (("ce_id", b"\xff1"), ("ce_time", None), ("ce_x\r\nEvil", b"1"), ("anomaly-daemon-evidence", b"\0"))
    assert message_of(Read(3, 17, b"{}", headers)) == Message(b"{}", {"ce_id": "\ufffd1", "ce_time": ""}, "3/17")


@pytest.mark.parametrize(
    "value", [b"[" * 100_000, b"{", b"[]", b"{}", b"\xff", changed(times={}), changed(severity="high")]
)
def test_what_is_no_alert_is_unfit(value: Any) -> None:
    with pytest.raises(Unfit, match="not an alert of this program"):
        alert_of(message(value))


def test_alertmanager_is_asked_by_its_second_interface() -> None:
    request = Alertmanager("http://am:9093/", {"Authorization": "Bearer t"}).request(message())
    assert request.full_url == "http://am:9093/api/v2/alerts"
    assert json.loads(request.data or b"")[0]["labels"]["stream"] == "p7"  # type: ignore[arg-type]
    assert request.get_header("Authorization") == "Bearer t"


def streams_told_again(target: Alertmanager) -> list[str]:
    request = target.again()
    return [] if request is None else [one["labels"]["stream"] for one in json.loads(request.data or b"")]  # type: ignore[arg-type]


def test_what_is_open_is_told_again_until_it_is_over() -> None:
    target = Alertmanager("http://am:9093", {})
    assert target.again() is None
    target.request(message())
    target.request(message(changed(event="update")))
    target.request(message(changed(stream={"key": "p8", "labels": {}})))
    assert streams_told_again(target) == ["p7", "p8"]
    target.request(message(changed(event="close")))
    target.request(message({"digest": {"held_back": 9}, "reason": "9", "published": PUBLISHED}))
    assert streams_told_again(target) == ["p8"]
    assert Webhook("http://hook/x", {}).again() is None


def test_no_more_are_told_again_than_can_be_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alertmanager, "MOST_OPEN", 2)
    target = Alertmanager("http://am:9093", {})
    for key in "abc":
        target.request(message(changed(stream={"key": key, "labels": {}})))
    assert streams_told_again(target) == ["b", "c"]


def test_what_is_told_again_is_tried_once_and_counts_as_nothing() -> None:
    target, answers = Alertmanager("http://am:9093", {}), Answers(None, refusal(503), None)
    one = Sender(target, answers.open, structlog.get_logger(), answers.slept.append)
    one.again()
    assert answers.asked == 0
    one.send(message())
    with capture_logs() as logs:
        one.again()
        one.again()
    assert (answers.asked, answers.slept, one.sent, len(logs)) == (3, [], 1, 1)


def test_a_webhooks_path_which_may_be_a_secret_is_not_told() -> None:
    one = Sender(Webhook("https://hook.example/services/token", {}), Answers(refusal(404)).open, structlog.get_logger())
    with pytest.raises(ConfigurationError, match=r"https://hook\.example answers") as caught:
        one.send(message())
    assert "token" not in str(caught.value)


def test_a_webhook_gets_the_message_as_a_cloudevent() -> None:
    request = Webhook("http://hook/x", {}).request(message())
    assert request.data == message().value
    told = {name.lower(): value for name, value in request.header_items()}
    assert told["ce-id"] == "6f1c/open1"
    assert told["ce-subject"] == "p%207%C3%BC%25"
    assert told["content-type"] == "application/json"
    with pytest.raises(Unfit):
        Webhook("http://hook/x", {}).request(message(headers={}))


class Answers:
    """Opens requests with what it was told to answer, one after the other."""

    def __init__(self, *answers: Exception | None) -> None:
        self._answers = list(answers)
        self.asked = 0
        self.slept: list[float] = []

    def open(self, request: Any, timeout: float) -> io.BytesIO:
        self.asked += 1
        answer = self._answers.pop(0)
        if answer is not None:
            raise answer
        return io.BytesIO(b"ok")


def refusal(code: int, location: str | None = None) -> urllib.error.HTTPError:
    headers = Headers()
    if location:
        headers["Location"] = location
    return urllib.error.HTTPError("http://hook/x", code, "why", headers, io.BytesIO(b"because"))


def sender(answers: Answers) -> Sender:
    return Sender(Webhook("http://hook/x", {}), answers.open, structlog.get_logger(), answers.slept.append)


def test_what_is_away_or_busy_is_tried_until_it_takes_the_message() -> None:
    away = urllib.error.URLError(ConnectionRefusedError())
    answers = Answers(*[away] * 7, refusal(503), refusal(429), TimeoutError(), None)
    one = sender(answers)
    with capture_logs() as logs:
        one.send(message())
    assert (one.sent, one.refused) == (1, 0)
    assert answers.slept == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 60.0]
    assert {line["place"] for line in logs} == {"0/17"}


@pytest.mark.parametrize("code", [400, 413, 422])
def test_a_message_that_is_refused_is_told_of_and_passed_over(code: int) -> None:
    answers = Answers(refusal(code), None)
    one = sender(answers)
    with capture_logs() as logs:
        one.send(message())
        one.send(message())
    assert (one.sent, one.refused) == (1, 1)
    (told,) = logs
    assert "because" in told["reason"]


def test_what_is_no_message_of_ours_is_told_of_and_passed_over() -> None:
    one = sender(Answers())
    with capture_logs() as logs:
        one.send(message(headers={}))
    assert (one.refused, logs[0]["log_level"]) == (1, "error")


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (refusal(401), NotPermitted, "--headers-file"),
        (refusal(403), NotPermitted, "--headers-file"),
        (refusal(404), ConfigurationError, "404"),
        (refusal(302, "http://other"), ConfigurationError, "go to http://other"),
        (urllib.error.URLError(ssl.SSLCertVerificationError("self-signed")), ConfigurationError, "--cafile"),
    ],
)
def test_who_takes_nothing_from_us_ends_it_with_what_to_change(answer: Any, kind: type[DaemonError], says: str) -> None:
    with pytest.raises(kind, match=says):
        sender(Answers(answer)).send(message())


def test_an_address_that_is_none_is_a_usage_error() -> None:
    for url in ("alertmanager:9093", "ftp://x", "http://", "http://x:port", "http://x y", "http://x\n"):
        with pytest.raises(UsageError, match="no address"):
            target_of(argparse.Namespace(alertmanager=url, webhook=None, headers_file=None))


def test_headers_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "headers"
    file.write_text("Authorization: Bearer a:b\n\nX-Team:  ops \n", encoding="utf-8")
    assert headers_of(file) == {"Authorization": "Bearer a:b", "X-Team": "ops"}
    file.write_text("secret\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="each line is a header") as caught:
        headers_of(file)
    assert "secret" not in str(caught.value)
    with pytest.raises(NoInput):
        headers_of(tmp_path / "none")

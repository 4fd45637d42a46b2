"""Alerts that are forwarded: what is sent to Alertmanager and to a webhook, and what becomes of a message that is not
accepted."""

from __future__ import annotations

import argparse
import io
import json
import ssl
import urllib.error
from datetime import UTC, datetime, timedelta
from email.message import Message as Headers
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from anomaly_daemon.cli import main
from anomaly_daemon.commands.forward import headers_of, target_of
from anomaly_daemon.errors import (
    ConfigurationError,
    DaemonError,
    ExitCode,
    Incompatible,
    NoInput,
    NotPermitted,
    UsageError,
)
from anomaly_daemon.forwarding import alertmanager
from anomaly_daemon.forwarding.alertmanager import OPEN_FOR, Alertmanager, alert_of
from anomaly_daemon.forwarding.loop import message_of
from anomaly_daemon.forwarding.message import Message, Target, Unfit
from anomaly_daemon.forwarding.sender import Sender
from anomaly_daemon.forwarding.webhook import Webhook
from anomaly_daemon.transport import web
from anomaly_daemon.transport.kafka.subscription import TopicRecord
from tests.slept import Time

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


def message(value: Any = ALERT, headers: dict[str, str] = HEADERS, partition: int = 0) -> Message:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Message(body, headers, partition, 17)


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


@pytest.mark.parametrize("late", [timedelta(0), timedelta(hours=2), timedelta(minutes=-5)])
def test_a_digest_that_is_sent_late_fires_all_the_same(late: timedelta) -> None:
    published = datetime.fromisoformat(PUBLISHED)
    request = of_that_time(published + late).request(message({"digest": {}, "reason": "9", "published": PUBLISHED}))
    told = json.loads(request.data or b"")[0]  # type: ignore[arg-type]
    assert datetime.fromisoformat(told["endsAt"]) == published + max(late, timedelta(0)) + timedelta(minutes=10)
    assert datetime.fromisoformat(told["startsAt"]) == published


def test_of_the_headers_only_a_cloudevents_attributes_are_sent_on_whatever_they_hold() -> None:
    headers = (("ce_id", b"\xff1"), ("ce_time", None), ("ce_x\r\nEvil", b"1"), ("anomaly-daemon-evidence", b"\0"))
    assert message_of(TopicRecord(3, 17, b"{}", headers)) == Message(b"{}", {"ce_id": "\ufffd1", "ce_time": ""}, 3, 17)


@pytest.mark.parametrize(
    "value",
    [
        *(b"[" * 100_000, b"{", b"[]", b"{}", b"\xff", changed(times={}), changed(severity="high"), changed(event="x")),
        changed(times={"published": "9999-12-31T00:00:00Z"}),
    ],
)
def test_what_is_no_alert_is_unfit(value: Any) -> None:
    with pytest.raises(Unfit, match="not an alert of this program"):
        alert_of(message(value))


def test_alertmanager_is_asked_by_its_second_interface() -> None:
    request = Alertmanager("http://am:9093/", {"Authorization": "Bearer t"}).request(message())
    assert request.full_url == "http://am:9093/api/v2/alerts"
    assert json.loads(request.data or b"")[0]["labels"]["stream"] == "p7"  # type: ignore[arg-type]
    assert request.get_header("Authorization") == "Bearer t"


DURING = datetime(2026, 1, 5, tzinfo=UTC)


def of_that_time(now: datetime = DURING) -> Alertmanager:
    return Alertmanager("http://am:9093", {}, lambda: now)


def tell(target: Target, *messages: Message) -> None:
    for one in messages:
        target.request(one)
        target.accepted(one)


def streams_told_again(target: Alertmanager) -> list[str]:
    parts = [json.loads(request.data or b"") for request in target.to_resend()]  # type: ignore[arg-type]
    return [one["labels"]["stream"] for part in parts for one in part]


def of_stream(key: str, **changes: Any) -> dict[str, Any]:
    return changed(stream={"key": key, "labels": {}}, **changes)


def test_what_is_open_is_told_again_until_it_is_over() -> None:
    target = of_that_time()
    assert streams_told_again(target) == []
    tell(target, message(), message(changed(event="update")), message(of_stream("p8")))
    assert streams_told_again(target) == ["p7", "p8"]
    digest = {"digest": {"held_back": 9}, "reason": "9", "published": PUBLISHED}
    tell(target, message(changed(event="close")), message(digest))
    assert streams_told_again(target) == ["p8"]
    assert list(Webhook("http://hook/x", {}).to_resend()) == []


@pytest.mark.parametrize(("seconds", "again"), [(59, ["p7"]), (15 * 60 - 1, ["p7"]), (15 * 60, [])])
def test_a_close_is_sent_again_for_a_quarter_of_an_hour(seconds: int, again: list[str]) -> None:
    """An Alertmanager whose clock is behind takes the first close for an end that is to come, and would show the
    episode for another week."""
    target = of_that_time(datetime.fromisoformat(PUBLISHED) + timedelta(seconds=seconds))
    tell(target, message(), message(changed(event="close")))
    assert streams_told_again(target) == again
    assert streams_told_again(target) == again


def test_an_episode_that_opens_after_a_close_is_sent_again_in_its_place() -> None:
    target = of_that_time(datetime.fromisoformat(PUBLISHED))
    tell(target, message(), message(changed(event="close")), message(of_stream("p8", event="close")), message())
    parts = [json.loads(request.data or b"") for request in target.to_resend()]  # type: ignore[arg-type]
    ends = {one["labels"]["stream"]: datetime.fromisoformat(one["endsAt"]) for part in parts for one in part}
    published = datetime.fromisoformat(PUBLISHED)
    assert ends == {"p7": published + OPEN_FOR, "p8": published}
    target.partitions_lost([0])
    assert streams_told_again(target) == []


def test_what_was_not_taken_is_not_told_again() -> None:
    """A message that is refused because of its content would be refused each minute, together with all messages that
    are repeated with it."""
    target, answers = of_that_time(), Answers(None, refusal(400))
    one = Sender(target, answers.open, structlog.get_logger(), answers.slept.append)
    one.send(message())
    one.send(message(of_stream("p8")))
    assert streams_told_again(target) == ["p7"]


def test_what_is_another_process_s_is_not_told_again() -> None:
    """Its close goes to the other process, so for Alertmanager it would stay open for a week."""
    target = of_that_time()
    tell(target, message(partition=0), message(of_stream("p8"), partition=1))
    target.partitions_lost([0, 5])
    assert streams_told_again(target) == ["p8"]


def test_what_has_ended_by_itself_is_not_told_again() -> None:
    target = of_that_time(datetime(2026, 1, 9, 3, 4, 7, tzinfo=UTC))
    tell(target, message())
    assert streams_told_again(target) == []


def test_no_more_are_told_again_than_can_be_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alertmanager, "MAX_EPISODES", 2)
    target = of_that_time()
    tell(target, *(message(of_stream(key)) for key in "abc"))
    assert streams_told_again(target) == ["b", "c"]


def test_many_are_told_again_in_parts_and_a_part_that_is_refused_does_not_keep_the_others_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(alertmanager, "BATCH_SIZE", 2)
    target, answers = of_that_time(), Answers(refusal(413), None, None, refusal(503))
    tell(target, *(message(of_stream(key)) for key in "abcde"))
    one = Sender(target, answers.open, structlog.get_logger(), answers.slept.append)
    with capture_logs() as logs:
        one.resend()
        assert answers.asked == 3
        one.resend()
    assert (answers.asked, len(logs)) == (4, 2), "who is away is not asked for each part"


def test_what_left_between_two_parts_is_not_told_in_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alertmanager, "BATCH_SIZE", 1)
    target = of_that_time()
    tell(target, *(message(of_stream(key), partition=number) for number, key in enumerate("abc")))
    parts = iter(target.to_resend())
    next(parts)
    target.partitions_lost([1])
    assert [json.loads(one.data or b"")[0]["labels"]["stream"] for one in parts] == ["c"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("location", "told"), [("https://hook.example/services/token", "https://hook.example"), ("/token", "another path")]
)
def test_where_a_webhook_moved_to_is_told_without_its_secret(location: str, told: str) -> None:
    one = Sender(
        Webhook("http://hook.example/services/token", {}), Answers(refusal(301, location)).open, structlog.get_logger()
    )
    with pytest.raises(ConfigurationError, match=f", redirecting to {told}$") as caught:
        one.send(message())
    assert "token" not in str(caught.value)


def test_an_alert_of_a_later_version_ends_it_and_one_of_somebody_else_does_not() -> None:
    later = changed(schema_version=2, severity="high")
    with pytest.raises(Incompatible, match="schema version 2, and this program reads 1"):
        alert_of(message(later))
    with pytest.raises(Unfit):
        alert_of(message(later, {"ce_source": "/other"}))
    assert Webhook("http://hook/x", {}).request(message(later)).data == message(later).value


def test_what_is_told_again_is_tried_once_and_counts_as_nothing() -> None:
    target, answers = of_that_time(), Answers(None, refusal(503), None)
    one = Sender(target, answers.open, structlog.get_logger(), answers.slept.append)
    one.resend()
    assert answers.asked == 0
    one.send(message())
    with capture_logs() as logs:
        one.resend()
        one.resend()
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
    """Opens requests and answers each with the next of the given answers."""

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


def refusal(code: int, location: str | None = None, retry_after: str | None = None) -> urllib.error.HTTPError:
    headers = Headers()
    if location:
        headers["Location"] = location
    if retry_after is not None:
        headers["Retry-After"] = retry_after
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


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("7", 7.0), ("0", 1.0), ("soon", 1.0), ("", 1.0), ("86400", 600.0), ("9" * 400, 600.0), ("-5", 1.0)],
)
def test_a_pause_that_is_asked_for_is_kept_within_bounds(asked: str, seconds: float) -> None:
    answers = Answers(refusal(429, retry_after=asked), refusal(503), None)
    sender(answers).send(message())
    assert answers.slept == [seconds, 2.0]


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2015 07:28:30 -0000", 30.0),
        ("Wed, 21 Oct 2015 09:28:30 +0200", 30.0),
        ("Wed, 21 Oct 2015 07:00:00 GMT", 0.0),
        ("Wed, 99 Oct 2015 07:00:00 GMT", 0.0),
    ],
)
def test_a_pause_may_be_asked_for_as_a_date(asked: str, seconds: float) -> None:
    now = datetime(2015, 10, 21, 7, 28, tzinfo=UTC).timestamp()
    assert web.asked_to_wait(refusal(503, retry_after=asked), lambda: now) == seconds


def patient(answers: Answers, time: Time, give_up_seconds: float | None) -> Sender:
    target = Webhook("http://hook/x", {})
    return Sender(target, answers.open, structlog.get_logger(), time.sleep, lambda: time.now, give_up_seconds)


def test_a_message_that_the_other_side_breaks_on_is_passed_over_where_that_is_asked_for() -> None:
    time, refusals = Time(), [refusal(500) for _ in range(5)]
    one = patient(Answers(*refusals, None), time, 10.0)
    with capture_logs() as logs:
        one.send(message())
        one.send(message())
    assert (one.sent, one.refused, time.now) == (1, 1, 15.0)
    assert all(error.fp is None or error.fp.closed for error in refusals)
    assert (logs[-1]["event"], logs[-1]["id"]) == ("message skipped", "6f1c/open1")
    assert "500" in logs[-1]["reason"]


@pytest.mark.parametrize("away", [503, 429, 408, None])
def test_who_is_away_or_busy_is_never_given_up(away: int | None) -> None:
    def answer() -> Exception:
        return urllib.error.URLError(ConnectionRefusedError()) if away is None else refusal(away)

    time = Time()
    one = patient(Answers(refusal(500), *(answer() for _ in range(9)), refusal(500), None), time, 10.0)
    one.send(message())
    assert (one.sent, one.refused) == (1, 0)


def test_for_how_long_a_message_is_stuck_can_be_seen() -> None:
    time, seen = Time(), list[float | None]()
    one = patient(Answers(refusal(503), refusal(503), None), time, None)

    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        seen.append(one.stuck_since)

    one._sleep = sleep
    time.now = 5.0
    one.send(message())
    assert (seen, one.stuck_since) == ([5.0, 5.0], None)


def test_a_message_that_is_another_s_meanwhile_is_not_sent() -> None:
    """The process that has it now may have sent later messages."""
    answers = Answers(refusal(503), refusal(503), None)
    ours = iter([True, False])
    one = sender(answers)
    one.send(message(), lambda: next(ours))
    assert (answers.asked, one.sent, one.refused) == (2, 0, 0)


def test_an_answer_is_not_read_it_may_have_no_end() -> None:
    class Endless(io.BytesIO):
        def read(self, *_: Any) -> bytes:
            raise AssertionError("read")

    one = Sender(Webhook("http://hook/x", {}), lambda *_, **__: Endless(), structlog.get_logger())
    one.send(message())
    assert one.sent == 1


@pytest.mark.parametrize("code", [400, 409, 413, 422, 431])
def test_a_message_that_is_refused_is_told_of_and_passed_over(code: int) -> None:
    answers = Answers(refusal(code), None)
    one = sender(answers)
    with capture_logs() as logs:
        one.send(message())
        one.send(message())
    assert (one.sent, one.refused) == (1, 1)
    (told,) = logs
    assert "because" in told["reason"]


@pytest.mark.parametrize("error", [ConnectionResetError("reset"), TimeoutError("timed out"), IncompleteRead(b"be")])
def test_a_refusal_whose_text_does_not_arrive_is_one_all_the_same(error: Exception) -> None:
    """A server that refuses a message for its size closes the connection amid it. `forward` used to end, at each start
    anew."""

    class Broken(io.BytesIO):
        def read(self, *_: Any) -> bytes:
            raise error

    refused = urllib.error.HTTPError("http://hook/x", 413, "too large", Headers(), Broken())
    one = sender(Answers(refused, None))
    one.send(message())
    one.send(message())
    assert (one.sent, one.refused) == (1, 1)


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
        (refusal(302, "http://other"), ConfigurationError, ", redirecting to http://other"),
        (urllib.error.URLError(ssl.SSLCertVerificationError("self-signed")), ConfigurationError, "--cafile"),
    ],
)
def test_who_takes_nothing_from_us_ends_it_with_what_to_change(answer: Any, kind: type[DaemonError], says: str) -> None:
    with pytest.raises(kind, match=says):
        sender(Answers(answer)).send(message())


def test_an_address_that_is_none_is_a_usage_error() -> None:
    for url in (
        "alertmanager:9093",
        "ftp://x",
        "http://",
        "http://x:port",
        "http://x y",
        "http://x\n",
        "http://x/ö",
        "http://a..b",
        f"http://{'a' * 64}.b",
    ):
        with pytest.raises(UsageError, match="not an address such as http"):
            target_of(argparse.Namespace(alertmanager=url, webhook=None, headers_file=None))


def test_a_login_in_the_address_is_a_usage_error_that_does_not_tell_it() -> None:
    """Such an address would be looked up as a host name, forever."""
    with pytest.raises(
        UsageError, match=r"https://x: the address holds a user name: give logins with --headers-file"
    ) as caught:
        target_of(argparse.Namespace(alertmanager=None, webhook="https://me:secret@x/path", headers_file=None))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("line", [b"X A: b", b": b", b"X-A: \xe2\x82\xac", b"X-A: a\x00b", b"X-\xc3\x84: b", b"\xff"])
def test_a_header_that_cannot_be_sent_is_told_of_at_the_start(tmp_path: Path, line: bytes) -> None:
    file = tmp_path / "headers"
    file.write_bytes(line)
    with pytest.raises(ConfigurationError):
        headers_of(file)


def test_a_file_of_headers_may_begin_as_windows_has_it(tmp_path: Path) -> None:
    file = tmp_path / "headers"
    file.write_bytes(b"\xef\xbb\xbfX-A: b\r\n")
    assert headers_of(file) == {"X-A": "b"}


def test_headers_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "headers"
    file.write_text("Authorization: Bearer a:b\n\nX-Team:  ops \n", encoding="utf-8")
    assert headers_of(file) == {"Authorization": "Bearer a:b", "X-Team": "ops"}
    file.write_text("secret\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="each line must be a header") as caught:
        headers_of(file)
    assert "secret" not in str(caught.value)
    with pytest.raises(NoInput):
        headers_of(tmp_path / "none")


def test_alerts_of_files_are_not_looked_for_on_a_topic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"source": {"kind": "files", "paths": ["-"]}, "stream": {"numeric": ["a"]}}')
    assert main(["forward", "--config", str(config), "--webhook", "http://hook/x"]) == ExitCode.USAGE
    assert "go to a file" in capsys.readouterr().err

"""`forward` as its own process, from a topic of Apache Kafka to a real Alertmanager and to a webhook."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from daemon_process import Deployment, expected, readings, wait_for
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from anomaly_daemon.forwarding.alertmanager import Alertmanager
from anomaly_daemon.forwarding.message import Message
from anomaly_daemon.transport.kafka.sockets import PROXY_URL

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]

LINES = readings(["press", "oven"], 150, [60, 120])
Make = Callable[..., Deployment]


class Forward:
    """A `forward` process. Its output goes to a file."""

    def __init__(self, one: Deployment, *arguments: str) -> None:
        one.started += 1
        self._log = one.folder / f"forward-{one.started}.jsonl"
        overrides = [word for override in one.overrides for word in ("--set", override)]
        words = [sys.executable, "-m", "anomaly_daemon", "forward", *overrides, *arguments]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(words, stderr=log, stdout=log)

    def said(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        return self.process.wait(timeout=60)


@pytest.fixture
def forward() -> Iterator[Callable[..., Forward]]:
    running: list[Forward] = []

    def start(one: Deployment, *arguments: str) -> Forward:
        running.append(Forward(one, *arguments))
        return running[-1]

    yield start
    for one in running:
        if one.process.poll() is None:
            one.end(signal.SIGKILL)


class Hook:
    """A webhook server. It accepts messages, or answers with the status in `answers`. `accepted` holds the ids of the
    accepted messages, in order."""

    def __init__(self) -> None:
        self.accepted: list[str] = []
        self.answers = 200
        self.seconds = 0.0
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                time.sleep(hook.seconds)
                if hook.answers == 200:
                    hook.accepted.append(self.headers["ce-id"])
                self.send_response(hook.answers)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def hook() -> Iterator[Hook]:
    one = Hook()
    yield one
    one.close()


def published(one: Deployment) -> list[str]:
    """Return the ids of the published messages, as the command `alerts` shows them."""
    shown = one.command("alerts", "--no-follow", "--json")
    return [f"{told['alert_id']}/{told['event']}" for told in map(json.loads, shown.splitlines())]


def alerted(one: Deployment) -> list[str]:
    one.produce(LINES)
    daemon = one.start()
    wait_for("all to be committed", lambda: one.committed() >= len(LINES))
    assert daemon.end(signal.SIGTERM) == 0
    return published(one)


def kinds(accepted: list[str]) -> list[str]:
    """Return the ce_ids without the counter of an update."""
    return [name.rstrip("0123456789") for name in accepted]


def test_a_webhook_gets_every_message_though_it_was_away_and_the_process_killed(
    deployment: Make, forward: Callable[..., Forward], hook: Hook
) -> None:
    one = deployment()
    expected = alerted(one)
    hook.answers = 503
    first = forward(one, "--webhook", hook.url, "--from-beginning")
    wait_for("it to try again", lambda: "message not accepted, trying again" in first.said())
    assert first.end(signal.SIGKILL) == -signal.SIGKILL
    hook.answers = 200
    second = forward(one, "--webhook", hook.url)
    wait_for("all to be sent", lambda: '"event": "sent"' in second.said())
    assert second.end(signal.SIGTERM) == 0
    assert kinds(hook.accepted) == expected
    third = forward(one, "--webhook", hook.url)
    wait_for("it to be there", lambda: "forwarding" in third.said())
    assert third.end(signal.SIGTERM) == 0
    assert kinds(hook.accepted) == expected, "what was committed is not sent again"


def test_without_from_beginning_it_sends_what_comes(
    deployment: Make, forward: Callable[..., Forward], hook: Hook
) -> None:
    one = deployment()
    alerted(one)
    running = forward(one, "--webhook", hook.url)
    one.produce(readings(["saw"], 150, [60, 120]))
    wait_for("it to be there", lambda: "forwarding" in running.said())
    daemon = one.start()
    wait_for("all to be committed", lambda: one.committed() >= len(LINES) + 150)
    assert daemon.end(signal.SIGTERM) == 0
    wait_for(
        "what came to be sent", lambda: hook.accepted and kinds(hook.accepted) == published(one)[-len(hook.accepted) :]
    )
    assert len(hook.accepted) < len(published(one))


def test_a_hook_that_lets_us_not_in_ends_it_and_nothing_is_lost(
    deployment: Make, forward: Callable[..., Forward], hook: Hook
) -> None:
    one = deployment()
    expected = alerted(one)
    hook.answers = 401
    refused = forward(one, "--webhook", hook.url, "--from-beginning")
    assert refused.process.wait(timeout=60) == 77
    assert "--headers-file" in refused.said()
    hook.answers = 200
    forward(one, "--webhook", hook.url, "--from-beginning")
    wait_for("all to be sent", lambda: kinds(hook.accepted) == expected)


def test_a_new_group_that_was_killed_before_it_sent_anything_skips_nothing(
    deployment: Make, forward: Callable[..., Forward], hook: Hook
) -> None:
    one = deployment()
    alerted(one)
    first = forward(one, "--webhook", hook.url)
    wait_for("it to be there", lambda: "forwarding" in first.said())
    wait_for("it to say where it begins", lambda: "new consumer group" in first.said())
    assert first.end(signal.SIGKILL) == -signal.SIGKILL
    before = len(published(one))
    one.produce(readings(["saw"], 150, [60, 120]))
    daemon = one.start()
    wait_for("all to be committed", lambda: one.committed() >= len(LINES) + 150)
    assert daemon.end(signal.SIGTERM) == 0
    forward(one, "--webhook", hook.url)
    came = published(one)[before:]
    wait_for("what came meanwhile to be sent", lambda: kinds(hook.accepted) == came)
    assert came


def test_a_topic_that_is_not_made_ends_it_with_what_to_change(
    deployment: Make, forward: Callable[..., Forward]
) -> None:
    one = deployment(1, "kafka.bootstrap_timeout_seconds=1")
    early = forward(one, "--webhook", "http://127.0.0.1:1/")
    assert early.process.wait(timeout=60) == 78
    assert f"topic '{one.topic}-alerts' does not exist" in early.said()


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[str]:
    """The address of a running Alertmanager."""
    binary = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if binary is None and os.environ.get("CI"):
        pytest.fail("alertmanager must be there in CI: .ci/run", pytrace=False)
    if binary is None:
        pytest.skip("alertmanager is not installed: Debian's prometheus-alertmanager package, or .ci/run")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = tmp_path / "alertmanager.yml"
    config.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n", encoding="utf-8")
    words = [binary, f"--config.file={config}", f"--storage.path={tmp_path / 'am'}", "--cluster.listen-address="]
    process = subprocess.Popen(
        [*words, f"--web.listen-address=127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    wait_for("Alertmanager", lambda: reached(f"{url}/-/ready"))
    yield url
    process.terminate()
    process.wait(timeout=30)


def reached(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def firing(url: str) -> list[tuple[str, str, str]]:
    with urlopen(f"{url}/api/v2/alerts", timeout=5) as answer:
        return sorted(
            (one["labels"]["deployment"], one["labels"]["stream"], one["labels"]["kind"]) for one in json.load(answer)
        )


def test_alertmanager_fires_while_an_episode_is_open(
    deployment: Make, forward: Callable[..., Forward], alertmanager: str
) -> None:
    one = deployment(1, "name=plant one/two")
    lines, amid = readings(["press", "oven"], 220, [60, 120]), 2 * 125  # in the middle of the second jump
    events = [event.rstrip("0123456789") for _, event in expected(one, {0: lines})]
    assert events == ["open", "close"] * 4, "nothing is left open at the end, which would fire for ever"
    one.produce(lines[:amid])
    forward(one, "--alertmanager", alertmanager, "--from-beginning")  # before the topic of alerts exists
    daemon = one.start()
    both = [("plant one/two", stream, "pattern") for stream in ("oven", "press")]
    wait_for("both streams to fire", lambda: firing(alertmanager) == both)
    one.produce(lines[amid:])
    wait_for("both to be over", lambda: firing(alertmanager) == [])
    assert daemon.end(signal.SIGTERM) == 0


def test_an_episode_ends_in_an_alertmanager_whose_clock_is_behind(alertmanager: str) -> None:
    published = datetime.now(UTC) + timedelta(seconds=5)
    start, moment = (published - timedelta(minutes=5)).isoformat(), published.isoformat()

    def message(event: str) -> Message:
        stream = {"key": "p7", "labels": {}}
        alert = {"event": event, "kind": "pattern", "reason": "", "stream": stream, "severity": 70, "alert_id": "6f"}
        place = {"topic": "readings", "partition": 0, "first_offset": 0, "last_offset": 9}
        told = alert | {"episode": {"start": start, "count": 3}, "provenance": place, "times": {"published": moment}}
        return Message(json.dumps(told).encode(), {"ce_source": "/anomaly-daemon/plant"}, 0, 0)

    target = Alertmanager(alertmanager, {})
    for event in ("open", "close"):
        with urlopen(target.request(message(event)), timeout=5):
            target.accepted(message(event))
    wait_for("the clock to reach the end", lambda: datetime.now(UTC) > published)
    assert firing(alertmanager) == [("plant", "p7", "pattern")], "the end was not accepted"
    for request in target.to_resend():
        with urlopen(request, timeout=5):
            pass
    assert firing(alertmanager) == []


ALERT_LINES = 60


def alerts_topic(one: Deployment, partitions: int = 1, streams: int = ALERT_LINES) -> list[str]:
    """Create a topic of alerts without a daemon, with the open, update and close of each stream, and return their ids
    in order."""
    with closing(KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=one.bootstrap)) as admin:
        admin.create_topics([NewTopic(f"{one.topic}-alerts", partitions, 1)])
    names = [f"{number}/{event}" for number in range(streams) for event in ("open1", "update2", "close3")]
    with closing(KafkaProducer(proxy_url=PROXY_URL, bootstrap_servers=one.bootstrap)) as producer:
        for name in names:
            number = int(name.partition("/")[0])
            headers = [("ce_id", name.encode())]
            producer.send(f"{one.topic}-alerts", b"{}", headers=headers, partition=number % partitions)
        producer.flush()
    return names


def in_order_of_their_streams(accepted: list[str]) -> bool:
    last: dict[str, str] = {}
    for name in accepted:
        stream, _, event = name.partition("/")
        if event[-1] <= last.get(stream, ""):
            return False
        last[stream] = event[-1]
    return True


def test_a_hook_that_is_slower_than_the_group_has_patience_gets_each_message_once(
    deployment: Make, forward: Callable[..., Forward], hook: Hook
) -> None:
    """The process used to be removed from its group while it was sending, and then started again at the first message,
    endlessly."""
    one = deployment(1, "kafka.max_poll_interval_seconds=6")
    names = alerts_topic(one)
    hook.seconds = 0.15
    running = forward(one, "--webhook", hook.url, "--from-beginning")
    wait_for("all to be sent", lambda: len(hook.accepted) >= len(names))
    assert running.end(signal.SIGTERM) == 0
    assert hook.accepted == names
    assert "max_poll_interval" not in running.said()
    hook.seconds = 0.0
    again = forward(one, "--webhook", hook.url)
    wait_for("it to be there", lambda: "forwarding" in again.said())
    assert again.end(signal.SIGTERM) == 0
    assert hook.accepted == names, "what was sent is committed at the end"


def test_two_members_share_what_one_had_in_hand_and_each_message_is_sent_once_and_in_order(
    deployment: Make, forward: Callable[..., Forward], hook: Hook
) -> None:
    one = deployment(1)
    names = alerts_topic(one, partitions=4)
    hook.answers = 503
    first = forward(one, "--webhook", hook.url, "--from-beginning")
    wait_for("it to try again", lambda: "message not accepted, trying again" in first.said())
    second = forward(one, "--webhook", hook.url)
    wait_for("the other to try, too", lambda: "message not accepted, trying again" in second.said())
    hook.answers, hook.seconds = 200, 0.01
    wait_for("all to be sent", lambda: len(hook.accepted) >= len(names))
    assert first.end(signal.SIGTERM) == second.end(signal.SIGTERM) == 0
    assert sorted(hook.accepted) == sorted(names)
    assert in_order_of_their_streams(hook.accepted)


def test_a_process_that_stood_still_sends_nothing_older_than_what_the_other_has_told(
    deployment: Make, forward: Callable[..., Forward], hook: Hook
) -> None:
    """An open that is sent after its close would keep the alert firing for a week."""
    one = deployment()
    names = alerts_topic(one, streams=4)
    hook.answers = 503
    first = forward(one, "--webhook", hook.url, "--from-beginning")
    wait_for("it to try again", lambda: first.said().count("message not accepted, trying again") >= 2)
    first.process.send_signal(signal.SIGSTOP)
    hook.answers = 200
    second = forward(one, "--webhook", hook.url)
    wait_for("the other to send all", lambda: len(hook.accepted) >= len(names))
    first.process.send_signal(signal.SIGCONT)
    assert second.end(signal.SIGTERM) == 0
    with closing(KafkaProducer(proxy_url=PROXY_URL, bootstrap_servers=one.bootstrap)) as producer:
        producer.send(f"{one.topic}-alerts", b"{}", headers=[("ce_id", b"4/open1")], partition=0)
    wait_for("the first to go on", lambda: "4/open1" in hook.accepted)
    assert hook.accepted == [*names, "4/open1"]


def test_it_tells_how_it_goes(deployment: Make, forward: Callable[..., Forward], hook: Hook) -> None:
    one = deployment()
    names = alerts_topic(one)
    running = forward(one, "--webhook", hook.url, "--from-beginning", "--http-port=0")
    wait_for("all to be sent", lambda: len(hook.accepted) == len(names))
    port = next(json.loads(line)["port"] for line in running.said().splitlines() if '"listening"' in line)

    def page(path: str) -> str:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.read().decode()

    wait_for("nothing to be left", lambda: "forward_lag_records 0.0" in page("/metrics"))
    assert f"forward_sent_total {len(names)}.0" in page("/metrics")
    assert '"ready": true' in page("/ready")
    assert '"live": true' in page("/live")

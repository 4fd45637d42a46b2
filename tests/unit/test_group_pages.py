"""One set of pages for several processes, tested with real pages behind real sockets."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http import HTTPStatus

import pytest

from anomaly_daemon.daemon import http
from anomaly_daemon.daemon.http import REQUESTS_AT_ONCE, Answer, HealthServer, answer_of, listen
from anomaly_daemon.daemon.metrics import METRICS, Metrics
from anomaly_daemon.supervision import pages as supervision_pages
from anomaly_daemon.supervision.exposition import Merged
from anomaly_daemon.supervision.member import Member
from anomaly_daemon.supervision.pages import GroupPages
from anomaly_daemon.supervision.restart import RestartPolicy

OK, NOT = HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE


@dataclass
class Process:
    """What a member's own pages return."""

    live: bool = True
    ready: bool = True
    metrics: Metrics = field(default_factory=Metrics)
    asked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    let: threading.Event = field(default_factory=threading.Event)
    """/slow, and `hung`, are answered once this is set."""
    hung: str = ""

    def answer(self, path: str) -> Answer:
        if path in ("/slow", self.hung):
            self.asked.release()
            self.let.wait(30)
            return answer_of(OK, {})
        if path == "/metrics":
            return Answer(OK, "text/plain", self.metrics.text())
        well = getattr(self, path[1:])
        return answer_of(OK if well else NOT, {path[1:]: well})


class Standing(Member):
    """A member that is running or not, without a process."""

    def __init__(self, number: int, port: int) -> None:
        super().__init__(number, _none, RestartPolicy(), port)
        self.runs, self.starts = True, 1

    @property
    def running(self) -> bool:
        return self.runs


def _none() -> None:  # type: ignore[return]
    raise AssertionError("not started here")


@dataclass
class Group:
    processes: list[Process]
    servers: list[HealthServer]
    members: list[Standing]
    pages: GroupPages
    now: float = 1000.0

    def said(self, path: str) -> tuple[HTTPStatus, dict[str, object]]:
        answer = self.pages.answer(path)
        return answer.status, json.loads(answer.body)


@pytest.fixture
def group() -> Iterator[Group]:
    with ExitStack() as stack:
        processes = [Process(), Process()]
        servers = [HealthServer(listen("127.0.0.1", 0), process) for process in processes]
        for server in servers:
            server.start()
        members = [Standing(number, server.port) for number, server in enumerate(servers)]
        made = Group(processes, servers, members, GroupPages(members, 60.0, lambda: made.now))
        stack.callback(made.pages.close)
        yield made
        for server in made.servers:
            server.close()


def test_a_process_that_too_many_ask_at_once_is_not_taken_for_stalled(group: Group) -> None:
    address, group.members[0].since = ("127.0.0.1", group.servers[0].port), group.now
    with ExitStack() as stack:
        stack.callback(group.processes[0].let.set)
        for _ in range(REQUESTS_AT_ONCE):
            stack.enter_context(socket.create_connection(address)).sendall(b"GET /slow HTTP/1.0\r\n\r\n")
            assert group.processes[0].asked.acquire(timeout=10)
        assert group.said("/live") == (OK, {"live": True, "processes": {"0": None, "1": {"live": True}}})
        status, said = group.said("/ready")
        assert (status, said["ready"]) == (NOT, False)
        group.now += 61.0
        assert group.said("/live")[0] == NOT


def test_a_process_that_hangs_delays_no_request_but_those_that_ask_it(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision_pages, "ASK_SECONDS", 30.0)
    monkeypatch.setattr(http, "REQUEST_SECONDS", 30.0)
    group.processes[1].hung = "/live"
    asking = [threading.Thread(target=group.pages.answer, args=("/live",)) for _ in range(3)]
    with ExitStack() as stack:
        for one in asking:
            stack.callback(one.join)
        stack.callback(group.processes[1].let.set)
        for one in asking:
            one.start()
            assert group.processes[1].asked.acquire(timeout=10)
        ready = threading.Thread(target=group.pages.answer, args=("/ready",), daemon=True)
        ready.start()
        ready.join(10)
        assert not ready.is_alive()


def test_it_is_live_and_ready_when_every_process_is(group: Group) -> None:
    assert group.said("/live") == (OK, {"live": True, "processes": {"0": {"live": True}, "1": {"live": True}}})
    assert group.said("/ready")[0] == OK
    group.processes[1].ready = False
    assert group.said("/ready") == (NOT, {"ready": False, "processes": {"0": {"ready": True}, "1": {"ready": False}}})
    assert group.said("/live")[0] == OK
    group.processes[0].live = False
    assert group.said("/live")[0] == NOT


def test_a_process_that_does_not_answer_is_not_ready_and_for_a_while_still_live(group: Group) -> None:
    assert group.said("/live")[0] == OK
    group.servers.pop().close()
    assert group.said("/ready") == (NOT, {"ready": False, "processes": {"0": {"ready": True}, "1": None}})
    group.now += 60.0
    assert group.said("/live")[0] == OK
    group.now += 0.1
    assert group.said("/live")[0] == NOT


def test_a_process_that_was_just_started_has_as_long_to_answer(group: Group) -> None:
    group.servers.pop().close()
    assert group.said("/live")[0] == NOT
    group.members[1].since = group.now
    assert group.said("/live")[0] == OK


def test_a_process_that_waits_for_its_next_start_is_live_but_not_ready(group: Group) -> None:
    group.members[1].runs = False
    assert group.said("/live")[0] == OK
    assert group.said("/ready")[0] == NOT


def test_another_path_is_not_found(group: Group) -> None:
    assert group.said("/")[0] == HTTPStatus.NOT_FOUND


def test_the_metrics_are_every_process_s_with_its_number(group: Group) -> None:
    for process, records in zip(group.processes, (3, 5), strict=True):
        process.metrics.count("records_total", records)
        process.metrics.count("dead_letters_total", records, reason="malformed")
    group.members[1].starts = 4
    text = group.pages.answer("/metrics").body.decode()
    for line in (
        'anomaly_daemon_records_total{process="0"} 3.0',
        'anomaly_daemon_records_total{process="1"} 5.0',
        'anomaly_daemon_dead_letters_total{process="1",reason="malformed"} 5.0',
        'anomaly_daemon_process_up{process="0"} 1.0',
        'anomaly_daemon_process_starts_total{process="1"} 4.0',
    ):
        assert line in text.splitlines()
    assert text.count("# TYPE anomaly_daemon_records_total counter") == 1
    group.servers.pop().close()
    text = group.pages.answer("/metrics").body.decode()
    assert 'anomaly_daemon_process_up{process="1"} 0.0' in text
    assert 'anomaly_daemon_records_total{process="1"}' not in text


def test_nothing_is_lost_or_renamed_on_the_way() -> None:
    one = Metrics()
    one.set("model_info", 1, name='a "b" \\ c', version="1", digest="d")
    one.observe("step_seconds", 0.003)
    before = one.text().decode()
    merged = Merged({0: before}).text().decode()
    without = re.sub(r',process="0"|process="0",?', "", merged).replace("{}", "")
    assert sorted(without.splitlines()) == sorted(before.splitlines())
    assert all(f"anomaly_daemon_{metric.name}" in merged for metric in METRICS)

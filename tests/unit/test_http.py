from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection

import pytest
from crashing import filled, life, turned

from anomaly_daemon.daemon import http
from anomaly_daemon.daemon.http import Answer, HealthServer, answer_of, listen
from anomaly_daemon.daemon.metrics import Metrics
from anomaly_daemon.daemon.pages import Pages
from anomaly_daemon.daemon.progress import Progress
from anomaly_daemon.errors import ConfigurationError


@dataclass
class Loop:
    """The part of a worker that the pages use."""

    last_turn: float = 100.0
    waiting: bool = False
    progress: Progress = field(default_factory=Progress)
    metrics: Metrics = field(default_factory=Metrics)
    now: float = 100.0

    def idle_since(self, now: float) -> float:
        return now if self.waiting else self.last_turn


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def server(loop: Loop) -> Iterator[HealthServer]:
    pages = Pages(loop, loop.metrics, lambda: loop.now, stalled_seconds=60.0)  # type: ignore[arg-type]
    serving = HealthServer(listen("127.0.0.1", 0), pages)
    serving.start()
    yield serving
    serving.close()


def get(server: HealthServer, path: str, method: str = "GET") -> tuple[int, str, bytes]:
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type", ""), answer.read()


def test_live_while_the_loop_turns_and_not_when_it_has_stalled(server: HealthServer, loop: Loop) -> None:
    loop.now = 160.0
    status, content_type, body = get(server, "/live")
    assert (status, content_type) == (200, "application/json")
    assert json.loads(body) == {"live": True, "seconds_since_turn": 60.0}
    loop.now = 160.1
    assert get(server, "/live")[0] == 503


def test_live_while_the_loop_waits_for_a_broker_that_is_away(server: HealthServer, loop: Loop) -> None:
    loop.now, loop.waiting = 200.0, True
    assert get(server, "/live")[0] == 200
    loop.waiting = False
    assert get(server, "/live")[0] == 503


def test_ready_once_assigned_and_restored(server: HealthServer, loop: Loop) -> None:
    assert get(server, "/ready")[0] == 503
    loop.progress = Progress(joined=True, running=1, restoring=1, records_left=250, seconds_left=12.34)
    status, _, body = get(server, "/ready")
    assert status == 503
    assert json.loads(body) == {
        "ready": False,
        "assigned": True,
        "partitions": {"running": 1, "restoring": 1},
        "restore_records_left": 250,
        "restore_seconds_left": 12.3,
    }
    loop.progress = Progress(joined=True, running=2)
    assert get(server, "/ready")[0] == 200


def test_metrics_are_the_exposition(server: HealthServer, loop: Loop) -> None:
    loop.metrics.count("records_total", 7)
    status, content_type, body = get(server, "/metrics?name=x")
    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert b"anomaly_daemon_records_total 7.0" in body


def test_another_path_is_not_found_and_names_those_there_are(server: HealthServer) -> None:
    status, _, body = get(server, "/")
    assert status == 404
    assert json.loads(body)["paths"] == ["/live", "/metrics", "/ready"]


@pytest.mark.parametrize("path", ["/live", "/ready", "/metrics", "/"])
def test_head_is_answered_as_get_is_without_the_body(server: HealthServer, path: str) -> None:
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.request("HEAD", path)
        answer = connection.getresponse()
        said = answer.status, answer.getheader("Content-Type", ""), answer.read()
    status, content_type, body = get(server, path)
    assert said == (status, content_type, b"")
    assert len(body) > 0


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_but_get_and_head_is_answered(server: HealthServer, method: str) -> None:
    assert get(server, "/live", method)[0] == 501


def test_a_worker_of_the_real_loop_is_ready_when_it_runs() -> None:
    one = life(filled(), finite=False)
    pages = Pages(one.worker, one.worker.metrics, lambda: one.worker.last_turn, 60.0)
    assert pages.ready().status == 503
    turned(one)
    assert pages.ready().status == 200
    assert pages.live().status == 200


def test_clients_that_send_nothing_neither_keep_a_probe_out_nor_pile_up(server: HealthServer) -> None:
    """A liveness probe that is refused three times would have the daemon killed."""
    mute = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(http.REQUESTS_AT_ONCE + 2)]
    assert [client.recv(200) for client in mute[:2]] == [b"", b""], "the oldest make room"
    for _ in range(3):
        assert get(server, "/live")[0] == 200
    assert len([one for one in threading.enumerate() if "process_request" in one.name]) <= http.REQUESTS_AT_ONCE
    for client in mute:
        client.close()


def test_clients_for_which_there_was_no_thread_keep_no_place(
    server: HealthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a system is short of threads for a moment, /live would answer 503 for ever, and the daemon be killed."""

    def no_thread(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_thread)
        for _ in range(http.REQUESTS_AT_ONCE + 1):
            with socket.create_connection(("127.0.0.1", server.port), 10) as client:
                assert client.recv(200) == b"", "closed at once, and not refused for want of a place"
    assert get(server, "/live")[0] == 200


def test_clients_that_send_nothing_are_cut_off_after_a_while(
    server: HealthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http._Request, "timeout", 0.3)
    mute = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(http.REQUESTS_AT_ONCE)]
    assert [client.recv(10) for client in mute] == [b""] * http.REQUESTS_AT_ONCE
    for client in mute:
        client.close()


class Slow:
    """Answers once `let` is set."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.asked = threading.Semaphore(0)

    def answer(self, path: str) -> Answer:
        self.asked.release()
        self.let.wait(30)
        return answer_of(HTTPStatus.OK, {})


def test_where_all_are_being_answered_the_next_is_refused_and_none_is_cut_off() -> None:
    pages = Slow()
    serving = HealthServer(listen("127.0.0.1", 0), pages)
    serving.start()
    clients = [HTTPConnection("127.0.0.1", serving.port, timeout=10) for _ in range(http.REQUESTS_AT_ONCE)]
    try:
        for client in clients:
            client.request("GET", "/live")
        for _ in clients:
            assert pages.asked.acquire(timeout=10)
        assert get(serving, "/live")[0] == 503
        pages.let.set()
        assert [client.getresponse().status for client in clients] == [200] * http.REQUESTS_AT_ONCE
    finally:
        pages.let.set()
        for client in clients:
            client.close()
        serving.close()


def test_clients_that_send_a_byte_now_and_then_lose_their_places(
    server: HealthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "REQUEST_SECONDS", 0.3)
    slow = [socket.create_connection(("127.0.0.1", server.port), 0.05) for _ in range(http.REQUESTS_AT_ONCE)]
    cut = [was_cut(client) for client in slow]
    for client in slow:
        client.close()
    assert all(cut)
    assert get(server, "/live")[0] == 200


def was_cut(client: socket.socket) -> bool:
    """Return whether the server cuts the client off while it continues its request. So many bytes take longer than any
    client may take."""
    for _ in range(100):
        try:
            client.sendall(b"x")
            return client.recv(1) == b""
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def test_a_request_without_end_is_refused(server: HealthServer) -> None:
    with closing(socket.create_connection(("127.0.0.1", server.port))) as client:
        client.sendall(b"GET /" + b"x" * 70_000 + b" HTTP/1.0\r\n\r\n")
        assert b"414" in client.recv(1000)


@pytest.mark.parametrize("host", ["nobody.invalid", "ä..b", "ä" * 70])
def test_a_host_that_is_none_is_a_configuration_error_that_names_the_keys(host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"http\.host"):
        listen(host, 0)


def test_a_taken_port_is_a_configuration_error_that_names_the_keys(server: HealthServer) -> None:
    with pytest.raises(ConfigurationError, match=r"http\.port"):
        listen("127.0.0.1", server.port)

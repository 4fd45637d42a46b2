"""/live, /ready and /metrics, on the standard library's server. GET only, no request body, bounded.

/live fails when the loop has not turned for `http.stalled_seconds`: what a restart would mend. Waiting for a broker, within
its deadline, counts as turning: a restart does not mend that. /ready fails until this member is assigned and restored.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from anomaly_daemon.daemon.measure import known
from anomaly_daemon.daemon.metrics import CONTENT_TYPE, Metrics
from anomaly_daemon.daemon.worker import Worker
from anomaly_daemon.errors import ConfigurationError

REQUEST_SECONDS = 5.0
"""A client that does not send its request, or does not take the answer, is cut off."""
REQUESTS_AT_ONCE = 8
"""More than a probe and a scraper ever need; past it a client gets 503."""


class Answer(NamedTuple):
    status: HTTPStatus
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Pages:
    """What each path says, from values of the worker that are single assignments."""

    worker: Worker
    metrics: Metrics
    monotonic: Callable[[], float]
    stalled_seconds: float

    def answer(self, path: str) -> Answer:
        """`path` without its query."""
        pages = {"/live": self.live, "/ready": self.ready, "/metrics": self.text}
        page = pages.get(path)
        return page() if page else _json(HTTPStatus.NOT_FOUND, {"error": "not found", "paths": sorted(pages)})

    def live(self) -> Answer:
        now = self.monotonic()
        seconds = now - self.worker.idle_since(now)
        live = seconds <= self.stalled_seconds
        status = HTTPStatus.OK if live else HTTPStatus.SERVICE_UNAVAILABLE
        return _json(status, {"live": live, "seconds_since_turn": round(max(0.0, seconds), 3)})

    def ready(self) -> Answer:
        progress = self.worker.progress
        status = HTTPStatus.OK if progress.ready else HTTPStatus.SERVICE_UNAVAILABLE
        said = {
            "ready": progress.ready,
            "assigned": progress.joined,
            "partitions": {"running": progress.running, "restoring": progress.restoring},
            "restore_records_left": progress.records_left,
            "restore_seconds_left": known(progress.seconds_left),
        }
        return _json(status, said)

    def text(self) -> Answer:
        return Answer(HTTPStatus.OK, CONTENT_TYPE, self.metrics.text())


def _json(status: HTTPStatus, said: dict[str, Any]) -> Answer:
    return Answer(status, "application/json", json.dumps(said).encode() + b"\n")


class HealthServer:
    """Serves `pages` from threads of its own, from `start` to `close`."""

    def __init__(self, host: str, port: int, pages: Pages) -> None:
        """Listens. ConfigurationError when the address is not to be had."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        server = type("Server", (_Server,), {"address_family": family})
        try:
            self._server: _Server = server((host, port), type("Request", (_Request,), {"pages": pages}))
        except OSError as error:
            raise ConfigurationError(
                f"http.host {host!r}, http.port {port}: cannot listen: {error.strerror}"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="http", daemon=True)

    @property
    def port(self) -> int:
        """The one chosen, when 0 was asked for."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 16

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._places = threading.BoundedSemaphore(REQUESTS_AT_ONCE)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            request.settimeout(0.1)
            self._refuse(request)

    def _refuse(self, request: Any) -> None:
        try:
            request.sendall(b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        except OSError:
            return  # it left on its own
        finally:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that breaks off is no event of ours."""


class _Request(BaseHTTPRequestHandler):
    pages: Pages
    timeout = REQUEST_SECONDS
    server_version = "anomaly-daemon"
    sys_version = ""

    def do_GET(self) -> None:
        answer = self.pages.answer(self.path.partition("?")[0])
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *args: Any) -> None:
        """Probes come every few seconds: they are not logged."""

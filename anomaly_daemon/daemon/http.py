"""The HTTP server for the pages of a process, on the standard library's server. It accepts GET and HEAD only and no
request body, and limits the time and number of connections."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Protocol

from anomaly_daemon.errors import ConfigurationError

REQUEST_SECONDS = 5.0
"""Seconds for a client to send its whole request and take the answer. After that it is disconnected, whether it is
silent or slow."""
REQUESTS_AT_ONCE = 8
"""Connections at the same time, more than a probe and a scraper ever need. When all are taken, the client that has been
connected for longest without sending its request is disconnected, so that idle connections keep no probe out. If every
request has arrived and is being answered, the next client gets 503."""
CUT_SECONDS = 1.0
"""Seconds for a disconnected client's place to become free."""


class Answer(NamedTuple):
    status: HTTPStatus
    content_type: str
    body: bytes


def answer_of(status: HTTPStatus, content: dict[str, Any]) -> Answer:
    """Return an answer with `content` as a JSON object."""
    return Answer(status, "application/json", json.dumps(content).encode() + b"\n")


def answered(pages: Mapping[str, Callable[[], Answer]], path: str) -> Answer:
    """Return the answer of the page at this path. For an unknown path it is a 404 that lists the known ones."""
    page = pages.get(path)
    return page() if page else answer_of(HTTPStatus.NOT_FOUND, {"error": "not found", "paths": sorted(pages)})


class Answering(Protocol):
    """Gives the answer for each path. It is called from any thread."""

    def answer(self, path: str) -> Answer:
        """`path` is without its query."""
        ...


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at this address. Raises ConfigurationError when that is not possible."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # A host with an empty or a too long part would be a TypeError, with the socket left open.
        host.encode("idna")
        return socket.create_server((host, port), family=family, backlog=_Server.request_queue_size)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"http.host {host!r}, http.port {port}: cannot listen: {why}") from error


class HealthServer:
    """Serves `pages` from its own threads, from `start` to `close`."""

    def __init__(self, listening: socket.socket, pages: Answering) -> None:
        self._server = _Server(listening, type("Request", (_Request,), {"pages": pages}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="http", daemon=True)

    @property
    def port(self) -> int:
        """The port that the server listens on. If port 0 was asked for, this is the one that the system chose."""
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

    def __init__(self, listening: socket.socket, request: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(listening.getsockname(), request, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self._places = threading.BoundedSemaphore(REQUESTS_AT_ONCE)
        self._since: dict[socket.socket, float] = {}
        self._unasked: dict[socket.socket, None] = {}
        """Connections whose request has not arrived yet, the oldest first."""

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._has_place():
            self._unasked[request] = None
            self._since[request] = time.monotonic()
            try:
                super().process_request(request, client_address)
            except BaseException:  # the system had no room for one more thread: `socketserver` closes the connection
                self._leave(request)
                raise
        else:
            request.settimeout(0.1)
            self._refuse(request)

    def _has_place(self) -> bool:
        if self._places.acquire(blocking=False):
            return True
        for idle in self._unasked.copy():
            _cut(idle)
            return self._places.acquire(timeout=CUT_SECONDS)
        return False

    def asked(self, request: socket.socket) -> None:
        """Note that the request of this connection has arrived and is being answered."""
        self._unasked.pop(request, None)

    def service_actions(self) -> None:
        """Disconnect clients whose time is up. Called several times a second. A socket's own timeout starts from zero
        at each byte, so with that alone a slow client would keep its place."""
        late = time.monotonic() - REQUEST_SECONDS
        for request, since in self._since.copy().items():
            if since < late:
                _cut(request)

    def _refuse(self, request: Any) -> None:
        try:
            request.sendall(b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        except OSError:
            return  # the client has left already
        finally:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._leave(request)

    def _leave(self, request: socket.socket) -> None:
        """Release the place of this connection."""
        self._unasked.pop(request, None)
        del self._since[request]
        self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore the error: a client that disconnects is not an event of the daemon's."""


def _cut(request: socket.socket) -> None:
    with suppress(OSError):  # it may be closing at this moment
        request.shutdown(socket.SHUT_RDWR)


class _Request(BaseHTTPRequestHandler):
    pages: Answering
    server: _Server
    timeout = REQUEST_SECONDS
    server_version = "anomaly-daemon"
    sys_version = ""

    def do_GET(self) -> None:
        self.wfile.write(self._begun().body)

    def do_HEAD(self) -> None:
        """Send the same answer without its body, as some probes and load balancers ask for."""
        self._begun()

    def _begun(self) -> Answer:
        """Send status and headers, and return the answer."""
        self.server.asked(self.connection)
        answer = self.pages.answer(self.path.partition("?")[0])
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        return answer

    def log_message(self, *args: Any) -> None:
        """Log nothing: probes come every few seconds."""

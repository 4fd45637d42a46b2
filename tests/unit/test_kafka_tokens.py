"""OAUTHBEARER tokens, from a file and from an endpoint of this process."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import urllib.error
from base64 import b64decode
from collections.abc import Iterator
from http.client import IncompleteRead
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from kafka.errors import KafkaConnectionError, SaslAuthenticationFailedError

from anomaly_daemon.errors import ConfigurationError
from anomaly_daemon.settings import KafkaSettings
from anomaly_daemon.transport.kafka import tokens
from anomaly_daemon.transport.kafka.tokens import GrantedTokens, token_provider


class Endpoint(BaseHTTPRequestHandler):
    """Grants token-1, token-2, ... for 100 s each to any client that has the secret."""

    asked: list[tuple[str, dict[str, list[str]]]]
    answer: Any = None
    status = 200

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        who = b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
        self.asked.append((who, form))
        granted = {"access_token": f"token-{len(self.asked)}", "expires_in": 100}
        body = json.dumps(granted if self.answer is None else self.answer).encode()
        self.send_response(self.status if who == "us:s%3Acret" else 401)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[tuple[str, type[Endpoint]]]:
    Fresh = type("Fresh", (Endpoint,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), Fresh)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/token", Fresh
    server.shutdown()
    thread.join()
    server.server_close()


def bearer(**keys: Any) -> KafkaSettings:
    return KafkaSettings(security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", **keys)


def test_a_token_file_is_read_at_every_login(tmp_path: Path) -> None:
    file = tmp_path / "token"
    provider = token_provider(bearer(sasl_oauth_token_file=file))
    for token in ("first", "second"):
        file.write_text(f"{token}\n")
        assert provider.token() == token


def test_a_token_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        token_provider(bearer(sasl_oauth_token_file=tmp_path / "none")).token()
    (tmp_path / "odd").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        token_provider(bearer(sasl_oauth_token_file=tmp_path / "odd")).token()


def test_a_token_file_that_is_being_written_is_read_again(tmp_path: Path) -> None:
    """A login with an empty token would be refused, and a refused login ends the process until a person has come."""
    file = tmp_path / "token"
    file.write_text("\n")
    provider = token_provider(bearer(sasl_oauth_token_file=file))
    with pytest.raises(KafkaConnectionError, match="is empty") as raised:
        provider.token()
    assert raised.value.retriable
    file.write_text("second\n")
    assert provider.token() == "second"


def test_the_grant_is_asked_for_with_our_identity_and_scope(endpoint: tuple[str, type[Endpoint]]) -> None:
    url, server = endpoint
    provider = token_provider(
        bearer(
            sasl_oauth_token_endpoint_url=url,
            sasl_oauth_client_id="us",
            sasl_oauth_client_secret="s:cret",
            sasl_oauth_scope="kafka",
        )
    )
    assert provider.token() == "token-1"
    assert server.asked == [("us:s%3Acret", {"grant_type": ["client_credentials"], "scope": ["kafka"]})]


def test_a_token_is_kept_until_shortly_before_its_end(endpoint: tuple[str, type[Endpoint]]) -> None:
    times = iter([0.0, 0.0, 69.0, 70.0, 70.0, 71.0])  # the clock is read once, and again when a token is granted
    provider = GrantedTokens(endpoint[0], "us", "s:cret", None, clock=lambda: next(times))
    assert [provider.token() for _ in range(4)] == ["token-1", "token-1", "token-2", "token-2"]


@pytest.mark.parametrize("answer", [{"error": "no"}, ["token"], {"access_token": "t", "expires_in": "soon"}])
def test_an_answer_that_is_no_token_is_a_refused_login(endpoint: tuple[str, type[Endpoint]], answer: Any) -> None:
    endpoint[1].answer = answer
    with pytest.raises(SaslAuthenticationFailedError, match="no token from"):
        GrantedTokens(endpoint[0], "us", "s:cret", None).token()


def test_a_wrong_secret_is_a_refused_login_that_does_not_tell_the_secret(endpoint: tuple[str, type[Endpoint]]) -> None:
    with pytest.raises(SaslAuthenticationFailedError) as caught:
        GrantedTokens(endpoint[0], "us", "hush", None).token()
    assert "401" in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_endpoint_that_is_busy_or_broken_is_waited_for(endpoint: tuple[str, type[Endpoint]], status: int) -> None:
    """A refused login would end the daemon until a person starts it again."""
    url, asked = endpoint
    provider = GrantedTokens(url, "us", "s:cret", None)
    asked.status = status
    with pytest.raises(KafkaConnectionError, match=str(status)) as caught:
        provider.token()
    assert caught.value.retriable
    asked.status = 200
    assert provider.token() == "token-2"


def test_an_endpoint_that_is_away_or_hangs_up_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/token"

        def hang_up() -> None:
            line, _ = listening.accept()
            line.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(KafkaConnectionError, match="no token from"):
            GrantedTokens(url, "us", "s", None).token()
        thread.join()
    with pytest.raises(KafkaConnectionError, match="refused"):
        GrantedTokens(url, "us", "s", None).token()


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (urllib.error.URLError(ssl.SSLCertVerificationError("self-signed")), False),
        (urllib.error.URLError(TimeoutError()), True),
        (IncompleteRead(b""), True),
        (ValueError("no JSON"), False),
    ],
)
def test_a_certificate_or_an_answer_that_is_none_waits_for_a_person(error: Exception, passes: bool) -> None:
    assert tokens._passes(error) == passes


def test_only_the_web_is_asked() -> None:
    with pytest.raises(ConfigurationError, match="https://"):
        GrantedTokens("file:///etc/passwd", "us", "s", None)


def test_half_a_grant_is_told() -> None:
    with pytest.raises(ConfigurationError, match="sasl_oauth_client_id"):
        token_provider(bearer(sasl_oauth_token_endpoint_url="https://login.example.org/token"))

"""The probe, tested with servers that give prescribed answers, each on a socket of this process."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest
from kafka.cluster import collect_hosts
from kafka.errors import KafkaConnectionError, KafkaError, SaslAuthenticationFailedError
from kafka.net.sasl.oauth import AbstractTokenProvider

from anomaly_daemon.errors import ConfigurationError, DaemonError, NotPermitted, Unavailable
from anomaly_daemon.transport.kafka import probe
from anomaly_daemon.transport.kafka.probe import find_fault, split

Answer = Callable[[int], bytes | None]
"""Maps a request's API key to the body of the answer; None hangs up."""

PLAIN = {"sasl_mechanism": "PLAIN", "sasl_plain_username": "alice", "sasl_plain_password": "secret"}


def text(content: str) -> bytes:
    return struct.pack(">h", len(content)) + content.encode()


def brokers(*ports: int) -> bytes:
    each = b"".join(struct.pack(">i", 1) + text("localhost") + struct.pack(">i", port) + b"\xff\xff" for port in ports)
    return struct.pack(">i", len(ports)) + each


def serve(listening: socket.socket, answer: Answer) -> None:
    with suppress(OSError):  # ends with the test
        while True:
            line, _ = listening.accept()
            with line, suppress(OSError):  # the client hung up
                speak(line, answer)


def speak(line: socket.socket, answer: Answer) -> None:
    while len(head := line.recv(4)) == 4:
        request = line.recv(struct.unpack(">i", head)[0])
        body = answer(struct.unpack_from(">h", request)[0])
        if body is None:
            return
        line.sendall(struct.pack(">i", len(body) + 4) + b"\0\0\0\0" + body)


@pytest.fixture
def server() -> Iterator[Callable[[Answer], str]]:
    """Starts a server: server(answer) -> "localhost:port"."""
    with ExitStack() as closing:

        def start(answer: Answer) -> str:
            listening = closing.enter_context(socket.create_server(("127.0.0.1", 0)))
            thread = threading.Thread(target=serve, args=(listening, answer), daemon=True)
            thread.start()
            closing.callback(thread.join, 5)
            closing.callback(listening.shutdown, socket.SHUT_RDWR)
            return f"localhost:{listening.getsockname()[1]}"

        yield start


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def kafka(
    metadata: bytes, login: bytes = struct.pack(">hi", probe.ILLEGAL_SASL_STATE, 0), verdict: bytes = b""
) -> Answer:
    answers = {probe.API_VERSIONS: b"", probe.SASL_HANDSHAKE: login, probe.SASL_AUTHENTICATE: verdict}
    return lambda api: (answers | {probe.METADATA: metadata})[api]


def test_a_broker_that_lets_us_in_has_no_fault(server: Callable[[Answer], str]) -> None:
    assert find_fault([server(kafka(brokers()))], {}) is None


def test_an_advertised_address_that_cannot_be_reached_is_told(server: Callable[[Answer], str]) -> None:
    port = closed_port()
    fault = find_fault([server(kafka(brokers(port)))], {})
    assert isinstance(fault, Unavailable)
    assert f"localhost:{port}" in str(fault)
    assert "advertised.listeners" in str(fault)


def test_a_login_is_accepted_or_refused_with_the_brokers_words(server: Callable[[Answer], str]) -> None:
    offer = struct.pack(">hi", 0, 1) + text("PLAIN")
    yes = struct.pack(">h", 0) + text("") + struct.pack(">i", 0)
    no = struct.pack(">h", 58) + text("Invalid username") + struct.pack(">i", 0)

    assert find_fault([server(kafka(brokers(), offer, yes))], PLAIN) is None
    fault = find_fault([server(kafka(brokers(), offer, no))], PLAIN)
    assert isinstance(fault, NotPermitted)
    assert "Invalid username" in str(fault)
    assert "secret" not in str(fault)


@pytest.mark.parametrize(
    ("error", "fault_kind"), [(KafkaConnectionError, Unavailable), (SaslAuthenticationFailedError, NotPermitted)]
)
def test_a_token_that_cannot_be_had_now_is_waited_for(
    server: Callable[[Answer], str], error: type[KafkaError], fault_kind: type[DaemonError]
) -> None:
    class Tokens(AbstractTokenProvider):  # type: ignore[misc] # kafka-python has no types
        def token(self) -> str:
            raise error("no token from https://login.example.org")

    offer = struct.pack(">hi", 0, 1) + text("OAUTHBEARER")
    bearer = {"sasl_mechanism": "OAUTHBEARER", "sasl_oauth_token_provider": Tokens()}
    fault = find_fault([server(kafka(brokers(), offer))], bearer)
    assert type(fault) is fault_kind
    assert "no token from https://login.example.org" in str(fault)


def test_a_server_that_hangs_up_is_taken_for_a_tls_port(server: Callable[[Answer], str]) -> None:
    fault = find_fault([server(lambda _api: None)], {})
    assert isinstance(fault, ConfigurationError)
    assert "SSL" in str(fault)


def test_a_server_that_hangs_up_once_was_stopping_and_no_setting_is_blamed(
    server: Callable[[Answer], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "AGAIN_SECONDS", 0.0)
    visits: list[int] = []

    def at_first_nothing(api: int) -> bytes | None:
        visits.append(api)
        return None if len(visits) == 1 else kafka(brokers())(api)

    assert probe.find_fault([server(at_first_nothing)], {}) is None
    assert len(visits) > 1


def test_an_answer_of_absurd_size_is_not_waited_for(
    server: Callable[[Answer], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "LARGEST_ANSWER", 100)
    assert isinstance(find_fault([server(lambda _api: b"x" * 200)], {}), ConfigurationError)


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "TIMEOUT_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        fault = find_fault([f"localhost:{silent.getsockname()[1]}"], {})
    assert isinstance(fault, Unavailable)
    assert "does not answer" in str(fault)


@pytest.mark.parametrize(
    ("server_name", "parts"),
    [
        ("broker:9093", ("broker", 9093)),
        ("broker", ("broker", 9092)),
        ("[::1]:9093", ("::1", 9093)),
        ("[::1]", ("::1", 9092)),
        ("::1", ("::1", 9092)),
        ("2001:db8::9093", ("2001:db8::9093", 9092)),
        ("::ffff:10.0.0.1", ("::ffff:10.0.0.1", 9092)),
        ("10.0.0.1:9093", ("10.0.0.1", 9093)),
    ],
)
def test_a_server_is_a_host_and_a_port_as_the_client_reads_them(server_name: str, parts: tuple[str, int]) -> None:
    assert split(server_name) == parts
    ((host, port, _family),) = collect_hosts([server_name])
    assert (host, port) == parts


@pytest.mark.parametrize(
    "wrong", ["broker:kafka", "broker:0", "broker:70000", "broker:", "[::1]:", "[::1]:kafka", "a\0b:x"]
)
def test_what_is_no_port_is_told(wrong: str) -> None:
    with pytest.raises(DaemonError, match="is not host:port"):
        split(wrong)


@pytest.mark.parametrize("name", ["kafka..example.org", "x" * 64 + ".example.org", ".example.org"])
def test_a_name_that_no_host_can_have_is_a_fault_of_the_configuration(name: str) -> None:
    fault = find_fault([f"{name}:9092"], {})
    assert isinstance(fault, ConfigurationError)
    assert f"{name!r} cannot be the name of a host" in str(fault)


def test_an_advertised_name_that_no_host_can_have_is_told(server: Callable[[Answer], str]) -> None:
    fault = find_fault([server(kafka(brokers(1).replace(text("localhost"), text("a..b"))))], {})
    assert isinstance(fault, Unavailable)
    assert "a..b:1, which cannot be reached" in str(fault)

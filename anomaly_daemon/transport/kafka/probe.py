"""Finds out on a bare socket why a broker cannot be reached: name, port, TLS, login, advertised addresses.

Speaks just enough of Kafka's protocol (https://kafka.apache.org/protocol): ApiVersions v0, SaslHandshake v1,
SaslAuthenticate v0 and Metadata v1. Each is a request and its answer, with a deadline on every wait.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from kafka.errors import KafkaError, for_code
from kafka.net.sasl import get_sasl_mechanism

from anomaly_daemon.errors import ConfigurationError, DaemonError, NotPermitted, Unavailable

TIMEOUT_SECONDS = 5.0
AGAIN_SECONDS = 2.0
"""Seconds before a server that closed the connection is asked once more."""
LARGEST_ANSWER = 16_000_000
METADATA, SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE = 3, 17, 18, 36
UNSUPPORTED_SASL_MECHANISM, ILLEGAL_SASL_STATE = 33, 34
TLS_ALERT = b"\x15\x03"
UNKNOWN_AUTHORITY = "set kafka.ssl_cafile to the authority that signed it"
CERTIFICATE_ADVICE = {
    9: "it is valid from a later time on: compare the clocks of this machine and the broker's",
    10: "the broker needs a new one",
    62: "call the broker by a name in its certificate, or set kafka.ssl_check_hostname to false",
    64: "call the broker by a name in its certificate, or set kafka.ssl_check_hostname to false",
}
"""Advice by OpenSSL's verify codes: not yet valid, expired, another host's name, another host's address."""


def find_fault(servers: Sequence[str], security: Mapping[str, Any]) -> DaemonError | None:
    """Return the first server's fault, or None as soon as one of `servers` ("host:port") accepts this client.

    `security` is what `connection.security_arguments` returns. The fault is Unavailable (no answer, which may pass
    without intervention), NotPermitted (the login was refused) or ConfigurationError (a setting does not fit the
    listener).
    """
    first: DaemonError | None = None
    for server in servers:
        try:
            _probe(server, security)
        except DaemonError as fault:
            first = first or fault
        else:
            return None
    return first or ConfigurationError("kafka.bootstrap_servers is empty")


class _HungUp(ConfigurationError):  # noqa: N818 - named for what happened
    """The listener closed the connection. A setting may be wrong, but a broker that is just stopping does this, too."""


class _HungUpAtLogin(NotPermitted):
    """The listener closed the connection after it had asked for a login."""


def _probe(server: str, security: Mapping[str, Any]) -> None:
    try:
        advertised = _visit(server, security)
    except (_HungUp, _HungUpAtLogin):
        time.sleep(AGAIN_SECONDS)  # by then the broker is gone, or answers, or the refusal is meant
        advertised = _visit(server, security)
    for broker in advertised:
        _reach_advertised(server, *broker)


def _visit(server: str, security: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Log in, and return the addresses that the brokers of the cluster advertise."""
    host, port = split(server)
    with closing(_open(host, port)) as plain, closing(_secure(plain, server, security)) as line:
        line.settimeout(TIMEOUT_SECONDS)
        try:
            _ask(line, API_VERSIONS, 0)
            _log_in(line, server, security)
            return list(_brokers(_ask(line, METADATA, 1, struct.pack(">i", 0))))
        except OSError as error:
            raise _broken_off(server, error, security) from error


def split(server: str) -> tuple[str, int]:
    """Return host and port as the client reads them. An IPv6 address needs brackets only if a port follows. Raises
    ConfigurationError."""
    host, colon, port = server.rpartition(":")
    if not colon or server.endswith("]") or _is_ipv6(server):
        host, port = server, "9092"
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigurationError(f"kafka.bootstrap_servers: {server!r} is not host:port, or [IPv6 address]:port")
    return host.strip("[]"), int(port)


def _is_ipv6(server: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6, server)
    except (OSError, ValueError):  # ValueError: a character that no address holds
        return False
    return True


def _open(host: str, port: int) -> socket.socket:
    try:
        return socket.create_connection((host, port), timeout=TIMEOUT_SECONDS)
    except socket.gaierror as error:
        raise Unavailable(f"{host}:{port}: this host name is not known ({error.strerror})") from error
    except UnicodeError as error:  # a label of the name is empty or too long: no look-up can find it
        raise ConfigurationError(f"kafka.bootstrap_servers: {host!r} cannot be the name of a host") from error
    except ConnectionRefusedError as error:
        raise Unavailable(
            f"{host}:{port}: nothing listens there (connection refused): the port is wrong, or the broker is not "
            "running"
        ) from error
    except OSError as error:
        raise Unavailable(
            f"{host}:{port}: no answer ({error}): the host is wrong, a firewall blocks it, or the broker is not running"
        ) from error


def _secure(plain: socket.socket, server: str, security: Mapping[str, Any]) -> socket.socket:
    context: ssl.SSLContext | None = security.get("ssl_context")
    if context is None:
        return plain
    try:
        return context.wrap_socket(plain, server_hostname=split(server)[0])
    except ssl.SSLCertVerificationError as error:
        advice = CERTIFICATE_ADVICE.get(error.verify_code, UNKNOWN_AUTHORITY)
        raise ConfigurationError(
            f"{server}: the broker's certificate is not accepted: {error.verify_message.rstrip('.')}; {advice}"
        ) from error
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"{server}: no TLS there ({error.reason}): use its TLS port, or set kafka.security_protocol to PLAINTEXT "
            "or SASL_PLAINTEXT"
        ) from error
    except OSError as error:
        raise Unavailable(f"{server}: closed during the TLS handshake ({error})") from error


def _broken_off(server: str, error: OSError, security: Mapping[str, Any]) -> DaemonError:
    """Return the error for a connection that the listener closed or did not answer. What this means depends on the
    protocol that was spoken."""
    if isinstance(error, ssl.SSLError):  # TLS 1.3 reports a missing client certificate only after the handshake
        return ConfigurationError(
            f"{server}: the broker refused our side of TLS ({error.reason}): it may ask for a client "
            "certificate: set kafka.ssl_certfile and kafka.ssl_keyfile to a certificate that is not expired, of "
            "an authority that the broker trusts"
        )
    if isinstance(error, TimeoutError):
        return Unavailable(f"{server}: accepts connections but does not answer: not a Kafka broker, or stuck")
    if "ssl_context" in security:
        return Unavailable(f"{server}: closed the connection ({error})")
    return _HungUp(
        f"{server}: closed the connection after a plaintext request: it may speak TLS (set "
        "kafka.security_protocol to SSL or SASL_SSL), or it is not a Kafka broker"
    )


def _log_in(line: socket.socket, server: str, security: Mapping[str, Any]) -> None:
    mechanism: str | None = security.get("sasl_mechanism")
    code, offered = _handshake(_ask(line, SASL_HANDSHAKE, 1, _text(mechanism or "PLAIN")))
    wants_login = code != ILLEGAL_SASL_STATE
    tls = "ssl_context" in security
    if mechanism is None:
        if wants_login:
            raise ConfigurationError(
                f"{server}: the listener asks for a login: set kafka.security_protocol to "
                f"{'SASL_SSL' if tls else 'SASL_PLAINTEXT'} and kafka.sasl_mechanism to one of {', '.join(offered)}"
            )
        return
    if not wants_login:
        raise ConfigurationError(
            f"{server}: the listener takes no login: set kafka.security_protocol to {'SSL' if tls else 'PLAINTEXT'}, "
            "or use its SASL port"
        )
    if code == UNSUPPORTED_SASL_MECHANISM:
        raise ConfigurationError(f"{server}: no {mechanism} there: set kafka.sasl_mechanism to {', '.join(offered)}")
    _authenticate(line, server, mechanism, security)


def _authenticate(line: socket.socket, server: str, mechanism: str, security: Mapping[str, Any]) -> None:
    whose = "the token" if mechanism == "OAUTHBEARER" else "kafka.sasl_plain_username and its password"
    refused = f"{server}: the login by {mechanism} was refused: check {whose}"
    try:
        exchange = get_sasl_mechanism(mechanism)(host=split(server)[0], **security)
        while not exchange.is_done():
            token: bytes = exchange.auth_bytes()
            answer = _ask(line, SASL_AUTHENTICATE, 0, struct.pack(">i", len(token)) + token)
            (code,) = struct.unpack_from(">h", answer)
            message, place = _read_text(answer, 2)
            if code:
                raise NotPermitted(f"{refused}: {message or for_code(code).__name__}")
            (size,) = struct.unpack_from(">i", answer, place)
            exchange.receive(answer[place + 4 : place + 4 + size])
    except (KafkaError, ValueError) as error:  # no token could be obtained, or the server cannot prove who it is
        if isinstance(error, KafkaError) and error.retriable:
            raise Unavailable(f"{server}: no login by {mechanism}: {error}") from error
        raise NotPermitted(f"{refused}: {error}") from error
    except ConnectionError as error:
        raise _HungUpAtLogin(f"{refused}: the broker closed the connection") from error


def _reach_advertised(server: str, host: str, port: int) -> None:
    try:
        socket.create_connection((host, port), timeout=TIMEOUT_SECONDS).close()
    except (OSError, UnicodeError) as error:
        raise Unavailable(
            f"{server} answers, but advertises a broker at {host}:{port}, which cannot be reached from here "
            f"({error}): correct the broker's advertised.listeners"
        ) from error


def _ask(line: socket.socket, api: int, version: int, body: bytes = b"") -> bytes:
    request = struct.pack(">hhi", api, version, api) + _text("anomaly-daemon") + body
    line.sendall(struct.pack(">i", len(request)) + request)
    head = _read(line, 4)
    (size,) = struct.unpack(">i", head)
    if head.startswith(TLS_ALERT) or not 4 <= size <= LARGEST_ANSWER:
        raise ConnectionAbortedError("its answer is not of the Kafka protocol")
    return _read(line, size)[4:]


def _read(line: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = line.recv(size - len(parts))
        if not part:
            raise ConnectionResetError("closed by the broker")
        parts += part
    return bytes(parts)


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">h", len(encoded)) + encoded


def _read_text(answer: bytes, place: int) -> tuple[str, int]:
    (size,) = struct.unpack_from(">h", answer, place)
    end = place + 2 + max(size, 0)
    return answer[place + 2 : end].decode(errors="replace"), end


def _handshake(answer: bytes) -> tuple[int, list[str]]:
    code, count = struct.unpack_from(">hi", answer)
    offered, place = [], 6
    for _ in range(count):
        name, place = _read_text(answer, place)
        offered.append(name)
    return code, offered


def _brokers(answer: bytes) -> Iterator[tuple[str, int]]:
    (count,) = struct.unpack_from(">i", answer)
    place = 4
    for _ in range(count):
        host, place = _read_text(answer, place + 4)
        (port,) = struct.unpack_from(">i", answer, place)
        _rack, place = _read_text(answer, place + 4)
        yield host, port

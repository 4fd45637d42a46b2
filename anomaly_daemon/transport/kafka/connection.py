"""Creates Kafka clients, and translates settings to their arguments.

This is the one module that knows how kafka-python names the settings, and how a client is made.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import KafkaError
from pydantic import SecretStr

from anomaly_daemon.errors import ConfigurationError, NotPermitted, Unavailable
from anomaly_daemon.settings import KafkaSettings, SaslMechanism
from anomaly_daemon.transport.kafka.failures import translate
from anomaly_daemon.transport.kafka.header_names import let_pass
from anomaly_daemon.transport.kafka.probe import find_fault
from anomaly_daemon.transport.kafka.sockets import PROXY_URL
from anomaly_daemon.transport.kafka.tokens import token_provider
from anomaly_daemon.transport.ports import Partition

Client = TypeVar("Client")

RETRY_SECONDS = 0.25
"""Seconds between two attempts to reach a broker that is not up yet."""
GROWN_SECONDS = 30.0
"""Seconds between two checks of the input's number of partitions. The client's own default is five minutes."""


def connect(kafka: KafkaSettings, client: Callable[..., Client], **arguments: Any) -> Client:
    """Create a consumer, producer or admin client.

    The client's own error says only "unable to bootstrap", comes late, and leaks the sockets of its attempts. So the
    brokers are probed first. A fault that waiting cannot cure (TLS against plaintext, a bad certificate, a wrong
    password) is raised at once. A broker that is merely not up yet is waited for during `bootstrap_timeout_seconds`,
    and then named in the error.

    Raises Unavailable, NotPermitted or ConfigurationError, each with what to change. An error of the client itself is
    translated by `failures.translate`.
    """
    let_pass()
    security = security_arguments(kafka)
    servers = bootstrap_servers(kafka)
    _wait_for_one(servers, security, kafka.bootstrap_timeout_seconds)
    try:
        return client(
            bootstrap_servers=servers,
            client_id=kafka.client_id,
            bootstrap_timeout_ms=milliseconds(kafka.bootstrap_timeout_seconds),
            proxy_url=PROXY_URL,
            reconnect_backoff_max_ms=1000,  # a broker that is back is found within a second, not half a minute
            **security,
            **arguments,
        )
    except KafkaError as error:
        raise (find_fault(servers, security) or translate(error, "connecting to Kafka")) from error


def _wait_for_one(servers: list[str], security: dict[str, Any], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while (fault := find_fault(servers, security)) is not None:
        if not isinstance(fault, Unavailable) or time.monotonic() >= deadline:
            raise fault
        time.sleep(RETRY_SECONDS)


def bootstrap_servers(kafka: KafkaSettings) -> list[str]:
    return [server.strip() for server in kafka.bootstrap_servers.split(",") if server.strip()]


def security_arguments(kafka: KafkaSettings) -> dict[str, Any]:
    """Return the TLS and SASL arguments that every kafka-python client takes. Raises ConfigurationError or NotPermitted
    for files that cannot be read."""
    arguments: dict[str, Any] = {"security_protocol": kafka.security_protocol.value}
    if kafka.security_protocol.endswith("SSL"):
        arguments["ssl_context"] = ssl_context(kafka)
    if kafka.sasl_mechanism is None:
        return arguments
    arguments["sasl_mechanism"] = kafka.sasl_mechanism.value
    if kafka.sasl_mechanism is SaslMechanism.OAUTHBEARER:
        arguments["sasl_oauth_token_provider"] = token_provider(kafka)
    else:
        arguments["sasl_plain_username"] = kafka.sasl_plain_username
        arguments["sasl_plain_password"] = secret(
            kafka.sasl_plain_password, kafka.sasl_plain_password_file, "kafka.sasl_plain_password_file"
        )
    return arguments


def ssl_context(kafka: KafkaSettings) -> ssl.SSLContext:
    """Return a TLS context for version 1.2 or newer. The broker's certificate is always checked, and its name too
    unless `ssl_check_hostname` is false."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = kafka.ssl_check_hostname
    if kafka.ssl_cafile is None:
        context.load_default_certs()
    else:
        _load("kafka.ssl_cafile", lambda: context.load_verify_locations(str(kafka.ssl_cafile)))
    if kafka.ssl_certfile is not None:
        _load_our_own(context, kafka)
    return context


def _load_our_own(context: ssl.SSLContext, kafka: KafkaSettings) -> None:
    """Load this client's own certificate and its key. OpenSSL asks for a password where the key is encrypted. Without a
    callback it would ask at the terminal, where a daemon would hang."""
    password = secret(kafka.ssl_password, kafka.ssl_password_file, "kafka.ssl_password_file")
    asked = False

    def answer() -> str:
        nonlocal asked
        asked = True
        return password or ""

    certificate, key = str(kafka.ssl_certfile), kafka.ssl_keyfile and str(kafka.ssl_keyfile)
    try:
        _load("kafka.ssl_certfile and kafka.ssl_keyfile", lambda: context.load_cert_chain(certificate, key, answer))
    except ConfigurationError as error:
        if not asked or "KEY_VALUES_MISMATCH" in str(error):
            raise
        lacks = "kafka.ssl_password does not open it" if password else "set kafka.ssl_password (or ..._file)"
        raise ConfigurationError(f"the key in kafka.ssl_keyfile is encrypted: {lacks}") from error


def _load(keys: str, load: Callable[[], None]) -> None:
    try:
        load()
    except PermissionError as error:
        raise NotPermitted(f"{keys} may not be read: {error.strerror}") from error
    except OSError as error:  # an SSLError is one
        raise ConfigurationError(f"{keys} cannot be used: {error}") from error


def secret(value: SecretStr | None, file: Path | None, key: str) -> str | None:
    """Return the secret itself, or the contents of its file without the line end; None where neither is set."""
    if value is not None:
        return value.get_secret_value()
    if file is None:
        return None
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except PermissionError as error:
        raise NotPermitted(f"{key} may not be read: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{key} cannot be read: {error}") from error


def consumer_arguments(kafka: KafkaSettings) -> dict[str, Any]:
    """Return the arguments that every consumer gets: it reads committed records only, and the client never chooses an
    offset, unless a caller overrides `auto_offset_reset`."""
    return {
        "isolation_level": "read_committed",
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "allow_auto_create_topics": False,
        "max_poll_records": kafka.max_poll_records,
        "metrics_enabled": False,
    }


def member_arguments(kafka: KafkaSettings) -> dict[str, Any]:
    """Return the further arguments of a consumer that is a member of the group."""
    return {
        "group_id": kafka.group_id,
        "group_instance_id": kafka.group_instance_id,
        "partition_assignment_strategy": [CooperativeStickyAssignor],
        "session_timeout_ms": milliseconds(kafka.session_timeout_seconds),
        # Kafka's default proportion (3 s to 45 s), but no longer: a rebalance reaches a member with its next heartbeat.
        "heartbeat_interval_ms": min(3000, milliseconds(kafka.session_timeout_seconds / 15)),
        "max_poll_interval_ms": milliseconds(kafka.max_poll_interval_seconds),
        # Until the client notices that the input has grown, streams that moved there are not read, and
        # seem silent.
        "metadata_max_age_ms": milliseconds(GROWN_SECONDS),
    }


def transactional_id(kafka: KafkaSettings, fallback: str) -> str:
    """Return the transactional id. It is stable where the instance has a stable name, so that a restart aborts the
    transaction that its predecessor left open.

    Without `group_instance_id` (or a `transactional_id` that is set) there is no stable name. `fallback` then makes the
    id unique, and the open transaction of a crashed predecessor ends by `transaction_timeout_seconds`.
    """
    return kafka.transactional_id or f"{kafka.group_id}-{kafka.group_instance_id or fallback}"


def milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


def name_of(partition: Partition) -> str:
    return f"{partition.topic}-{partition.partition}"

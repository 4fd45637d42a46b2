"""Keys of `kafka`: the broker, and how to be let in."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator

from anomaly_daemon.settings.section import LONGEST_SECONDS, Section


class SecurityProtocol(StrEnum):
    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"


class SaslMechanism(StrEnum):
    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"
    OAUTHBEARER = "OAUTHBEARER"


class KafkaSettings(Section):
    """The broker, and how to log in. Key names are those of Kafka's own client configuration."""

    bootstrap_servers: str = "localhost:9092"
    """host:port of one or more brokers, joined by commas."""
    client_id: str = "anomaly-daemon"
    """Names this client in the broker's logs, metrics and quotas."""
    group_id: str = Field("anomaly-daemon", min_length=1)
    """The consumer group: daemons of one group share the partitions; its committed offsets are the progress."""
    group_instance_id: str | None = Field(None, min_length=1)
    """Static membership: stable per instance (a StatefulSet's pod name), so a restart does not rebalance."""
    transactional_id: str | None = Field(None, min_length=1)
    """Stable per instance; by default derived from the group and the instance id."""
    security_protocol: SecurityProtocol = SecurityProtocol.PLAINTEXT
    """Whether the connection is encrypted (SSL) and whether the daemon logs in (SASL)."""
    ssl_cafile: Path | None = None
    """PEM file of the authority that signed the brokers' certificates; none: the system's own list."""
    ssl_certfile: Path | None = None
    """PEM file of the daemon's certificate, where the brokers ask for one (mutual TLS)."""
    ssl_keyfile: Path | None = None
    """PEM file of that certificate's private key."""
    ssl_password: SecretStr | None = None
    """Opens `ssl_keyfile` when it is encrypted."""
    ssl_password_file: Path | None = None
    """A file that holds `ssl_password`."""
    ssl_check_hostname: bool = True
    """Whether the broker's certificate must carry the host name that was connected to."""
    sasl_mechanism: SaslMechanism | None = None
    """How to log in."""
    sasl_plain_username: str | None = None
    """The user of PLAIN and SCRAM."""
    sasl_plain_password: SecretStr | None = None
    """The password of PLAIN and SCRAM."""
    sasl_plain_password_file: Path | None = None
    """A file that holds `sasl_plain_password`."""
    sasl_oauth_token_endpoint_url: str | None = None
    """OAUTHBEARER: the token endpoint of the client-credentials grant."""
    sasl_oauth_client_id: str | None = None
    """The client id in the client-credentials grant."""
    sasl_oauth_client_secret: SecretStr | None = None
    """The secret of the client-credentials grant."""
    sasl_oauth_client_secret_file: Path | None = None
    """A file that holds `sasl_oauth_client_secret`."""
    sasl_oauth_scope: str | None = None
    """The scope asked for in the client-credentials grant."""
    sasl_oauth_token_file: Path | None = None
    """A file that something else keeps a fresh token in (Kubernetes projected tokens, a sidecar)."""
    session_timeout_seconds: float = Field(45.0, gt=0, le=LONGEST_SECONDS)
    """A member without a heartbeat for this long loses its partitions. No shorter than `transaction_timeout_seconds`."""
    max_poll_interval_seconds: float = Field(300.0, gt=0, le=LONGEST_SECONDS)
    """A member that has not polled for this long loses its partitions."""
    transaction_timeout_seconds: float = Field(15.0, gt=0, le=LONGEST_SECONDS)
    """After a crash within a transaction, the partitions' new owner waits for this long."""
    bootstrap_timeout_seconds: float = Field(30.0, gt=0, le=LONGEST_SECONDS)
    """How long to try to reach a broker at start."""
    max_poll_records: int = Field(10_000, gt=0)
    """The most records of one poll, so of one model step."""

    @model_validator(mode="after")
    def _nothing_is_set_in_vain(self) -> Self:
        """Who names an authority or a password wants to be protected by it, and must not take it that he is."""
        for key in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
            if getattr(self, key) is not None and not self.security_protocol.endswith("SSL"):
                raise ValueError(f"{key} is set: set kafka.security_protocol to SSL or SASL_SSL, or leave it out")
        if self.ssl_keyfile is not None and self.ssl_certfile is None:
            raise ValueError("ssl_keyfile is set: set kafka.ssl_certfile to the certificate it belongs to")
        for key in ("sasl_plain_password", "sasl_plain_password_file"):
            if getattr(self, key) is not None and self.sasl_mechanism is None:
                raise ValueError(f"{key} is set: set kafka.sasl_mechanism and kafka.security_protocol, or leave it out")
        return self

    @model_validator(mode="after")
    def _sasl_is_whole(self) -> Self:
        if self.security_protocol.startswith("SASL") and self.sasl_mechanism is None:
            raise ValueError(f"security_protocol {self.security_protocol} needs kafka.sasl_mechanism")
        if self.sasl_mechanism is not None and not self.security_protocol.startswith("SASL"):
            raise ValueError("sasl_mechanism is set: set kafka.security_protocol to SASL_SSL or SASL_PLAINTEXT")
        needs_password = self.sasl_mechanism not in (None, SaslMechanism.OAUTHBEARER)
        password = self.sasl_plain_password or self.sasl_plain_password_file
        if needs_password and not (self.sasl_plain_username and password):
            raise ValueError(
                f"{self.sasl_mechanism} needs kafka.sasl_plain_username and kafka.sasl_plain_password (or ..._file)"
            )
        oauth_ready = self.sasl_oauth_token_file or self.sasl_oauth_token_endpoint_url
        if self.sasl_mechanism is SaslMechanism.OAUTHBEARER and not oauth_ready:
            raise ValueError("OAUTHBEARER needs kafka.sasl_oauth_token_endpoint_url or kafka.sasl_oauth_token_file")
        return self

"""Provides OAUTHBEARER tokens: from a file kept fresh by another program, or by a client-credentials grant (RFC 6749)."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

from kafka.errors import KafkaConnectionError, SaslAuthenticationFailedError
from kafka.net.sasl.oauth import AbstractTokenProvider

from anomaly_daemon.errors import ConfigurationError, NotPermitted
from anomaly_daemon.settings import KafkaSettings
from anomaly_daemon.transport import web

SPARE_SECONDS = 30.0
"""Seconds before the end of a token at which a new one is requested."""
DEFAULT_LIFETIME_SECONDS = 300.0
"""Used where the endpoint does not state when a token ends."""
LARGEST_ANSWER = 1_000_000


def token_provider(kafka: KafkaSettings) -> AbstractTokenProvider:
    """Return the provider that the settings select. Raises ConfigurationError when they name neither a token file nor a
    complete client-credentials grant."""
    if kafka.sasl_oauth_token_file is not None:
        return FileTokens(kafka.sasl_oauth_token_file)
    secret = kafka.sasl_oauth_client_secret and kafka.sasl_oauth_client_secret.get_secret_value()
    if secret is None and kafka.sasl_oauth_client_secret_file is not None:
        secret = _read(kafka.sasl_oauth_client_secret_file)
    if not (kafka.sasl_oauth_token_endpoint_url and kafka.sasl_oauth_client_id and secret):
        raise ConfigurationError(
            "OAUTHBEARER needs kafka.sasl_oauth_token_file, or kafka.sasl_oauth_token_endpoint_url with "
            "kafka.sasl_oauth_client_id and kafka.sasl_oauth_client_secret (or ..._file)"
        )
    return GrantedTokens(
        kafka.sasl_oauth_token_endpoint_url, kafka.sasl_oauth_client_id, secret, kafka.sasl_oauth_scope
    )


class FileTokens(AbstractTokenProvider):  # type: ignore[misc] # kafka-python has no types
    """Reads the file at every login, so that a rotated token is picked up without further action."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def token(self) -> str:
        """Raises KafkaConnectionError, after which the client tries again, where the file is empty: the program that
        keeps it fresh may be writing it at this moment."""
        if token := _read(self._path):
            return token
        raise KafkaConnectionError(f"the token file {self._path} is empty")


class GrantedTokens(AbstractTokenProvider):  # type: ignore[misc]
    """Requests a token from the endpoint, and keeps it until shortly before its end."""

    def __init__(
        self, url: str, client_id: str, secret: str, scope: str | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise ConfigurationError("kafka.sasl_oauth_token_endpoint_url must begin with https:// (or http://)")
        self._url, self._client_id, self._secret, self._scope, self._clock = url, client_id, secret, scope, clock
        self._token, self._ends = "", float("-inf")

    def token(self) -> str:
        if self._clock() >= self._ends:
            self._token, lifetime = self._ask()
            self._ends = self._clock() + max(0.0, lifetime - SPARE_SECONDS)
        return self._token

    def _ask(self) -> tuple[str, float]:
        form = {"grant_type": "client_credentials"} | ({"scope": self._scope} if self._scope else {})
        login = web.basic(*(urllib.parse.quote(part, safe="") for part in (self._client_id, self._secret)))
        form_bytes = urllib.parse.urlencode(form).encode()
        request = urllib.request.Request(self._url, form_bytes, login | {"Accept": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=web.TIMEOUT_SECONDS) as answer:
                body = json.loads(answer.read(LARGEST_ANSWER))
            return str(body["access_token"]), float(body.get("expires_in", DEFAULT_LIFETIME_SECONDS))
        except (*web.FAILURES, ValueError, KeyError, TypeError) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # it holds the connection
            kind = KafkaConnectionError if _passes(error) else SaslAuthenticationFailedError
            raise kind(f"no token from {self._url}: {error}") from error


def _passes(error: Exception) -> bool:
    """Return whether the failure may pass without intervention. An answer that is not understood needs a person, as a
    refusal does."""
    return isinstance(error, web.FAILURES) and web.may_pass(error)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except PermissionError as error:
        raise NotPermitted(f"the secret in {path} may not be read: {error.strerror}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the secret in {path} cannot be read: {error}") from error

"""HTTP requests to services other than Kafka: certificates, logins and failures."""

from __future__ import annotations

import ssl
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from anomaly_daemon.errors import ConfigurationError, unread

TIMEOUT_SECONDS = 10.0
FAILURES = (OSError, HTTPException)
"""The exceptions that a request may raise. `HTTPError` is among them; it means that the service has answered."""


def host_of(url: str) -> str:
    """Return the address without its path, which may be a secret, as a webhook's often is."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def opener(cafile: Path | None, key: str) -> Callable[..., Any]:
    """Return a function that opens a request. It follows no redirects, as passwords must only be sent to the configured
    address.

    Raises:
        ConfigurationError, NoInput, NotPermitted: the certificates cannot be used; `key` is the setting that names them.
    """
    try:
        trust = ssl.create_default_context(cafile=cafile)
    except ssl.SSLError as error:
        raise ConfigurationError(f"{key} {cafile}: no certificates in PEM: {error.reason}") from error
    except OSError as error:
        raise unread(f"{key} {cafile}", error) from error
    return urllib.request.build_opener(_Stay, urllib.request.HTTPSHandler(context=trust)).open


def basic(username: str, password: str) -> dict[str, str]:
    """Return the header of HTTP's basic authentication (RFC 7617)."""
    return {"Authorization": f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"}


def may_pass(error: Exception) -> bool:
    """Whether the failure may pass without a change by a person: the service is away, busy or broken. A service that
    refuses the request is not."""
    if isinstance(error, urllib.error.HTTPError):
        busy = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT)
        return error.code >= HTTPStatus.INTERNAL_SERVER_ERROR or error.code in busy
    return not isinstance(reason_of(error), ssl.SSLCertVerificationError)


def asked_to_wait(error: Exception, now: Callable[[], float] = time.time) -> float:
    """Return the seconds that the answer asks to wait (Retry-After of RFC 9110: seconds, or a date); 0 if it does not
    ask."""
    retry_after = str(error.headers.get("Retry-After", "")).strip() if isinstance(error, urllib.error.HTTPError) else ""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    try:
        moment = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return 0.0
    return max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now())


def reason_of(error: Exception) -> Any:
    """Return the underlying cause of the error, or the error itself."""
    return getattr(error, "reason", error)


def moved_to(error: urllib.error.HTTPError, *, host_only: bool = False) -> str:
    """Return where the answer redirects to, in words, or "". `host_only`: without the path, which may be the secret
    that was requested."""
    place = error.headers.get("Location")
    if place and host_only:
        place = host_of(place) if "//" in place else "another path"
    return f", redirecting to {place}" if place else ""


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None

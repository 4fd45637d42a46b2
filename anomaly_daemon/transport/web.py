"""Requests to services that are not Kafka: their certificates, logins and failures."""

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
"""What a request may raise; `HTTPError` among them, for what was answered."""


def host_of(url: str) -> str:
    """The address without its path, which may be a secret: a webhook's often is."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def opener(cafile: Path | None, key: str) -> Callable[..., Any]:
    """What opens a request. It follows no redirect: passwords are for the place that was named, and no other.

    Raises:
        ConfigurationError, NoInput, NotPermitted: the certificates cannot be used; `key` is what names them.
    """
    try:
        trust = ssl.create_default_context(cafile=cafile)
    except ssl.SSLError as error:
        raise ConfigurationError(f"{key} {cafile}: no certificates in PEM: {error.reason}") from error
    except OSError as error:
        raise unread(f"{key} {cafile}", error) from error
    return urllib.request.build_opener(_Stay, urllib.request.HTTPSHandler(context=trust)).open


def basic(username: str, password: str) -> dict[str, str]:
    """The header of HTTP's basic login (RFC 7617)."""
    return {"Authorization": f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"}


def may_pass(error: Exception) -> bool:
    """Whether it may pass by itself: a service that is away, busy or broken. One that says no waits for a person."""
    if isinstance(error, urllib.error.HTTPError):
        busy = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT)
        return error.code >= HTTPStatus.INTERNAL_SERVER_ERROR or error.code in busy
    return not isinstance(reason_of(error), ssl.SSLCertVerificationError)


def asked_to_wait(error: Exception, now: Callable[[], float] = time.time) -> float:
    """Seconds that the answer asks us to wait (Retry-After of RFC 9110: seconds, or a date); 0 where it does not."""
    told = str(error.headers.get("Retry-After", "")).strip() if isinstance(error, urllib.error.HTTPError) else ""
    if told.isascii() and told.isdigit():
        return float(told[:9])
    try:
        moment = parsedate_to_datetime(told)
    except (ValueError, OverflowError):
        return 0.0
    return max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now())


def reason_of(error: Exception) -> Any:
    """What lies behind it."""
    return getattr(error, "reason", error)


def moved_to(error: urllib.error.HTTPError, *, host_only: bool = False) -> str:
    """Where it would have us go, in words; `host_only`: without the path, which may be the secret that was asked for."""
    place = error.headers.get("Location")
    if place and host_only:
        place = host_of(place) if "//" in place else "another path"
    return f", and to go to {place}" if place else ""


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None

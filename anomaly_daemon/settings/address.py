"""Addresses of services that are asked by HTTP."""

from __future__ import annotations

from urllib.parse import urlsplit


def is_address(url: str) -> bool:
    """Whether it names a host by HTTP, and holds nothing that no request may."""
    try:
        parts = urlsplit(url)
        named = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        str(parts.hostname).encode("idna")
    except ValueError:  # a port that is no number, or a host with an empty or a too long part between dots
        return False
    return named and url.isascii() and url.isprintable() and " " not in url

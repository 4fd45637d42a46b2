"""Decodes a whole JSON value into Python objects, for records of which more than a few named fields are wanted."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from anomaly_daemon.transport.rejection import ONE_EACH, Reason, Unreadable

REGISTRY_PREFIX = 5
"""Length of the prefix of a schema registry's wire format: a zero byte and four bytes of schema id."""
_DIGITS = 400
"""A float cannot hold an integer of more digits, and Python refuses to parse one of thousands."""


def json_tree(value: bytes) -> Any:
    """Return the decoded value, without the prefix of a schema registry. NaN and Infinity, which are not JSON but are
    written by Python, are read. Raises Unreadable."""
    text = value[REGISTRY_PREFIX:] if value[:1] == b"\0" else value
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return lenient_tree(text, str(error))


def lenient_tree(text: bytes, complaint: str) -> Any:
    """Return a value that a strict decoder refused, where it is only NaN, Infinity or a very long integer that is not
    JSON. `complaint` is the message of the strict decoder. Raises Unreadable."""
    try:
        return _LENIENT.decode(text.decode("utf-8"))
    except UnicodeDecodeError as fault:
        raise Unreadable(Reason.BAD_UTF8, str(fault)) from fault
    except RecursionError as fault:
        raise Unreadable(Reason.TOO_DEEP, "nested too deeply") from fault
    except ValueError as fault:
        several = isinstance(fault, json.JSONDecodeError) and fault.msg == "Extra data"
        raise Unreadable(Reason.MALFORMED, f"several JSON values: {ONE_EACH}" if several else complaint) from fault


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < _DIGITS else float(digits)


_LENIENT = json.JSONDecoder(parse_int=_integer)

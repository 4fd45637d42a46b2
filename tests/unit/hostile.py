"""Bytes as an attacker or a damaged disk might produce them, and the memory that reading them takes."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable, Sequence
from contextlib import suppress

from hypothesis import strategies as st

FEW = 4_000_000
"""Bytes of memory that are always allowed, for what is imported, cached or compiled at its first use."""
PER_BYTE = 150
"""Bytes of memory that are allowed for each byte of input. Python turns the three bytes of `{},` into 72, and copies
the text."""

LIES = (0, 1, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
WORDS = tuple(
    struct.pack(order, lie % 2**width) for lie in LIES for order, width in (("<H", 16), ("<I", 32), ("<Q", 64))
)
SNIPPETS = (
    b"null", b"true", b"-1", b"1e999", b"-0", b"NaN", b"Infinity", b"9" * 400, b"9" * 5000, b"0.1e-999",
    b'""', b'"\\ud800"',
    b"[[[[", b"}}}}", b'{"a":', b"\0", b"\xff\xfe", b"\x1b[2J", b'"F64"', b'"BF16"', b'"I8"', b'"BOOL"',
    b'"shape":[9223372036854775808]',
    b"[0,18446744073709551615]", b"\r\n", b",", b'"',
)  # fmt: skip
PIECES = st.sampled_from(WORDS) | st.sampled_from(SNIPPETS) | st.binary(max_size=9)

Change = tuple[str, int, int, bytes]
CHANGES = st.tuples(
    st.sampled_from(("flip", "cut", "insert", "replace", "repeat", "drop")),
    st.integers(0, 2**20),
    st.integers(1, 255),
    PIECES,
)


def mutated(whole: bytes, changes: Sequence[Change]) -> bytes:
    """Return a valid message after these changes."""
    for kind, place, amount, piece in changes:
        at = place % (len(whole) + 1)
        if kind == "flip" and at < len(whole):
            whole = whole[:at] + bytes([whole[at] ^ amount]) + whole[at + 1 :]
        elif kind == "cut":
            whole = whole[:at]
        elif kind == "insert":
            whole = whole[:at] + piece + whole[at:]
        elif kind == "replace":
            whole = whole[:at] + piece + whole[at + len(piece) :]
        elif kind == "repeat":
            whole = whole[:at] + whole[at : at + amount] * 2 + whole[at + amount :]
        elif kind == "drop":
            whole = whole[:at] + whole[at + amount :]
    return whole


def mutations(*wholes: bytes) -> st.SearchStrategy[bytes]:
    """Return a strategy for any of these messages after one to four changes."""
    return st.builds(mutated, st.sampled_from(wholes), st.lists(CHANGES, min_size=1, max_size=4))


def peak(call: Callable[[], object]) -> int:
    """Return the most bytes that were allocated at once during the call. Its exceptions are ignored: other tests check
    them."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        with suppress(Exception):
            call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def bound(size: int) -> int:
    """Return the bytes that reading an input of this size may allocate."""
    return FEW + PER_BYTE * size

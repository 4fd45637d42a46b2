"""How this process takes memory from the operating system and returns it (glibc's malloc settings)."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

MMAP_BYTES = 32 * 2**20
"""The highest mmap threshold that glibc allows. Arrays smaller than this come from the heap, and do not each get a
mapping of their own."""
TRIM_BYTES = 256 * 2**20
"""Free memory at the end of the heap that the process keeps instead of returning it to the system."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # <malloc.h>


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next batch. Every batch allocates arrays of the same sizes. If their memory
    were returned to the system in between, the system would clear each of their pages every time, which takes up to a
    fifth of the time of a step. Without glibc this function does nothing."""
    mallopt = _of_glibc("mallopt")
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, MMAP_BYTES)
        mallopt(_M_TRIM_THRESHOLD, TRIM_BYTES)


def give_back_freed_memory() -> None:
    """Return free memory to the system, wherever in the heap it lies. This is meant for memory of data that was read
    once (stored snapshots): the next batch has no use for it."""
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _of_glibc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None

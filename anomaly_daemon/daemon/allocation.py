"""How the process takes memory from the system."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

MMAP_BYTES = 32 * 2**20
"""The most glibc allows: below it, arrays come from the heap and not each from a mapping of its own."""
TRIM_BYTES = 256 * 2**20
"""Free memory at the end of the heap that the process keeps."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # <malloc.h>


def keep_freed_memory() -> None:
    """Every batch makes arrays of the same sizes anew. Were they given back to the system in between, it would clear each
    of their pages each time: up to a fifth of the time of a step. Elsewhere than under glibc this does nothing."""
    mallopt = _of_glibc("mallopt")
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, MMAP_BYTES)
        mallopt(_M_TRIM_THRESHOLD, TRIM_BYTES)


def give_back_freed_memory() -> None:
    """What was read once is of no use to the next batch: its pages go back to the system, wherever in the heap they lie."""
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _of_glibc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None

"""Compiles functions to machine code with numba, and keeps the code between runs.

Every row of a batch must give the same bits, however large the batch is (law L5). Therefore no multiplication is fused
into an addition and no sum is reordered, so a loop gives the same bits whether it takes one element at a time or eight.
The code is for the processors of the last ten years (x86-64-v3) where the machine has one, and otherwise for the most
basic. The exponentials and logarithms of the C library use the instructions that the machine has, and switching between
the two kinds of code takes longer than the call.

Kept code is found by a digest of all source files beside the function. numba itself checks only one file, and misses a
change in another file that the function calls. The code is in `NUMBA_CACHE_DIR`, or else in the user's cache folder.
Code that cannot be read is compiled again, and code that cannot be stored is compiled at every start; neither is an
error. As with Python's own `__pycache__`, whoever can write there decides what runs.

Each state of the sources has its own folder, so every upgrade would leave one behind. When a folder is created, those
that no process has used for 30 days are removed. A process that reads one at that moment compiles again.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import config, njit
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.core.codegen import get_host_cpu_features
from numba.misc.appdirs import AppDirs

F = TypeVar("F", bound=Callable[..., Any])

UNUSED_SECONDS = 30 * 86_400.0
"""Seconds for which kept code may be unused before it is removed. Several versions may share a folder, each started
only now and then."""

NEEDED = {"+avx2", "+bmi", "+bmi2", "+f16c", "+lzcnt", "+movbe"}
"""The features of an x86-64-v3 processor, except the fused multiplication, which must not be used."""


def processor(features: str) -> tuple[str, str]:
    """Return the processor to compile for, and which of its features not to use. `features` are those of this machine,
    as `+name,+name`."""
    return ("x86-64-v3", "-fma") if set(features.split(",")) >= NEEDED else ("generic", "")


config.CPU_NAME, config.CPU_FEATURES = processor(get_host_cpu_features())
config.LOOP_VECTORIZE = config.SLP_VECTORIZE = 1
config.DISABLE_INTEL_SVML = True
"""Where Intel's SVML is installed, it would give other bits."""


def compiled(function: F) -> F:
    """Return the function as machine code. It is compiled, or read from the cache, at its first call. A compiled
    function that calls it contains a copy of it (inlining), because a call would pass every place of a row again, and
    take longer than the function itself. The function must not create arrays (numba refuses one that does). References
    to arrays then need no counting, as the caller holds them. Counting is an atomic instruction for each row that is
    looked at, and cost an eighth of a detector's time."""
    dispatcher: Any = njit(nogil=True, error_model="numpy", forceinline=True, _nrt=False)(function)
    dispatcher._cache = _Kept(function)
    return cast(F, dispatcher)


@cache
def digest(folder: Path) -> str:
    """Return the digest of every source file in a folder, and of this one."""
    found = blake2b(digest_size=8)
    for source in (Path(__file__), *sorted(folder.glob("*.py"))):
        found.update(source.name.encode() + b"\0" + source.read_bytes())
    return found.hexdigest()


def _remove_unused(base: Path, now: float) -> None:
    """Remove the folders in `base` that have not been used for `UNUSED_SECONDS` before `now`. A folder is renamed
    first, because another process that reads or writes a half-removed folder might take it for a complete one."""
    for folder in base.glob("compiled-*"):
        with suppress(OSError):  # another process was faster, or another user owns it: it may stay
            if _ours(folder) and now - folder.stat().st_mtime > UNUSED_SECONDS:
                shutil.rmtree(folder.rename(folder.with_suffix(f".{os.getpid()}")))


def _ours(folder: Path) -> bool:
    """Whether the folder holds kept code, or what a process left that died while removing it."""
    return re.fullmatch(r"compiled-[0-9a-f]{16}(\.\d+)?", folder.name) is not None and not folder.is_symlink()


class _Place(_CacheLocator):  # type: ignore[misc]
    """Where the code of one function is kept, as a numba cache locator."""

    def __init__(self, function: Callable[..., Any], source: str) -> None:
        self._py_file, self._line = source, function.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        base = config.CACHE_DIR or AppDirs("anomaly-daemon", appauthor=False).user_cache_dir
        return str(Path(base) / f"compiled-{self.get_source_stamp()}")

    def ensure_cache_path(self) -> None:
        folder = Path(self.get_cache_path())
        if not folder.exists():
            _remove_unused(folder.parent, time.time())
        super().ensure_cache_path()

    def get_source_stamp(self) -> str:
        return digest(Path(self._py_file).parent)

    def get_disambiguator(self) -> str:
        return str(self._line)

    @classmethod
    def from_function(cls, function: Callable[..., Any], source: str) -> _Place:
        return cls(function, source)


class _Implementation(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = [_Place]  # noqa: RUF012 - numba's own name


class _Kept(FunctionCache):  # type: ignore[misc]
    """A cache that never makes a call fail: what it cannot read or store is compiled."""

    _impl_class = _Implementation

    def load_overload(self, signature: Any, context: Any) -> Any:
        with suppress(OSError):  # not there yet, or another user's
            os.utime(self.cache_path)  # marks the folder as used before it is read
        try:
            return super().load_overload(signature, context)
        except Exception:  # whatever a torn or foreign file raises when it is read
            self._forget()
            return None

    def save_overload(self, signature: Any, code: Any) -> None:
        with suppress(OSError), self._alone():  # not writable, or locked: compiled at the next start
            super().save_overload(signature, code)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the cache folder's lock while the block runs. numba looks for a free name, and writes the index and the
        code one after the other. If two processes did so at once, one might find the other's code under the name of its
        own. Raises an OSError at once where another process holds the lock, because that process may be suspended."""
        self._impl.locator.ensure_cache_path()
        with (Path(self.cache_path) / "lock").open("ab") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield

    def _forget(self) -> None:
        with suppress(OSError):
            self.flush()

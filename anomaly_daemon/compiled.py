"""Functions compiled to machine code by numba, and where the code is kept between runs.

The same bits for every row of a batch (law L5): no multiplication is fused into an addition and no sum is taken in another
order, so it is the same whether a loop takes one element at once or eight. The code is for the processors of the last ten
years (x86-64-v3), or else for the plainest: what it calls, exponentials and logarithms, is for such ones, and changing
between the two takes longer than the call.

Kept code is found by what it was made of: a digest of all the sources beside the function, because numba by itself looks
at one file and misses a change in what that file calls. It lies in `NUMBA_CACHE_DIR`, or else in the user's cache folder.
Code that cannot be read is compiled again, and code that cannot be kept is compiled at every start: neither is an error. As
with Python's own `__pycache__`, who can write there decides what runs.

Each state of the sources has a folder of its own, so every upgrade would leave one behind. When one is made, those that no
process has looked into for 30 days go. Whoever reads one at that moment compiles again.
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
"""What kept code may lie for without being looked at: several versions may share a folder, each started now and then."""

NEEDED = {"+avx2", "+bmi", "+bmi2", "+f16c", "+lzcnt", "+movbe"}
"""What a processor of x86-64-v3 has, besides the fused multiplication that is not to be used."""


def processor(features: str) -> tuple[str, str]:
    """Which one is compiled for, and what of it is left out; `features` are those that are there, `+name,+name`."""
    return ("x86-64-v3", "-fma") if set(features.split(",")) >= NEEDED else ("generic", "")


config.CPU_NAME, config.CPU_FEATURES = processor(get_host_cpu_features())
config.LOOP_VECTORIZE = config.SLP_VECTORIZE = 1
config.DISABLE_INTEL_SVML = True
"""Where it is installed it would give other bits."""


def compiled(function: F) -> F:
    """The function as machine code, made at its first call; until then nothing is compiled or read. One that calls it holds
    a copy of it: a call would pass every place in a row once more, and takes longer than what it is for. It makes no arrays
    (numba refuses one that does), so nothing has to count who holds one: whoever calls it does. Counting is an atomic
    instruction for each row that is looked at, and cost an eighth of a detector's time."""
    dispatcher: Any = njit(nogil=True, error_model="numpy", forceinline=True, _nrt=False)(function)
    dispatcher._cache = _Kept(function)
    return cast(F, dispatcher)


@cache
def digest(folder: Path) -> str:
    """Of every source in a folder, and of this one."""
    found = blake2b(digest_size=8)
    for source in (Path(__file__), *sorted(folder.glob("*.py"))):
        found.update(source.name.encode() + b"\0" + source.read_bytes())
    return found.hexdigest()


def _remove_unused(base: Path, now: float) -> None:
    """A folder is renamed first: half of one, read or written to by another process, might pass for a whole one."""
    for folder in base.glob("compiled-*"):
        with suppress(OSError):  # another process was first, or it is another user's: it may stay
            if _ours(folder) and now - folder.stat().st_mtime > UNUSED_SECONDS:
                shutil.rmtree(folder.rename(folder.with_suffix(f".{os.getpid()}")))


def _ours(folder: Path) -> bool:
    """Whether code is kept there, or was, by a process that died while it removed it."""
    return re.fullmatch(r"compiled-[0-9a-f]{16}(\.\d+)?", folder.name) is not None and not folder.is_symlink()


class _Place(_CacheLocator):  # type: ignore[misc]
    """Where one function's code is kept."""

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
    """A cache that never stands in the way."""

    _impl_class = _Implementation

    def load_overload(self, signature: Any, context: Any) -> Any:
        with suppress(OSError):  # not there yet, or not ours to touch
            os.utime(self.cache_path)  # in use, from before it is read
        try:
            return super().load_overload(signature, context)
        except Exception:  # whatever a torn or foreign file raises when it is read
            self._forget()
            return None

    def save_overload(self, signature: Any, code: Any) -> None:
        with suppress(OSError), self._alone():  # a folder that cannot be written, or is: compiled at the next start
            super().save_overload(signature, code)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """numba looks for a free name, and writes the index and the code one after the other: of two processes that do so
        at once, one might find the other's code under the name of its own. Nobody waits: who holds it may stand still."""
        self._impl.locator.ensure_cache_path()
        with (Path(self.cache_path) / "lock").open("ab") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield

    def _forget(self) -> None:
        with suppress(OSError):
            self.flush()

"""Functions compiled to machine code by numba, and where the code is kept between runs.

The same bits for every row of a batch (law L5): no multiplication is fused into an addition and no sum is taken in another
order, so it is the same whether a loop takes one element at once or eight. The code is for the processors of the last ten
years (x86-64-v3), or else for the plainest: what it calls, exponentials and logarithms, is for such ones, and changing
between the two takes longer than the call.

Kept code is found by what it was made of: a digest of all the sources beside the function, because numba by itself looks
at one file and misses a change in what that file calls. It lies in `NUMBA_CACHE_DIR`, or else in the user's cache folder.
Code that cannot be read is compiled again, and code that cannot be kept is compiled at every start: neither is an error. As
with Python's own `__pycache__`, who can write there decides what runs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import config, njit
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.core.codegen import get_host_cpu_features
from numba.misc.appdirs import AppDirs

F = TypeVar("F", bound=Callable[..., Any])

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


class _Place(_CacheLocator):  # type: ignore[misc]
    """Where one function's code is kept."""

    def __init__(self, function: Callable[..., Any], source: str) -> None:
        self._py_file, self._line = source, function.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        base = config.CACHE_DIR or AppDirs("anomaly-daemon", appauthor=False).user_cache_dir
        return str(Path(base) / f"compiled-{self.get_source_stamp()}")

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
        try:
            return super().load_overload(signature, context)
        except Exception:  # whatever a torn or foreign file raises when it is read
            self._forget()
            return None

    def save_overload(self, signature: Any, code: Any) -> None:
        try:
            super().save_overload(signature, code)
        except OSError:
            return  # a folder that cannot be written: compiled again at the next start

    def _forget(self) -> None:
        try:
            self.flush()
        except OSError:
            return

"""Machine code is kept between runs, and whatever happens to the stored code, the program still runs."""

from __future__ import annotations

import fcntl
import importlib.util
import itertools
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import config

from anomaly_daemon.compiled import NEEDED, compiled, digest, processor

CALLED = """
from anomaly_daemon.compiled import compiled
@compiled
def twice(x):
    return {factor} * x
"""
CALLS = """
from anomaly_daemon.compiled import compiled
from called_{number} import twice
@compiled
def more(x):
    return twice(x) + 1.0
"""
NUMBERS = itertools.count()


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which the code is kept."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "kept"))
    digest.cache_clear()
    yield tmp_path / "kept"
    digest.cache_clear()


class Sources:
    """Two modules, one of which calls the other. Each `load` sees them as a new process would."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._number = folder / "sources", next(NUMBERS)
        self._folder.mkdir()
        monkeypatch.syspath_prepend(str(self._folder))
        self._monkeypatch = monkeypatch
        self.write(2.0)

    def write(self, factor: float) -> None:
        (self._folder / f"called_{self._number}.py").write_text(CALLED.format(factor=factor), encoding="utf-8")
        (self._folder / "calls.py").write_text(CALLS.format(number=self._number), encoding="utf-8")
        digest.cache_clear()

    def load(self) -> Any:
        self._monkeypatch.delitem(sys.modules, f"called_{self._number}", raising=False)
        importlib.invalidate_caches()
        spec = importlib.util.spec_from_file_location("calls", self._folder / "calls.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.more


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: Path) -> Sources:
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    return Sources(tmp_path, monkeypatch)


def found(more: Any) -> bool:
    """Return whether the code was read from the folder, and not compiled."""
    return bool(sum(more.stats.cache_hits.values()))


def test_code_is_made_once(sources: Sources, kept: Path) -> None:
    first, second = sources.load(), sources.load()
    assert not kept.exists(), "nothing is made before the first call"
    assert (first(3.0), found(first)) == (7.0, False)
    assert (second(3.0), found(second)) == (7.0, True)


def test_a_change_of_what_a_function_calls_is_noticed(sources: Sources) -> None:
    assert sources.load()(3.0) == 7.0
    sources.write(5.0)
    changed = sources.load()
    assert (changed(3.0), found(changed)) == (16.0, False)


def test_code_that_cannot_be_read_is_made_again_and_replaced(sources: Sources, kept: Path) -> None:
    sources.load()(3.0)
    for file in kept.rglob("*.nb?"):
        file.write_bytes(b"\x80torn")
    torn, mended = sources.load(), sources.load()
    assert (torn(3.0), found(torn)) == (7.0, False)
    assert (mended(3.0), found(mended)) == (7.0, True)


def test_while_another_process_writes_code_nothing_is_kept_and_nobody_waits(sources: Sources, kept: Path) -> None:
    sources.load()(3.0)
    (folder,) = kept.iterdir()
    before = {file: file.read_bytes() for file in folder.iterdir()}
    with (folder / "lock").open("ab") as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        assert sources.load()(3) == 7.0, "another type, so it is compiled"
        assert {file: file.read_bytes() for file in folder.iterdir()} == before
    made, read = sources.load(), sources.load()
    assert (made(3), found(made)) == (7.0, False)
    assert (read(3), found(read)) == (7.0, True)


def left_behind(kept: Path, name: str, days: float) -> Path:
    """Make a folder that nothing has touched for so many days."""
    folder = kept / name
    folder.mkdir(parents=True)
    (folder / "round.nbi").write_bytes(b"code")
    os.utime(folder, (time.time() - days * 86_400,) * 2)
    return folder


def test_new_code_takes_the_place_of_what_was_not_used_for_a_month(sources: Sources, kept: Path) -> None:
    old = left_behind(kept, "compiled-00000000000000aa", days=31)
    half_removed = left_behind(kept, "compiled-00000000000000cc.4711", days=31)
    recent = left_behind(kept, "compiled-00000000000000bb", days=29)
    not_ours = left_behind(kept, "compiled-by-hand", days=400), left_behind(kept, "venv-00000000000000aa", days=400)
    sources.load()(3.0)
    made = {folder for folder in kept.iterdir() if folder not in {recent, *not_ours}}
    assert not old.exists()
    assert not half_removed.exists()
    assert recent.exists()
    assert all(folder.exists() for folder in not_ours)
    assert len(made) == 1, "the new one, and nothing left of the removal"


def test_code_that_is_read_is_in_use(sources: Sources, kept: Path) -> None:
    sources.load()(3.0)
    (in_use,) = kept.iterdir()
    os.utime(in_use, (0, 0))
    again = sources.load()
    assert (again(3.0), found(again)) == (7.0, True)
    sources.write(5.0)
    sources.load()(3.0)
    assert in_use.exists()


def test_code_that_goes_while_a_process_has_it_is_made_again(sources: Sources, kept: Path) -> None:
    running = sources.load()
    assert running(3.0) == 7.0
    (in_use,) = kept.iterdir()
    os.utime(in_use, (0, 0))
    sources.write(5.0)
    assert sources.load()(3.0) == 16.0
    assert not in_use.exists()
    assert running(3) == 7.0, "another type, so it is compiled now"


def test_a_removal_that_fails_is_no_error(sources: Sources, kept: Path) -> None:
    kept.mkdir()
    stuck = kept / "compiled-00000000000000aa"
    stuck.write_bytes(b"a file: there is no folder to remove")
    os.utime(stuck, (0, 0))
    more = sources.load()
    assert more(3.0) == 7.0


def test_a_folder_that_cannot_be_written_is_no_error(sources: Sources, kept: Path) -> None:
    kept.write_text("a file where the folder should be", encoding="utf-8")
    more = sources.load()
    assert more(3.0) == 7.0


def test_a_multiplication_and_an_addition_are_rounded_each(sources: Sources) -> None:
    """A fused operation would give other bits, and only on some processors."""
    x = 1.0 + 2.0**-30
    sources.write(-x)
    assert sources.load()(x) == -x * x + 1.0


def test_an_older_processor_gets_code_of_its_own_and_none_fuses() -> None:
    assert processor(",".join(NEEDED | {"+fma"})) == ("x86-64-v3", "-fma")
    assert processor(",".join(NEEDED - {"+avx2"})) == ("generic", "")
    assert processor("") == ("generic", "")


@compiled
def _mixed(x: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    for place in range(len(x)):
        out[place] = (x[place] * y[place] + x[place]) / (y[place] + 0.1)


def test_a_loop_that_takes_several_elements_at_once_gives_the_bits_of_one(kept: Path) -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 37))
    whole, alone = np.empty(37), np.empty(37)
    _mixed(x, y, whole)
    for place in range(37):
        _mixed(x[place : place + 1], y[place : place + 1], alone[place : place + 1])
    np.testing.assert_array_equal(whole, alone)
    np.testing.assert_array_equal(whole, (x * y + x) / (y + 0.1))

"""A cache of outcomes in a folder that the caller chooses. An outcome depends on its code, its model, its series and
its budget.

Shapes: N events.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from benchmarks.quality.outcome import Outcome
from benchmarks.quality.series import Series

ROOT = Path(__file__).parents[2]


def sources_of(module: str) -> list[Path]:
    """Return the files that decide what a detector gives, for the key of its outcomes."""
    quality = ROOT / "benchmarks" / "quality"
    common = [quality / f"{name}.py" for name in ("budget", "outcome", "series", "detectors/filling")]
    if module not in ("ours", "fraud"):
        return [*common, quality / "detectors" / f"{module}.py"]
    if module == "fraud":
        common += [quality / f"{name}.py" for name in ("fraud", "cards", "transactions", "detectors/half_space_trees")]
        common.append(ROOT / "configs" / "transactions.yaml")
    package = ROOT / "anomaly_daemon"
    return [*common, quality / "ours.py", *sorted(package.rglob("*.py")), *sorted(package.glob("pretrained/*"))]


def key_of(sources: Iterable[Path], series: Sequence[Series], per_day: float) -> str:
    """Return a key that changes with the sources' content, with the values and times of the series, and the budget."""
    digest = hashlib.blake2b(f"{per_day}".encode(), digest_size=16)
    for path in sources:
        digest.update(path.read_bytes())
    for one in series:
        digest.update(f"{one.name} {one.start}".encode())
        digest.update(np.ascontiguousarray(one.values_ND).tobytes())
        digest.update(one.time_N.tobytes())
    return digest.hexdigest()


def cached(folder: Path | None, name: str, key: str, detect: Callable[[], list[Outcome]]) -> list[Outcome]:
    """Return the outcomes that the folder holds under this name and key. If it holds none, return those that `detect`
    gives, and store them there. Without a folder nothing is stored."""
    if folder is None:
        return detect()
    path = folder / f"{name}-{key}.npz"
    if path.exists():
        return _read(path)
    outcomes = detect()
    folder.mkdir(parents=True, exist_ok=True)
    columns = {
        f"{number}-{one.name}": getattr(out, one.name) for number, out in enumerate(outcomes) for one in fields(out)
    }
    fresh = path.with_suffix(".partial.npz")
    np.savez_compressed(fresh, **columns)
    fresh.rename(path)
    return outcomes


def _read(path: Path) -> list[Outcome]:
    names = [one.name for one in fields(Outcome)]
    with np.load(path) as file:
        count = len(file.files) // len(names)
        return [_outcome([file[f"{number}-{name}"] for name in names]) for number in range(count)]


def _outcome(columns: Sequence[np.ndarray]) -> Outcome:  # type: ignore[type-arg]
    *arrays, seconds = columns
    return Outcome(*arrays, float(seconds))

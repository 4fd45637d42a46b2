"""Description of what a training is based on: all that must be the same for a resumed training to end like one that was
not stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np

from anomaly_daemon.detection.observation import Direction, Numeric, Schema
from anomaly_daemon.training.dataset import Cuts, Series, Vocabulary

Origin = dict[str, Any]
"""JSON values, keyed by the name under which a difference is reported."""

RECORDS = "records"


def origin(
    series: Sequence[Series], schema: Schema, memory: float, words: Vocabulary, cuts: Cuts, champion: str | None
) -> Origin:
    """Return the origin of a training. `series` are the records as trained on, `memory` is the normaliser's, `champion`
    is the digest of the model whose training continues."""
    return {
        RECORDS: _records(series),
        "fields": [_field(field) for field in schema.numeric] + list(schema.categorical),
        "time zone": schema.timezone,
        "detection.adaptation_events": memory,
        "vocabulary": words,
        "cuts": asdict(cuts),
        "champion": champion,
    }


def _field(field: Numeric) -> list[str]:
    """Return what decides about the values that a network sees of a field. Its direction does, where it has one:
    `errors.curb` limits the values of the other side."""
    sides = [] if field.direction is Direction.BOTH else [str(field.direction)]
    return [str(field.name), str(field.transform), *sides]


def differences(before: Origin, now: Origin) -> list[str]:
    """Return what differs, in words."""
    differing = [name for name in sorted({**before, **now}) if before.get(name) != now.get(name)]
    return [f"other {name}{_described(before, now) if name == RECORDS else ''}" for name in differing]


def _records(series: Sequence[Series]) -> dict[str, Any]:
    """Return a summary and a digest of the series. They are sorted by key, because the order in which partitions are
    read does not matter."""
    digest = hashlib.blake2b(digest_size=16)
    for one in sorted(series, key=lambda each: each.key):
        digest.update(f"{len(one.key)} {one.key} {len(one)} ".encode("utf-8", "surrogatepass"))
        for column in (one.time_T, one.values_TD, one.categories_TC):
            digest.update(np.ascontiguousarray(column).data)
    return {
        "events": sum(map(len, series)),
        "streams": len(series),
        "first": _instant(min(int(one.time_T[0]) for one in series)),
        "last": _instant(max(int(one.time_T[-1]) for one in series)),
        "digest": digest.hexdigest(),
    }


def _described(before: Origin, now: Origin) -> str:
    then, here = (_extent(one[RECORDS]) if isinstance(one.get(RECORDS), dict) else "" for one in (before, now))
    if not then or then == here:
        return ""
    return f" (there {then}; here {here})"


def _extent(records: dict[str, Any]) -> str:
    if "streams" not in records:
        return ""
    text = f"{records['events']:,} events of {records['streams']:,} streams"
    return f"{text}, {records['first']} to {records['last']}"


def _instant(time: int) -> str:
    return datetime.fromtimestamp(time / 1e6, UTC).isoformat()

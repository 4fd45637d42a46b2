"""Builds a partition from the plan of its take-over: makes and fills one detector for each regime since its floors."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np

from anomaly_daemon.checkpoint.ledger import Regime, read_model
from anomaly_daemon.checkpoint.snapshot import Make
from anomaly_daemon.daemon.allocation import give_back_freed_memory
from anomaly_daemon.daemon.partition import Detects, Owned
from anomaly_daemon.daemon.policy import SnapshotPolicy
from anomaly_daemon.daemon.takeover import Found, Outcome, TakeOver, regime_of
from anomaly_daemon.transport.ports import Partition

GIVE_BACK_BUCKETS = 8
"""Buckets restored between two returns of their memory to the system. Each return takes some milliseconds."""


class Detectors(Protocol):
    """Makes the detectors of partitions, by this member's model and rules or by those of an earlier regime."""

    @property
    def regime(self) -> Regime:
        """The regime in force from now on."""

    @property
    def artifact(self) -> bytes:
        """This member's model, in the form that `of` takes."""

    def ours(self, partition: Partition) -> Detects: ...

    def of(self, partition: Partition, regime: Regime, artifact: bytes) -> Detects:
        """Return a detector of an earlier regime. Raises Incompatible when this release cannot do what the regime did."""


def take_over(
    partition: Partition,
    detectors: Detectors,
    make: Make,
    policy: SnapshotPolicy,
    found: Found,
    taken: TakeOver,
    now: float,
    name: str = "",
) -> Owned:
    """Return the partition as planned; the source still has to seek. `name` is for its ledgers, empty where atomic."""
    stages, empty_columns = _stages(partition, detectors, found, taken)
    owned = Owned(
        partition,
        stages[0],
        make,
        policy,
        now,
        position=taken.seek,
        committed=taken.committed,
        floors=list(taken.floors),
        watermarks=list(taken.watermarks),
        stored=list(taken.stored),
        regimes=list(taken.regimes),
        artifact=detectors.artifact,
        atomic=not name,
        author=replace(taken.author, name=name),
        versions=taken.versions,
        ahead=deque(zip(taken.regimes[1:], stages[1:], strict=True)),
        models=dict(taken.models or {}),
        held=taken.held,
        unreported=taken.unreported,
        heard=taken.heard,
        heard_before=taken.heard_before,
        announce=taken.outcome is not Outcome.RESTORED or taken.atomic != (not name),
        live=taken.seek >= taken.committed,
        empty_columns=empty_columns,
    )
    return _in_force(owned)


def _in_force(owned: Owned) -> Owned:
    """Bring the partition under the regime of its position, and start its timers at the watermark of that."""
    owned.reach(owned.position)
    owned.last_watermark = owned.detector.watermark
    return owned


def _stages(
    partition: Partition, detectors: Detectors, found: Found, taken: TakeOver
) -> tuple[list[Detects], tuple[str, ...]]:
    """Return the detector of each regime, with the buckets that were stored under it, and the columns that start empty."""
    stages = [_detector(partition, detectors, regime, found.stored or {}) for regime in taken.regimes]
    for stage in stages:
        stage.floors = np.asarray(taken.floors, np.int64)
    empty_columns: dict[str, None] = {}
    for place, bucket in enumerate(taken.buckets):
        empty_columns |= dict.fromkeys(stages[regime_of(bucket, taken.regimes)].restore(bucket.state))
        bucket.state.arrays.clear()  # the slab has a copy: no partition is held twice
        if place % GIVE_BACK_BUCKETS == 0:
            give_back_freed_memory()
    stages[0].watermark = taken.watermark
    stages[0].last_offset = taken.seek - 1
    return stages, tuple(empty_columns)


def _detector(partition: Partition, detectors: Detectors, regime: Regime, stored: Mapping[bytes, bytes]) -> Detects:
    ours = detectors.regime
    if regime.same(ours):
        return detectors.ours(partition)
    artifact = detectors.artifact if regime.model == ours.model else read_model(stored, regime.model)
    return detectors.of(partition, regime, artifact)

"""Record batches to observations: columns in, columns out, whatever the bytes are.

Every record of a batch ends in exactly one place: in the observations, in `rejected` (a dead letter with its reason), or
in a count (a tombstone, a metric nobody asked for). Nothing raises: what the bytes hold is never our error.

Shapes: R records of a batch, M rows of a table, N observations, D numeric features, C categorical fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import numpy as np

from anomaly_daemon.detection.observation import Int64, Observations
from anomaly_daemon.settings import LimitSettings, StreamSettings
from anomaly_daemon.transport.field_readings import FieldReadings
from anomaly_daemon.transport.packed_readings import PackedReadings
from anomaly_daemon.transport.ports import RecordBatch
from anomaly_daemon.transport.readings import Readings
from anomaly_daemon.transport.rejection import Reason, Rejected, Rejections

__all__ = ["Count", "Decoded", "Decoder", "Reason", "Rejected"]


class Count(StrEnum):
    """What the decoder counts. All are in every `Decoded`."""

    RECORDS = "records"
    OBSERVATIONS = "observations"
    TOMBSTONES = "tombstones"
    """Records with a null value: they say that a key was removed, and are passed over."""
    UNKNOWN_METRICS = "unknown_metrics"
    """Long shape: records of a metric that stream.numeric does not name, passed over."""
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Decoded:
    """`rejected` is in row order; `counts` has every `Count`."""

    observations: Observations
    rejected: tuple[Rejected, ...]
    counts: Mapping[str, int]


class Decoder:
    """Decodes the batches of one deployment. It keeps nothing between batches that decides a result."""

    def __init__(self, stream: StreamSettings, limits: LimitSettings) -> None:
        self._longest = limits.record_bytes
        self._readings = (
            PackedReadings(stream, limits.readings_per_record) if stream.format == "packed" else FieldReadings(stream)
        )

    def decode(self, batch: RecordBatch) -> Decoded:
        """The observations of the batch, in record order, and what became of every other record."""
        rejections = Rejections()
        rows = self._readable(batch, rejections)
        tombstones = len(batch) - len(rows) - len(rejections)
        readings = self._readings.read(batch, rows, rejections)
        observations = _observations(batch, readings)
        counts = {
            Count.RECORDS: len(batch),
            Count.OBSERVATIONS: len(observations),
            Count.TOMBSTONES: tombstones,
            Count.UNKNOWN_METRICS: readings.unknown_metrics,
            Count.REJECTED: len(rejections),
        }
        return Decoded(observations, tuple(rejections), {count.value: number for count, number in counts.items()})

    def warmed(self) -> Self:
        """The same, with what is compiled at its first call ready before a record comes."""
        if isinstance(self._readings, FieldReadings):
            self._readings.warm()
        return self

    def _readable(self, batch: RecordBatch, rejections: Rejections) -> Int64:
        """The rows that hold something of a bearable length."""
        try:
            lengths = np.fromiter(map(len, batch.values), np.int64, len(batch))  # type: ignore[arg-type]
        except TypeError:  # a tombstone
            lengths = np.fromiter((-1 if value is None else len(value) for value in batch.values), np.int64, len(batch))
        for row in np.flatnonzero(lengths == 0).tolist():
            rejections.add(row, Reason.EMPTY, "the value has no bytes")
        for row in np.flatnonzero(lengths > self._longest).tolist():
            detail = f"{lengths[row]} bytes, where limits.record_bytes is {self._longest}"
            rejections.add(row, Reason.TOO_LONG, detail)
        return np.flatnonzero((lengths > 0) & (lengths <= self._longest))


def _observations(batch: RecordBatch, readings: Readings) -> Observations:
    return Observations(
        batch.partition.topic,
        batch.partition.partition,
        readings.keys,
        readings.stream_N,
        batch.offsets[readings.row_N],
        readings.index_N,
        readings.time_N,
        batch.timestamps[readings.row_N],
        readings.values_ND,
        readings.presence_ND,
        readings.categories_NC,
        readings.category_names,
    )

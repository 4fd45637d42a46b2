"""Decodes batches of records into observations, as columns, for every record format.

Every record of a batch ends in exactly one place: in the observations, in `rejected` (a dead letter with its reason),
or in a count (tombstones, metrics that are not configured, and messages without a record). No content of a record
raises an exception. Only a schema registry that fails to give a schema does (see `schema_registry`).

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
    """What the decoder counts. Every `Decoded` has all of them."""

    RECORDS = "records"
    OBSERVATIONS = "observations"
    TOMBSTONES = "tombstones"
    """Records with a null value. They mean that a key was removed, and are skipped."""
    UNKNOWN_METRICS = "unknown_metrics"
    """In the long shape: records of a metric that `stream.numeric` does not name, which are skipped."""
    NO_RECORDS = "no_records"
    """Messages that may hold several records and hold none, such as an empty list."""
    REJECTED = "rejected"


SKIPPED = (Count.TOMBSTONES, Count.UNKNOWN_METRICS, Count.NO_RECORDS)
"""What is counted and is no error."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """The result for one batch. `rejected` is in row order; `counts` has every `Count`."""

    observations: Observations
    rejected: tuple[Rejected, ...]
    counts: Mapping[str, int]


class Decoder:
    """Decodes the batches of one deployment. What it keeps between batches are caches, which do not affect a result."""

    def __init__(self, stream: StreamSettings, limits: LimitSettings) -> None:
        self._longest = limits.record_bytes
        self._readings = (PackedReadings if stream.format == "packed" else FieldReadings)(
            stream, limits.readings_per_record
        )

    def decode(self, batch: RecordBatch) -> Decoded:
        """Return the observations of the batch, in record order, together with the rejected records and the counts."""
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
            Count.NO_RECORDS: readings.no_records,
            Count.REJECTED: len(rejections),
        }
        return Decoded(observations, tuple(rejections), {count.value: number for count, number in counts.items()})

    def warmed(self) -> Self:
        """Return this decoder, after compiling (or loading) the code that would otherwise be compiled at the first
        record."""
        if isinstance(self._readings, FieldReadings):
            self._readings.warm()
        return self

    def _readable(self, batch: RecordBatch, rejections: Rejections) -> Int64:
        """Return the rows whose value is not null, not empty and within `limits.record_bytes`. Empty and longer values
        are added to `rejections`."""
        try:
            lengths = np.fromiter(map(len, batch.values), np.int64, len(batch))  # type: ignore[arg-type]
        except TypeError:  # a tombstone has the value None, which has no length
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

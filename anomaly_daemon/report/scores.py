"""Writes every event's score to a table, CSV or Parquet, as the run goes on: memory does not grow with the run.

Columns: stream, time (UTC), topic, partition, offset, index, status, score, p_value, threshold, then prediction_<f> and
reconstruction_<f> of every feature f (standardised errors). What was not scored is empty, never 0 (law L4).
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv, parquet

from anomaly_daemon.detection.observation import Observations, Schema
from anomaly_daemon.detection.scores import Status, Step
from anomaly_daemon.errors import UsageError

ROWS_PER_GROUP = 100_000
"""Events in one row group of a Parquet file. Small groups are slow to read, large ones need memory."""


def fields(schema: Schema) -> pa.Schema:
    """Return the table's columns for a deployment's features."""
    text, number = pa.string(), pa.float64()
    columns = [("stream", text), ("time", pa.timestamp("us", tz="UTC")), ("topic", text), ("partition", pa.int32())]
    columns += [("offset", pa.int64()), ("index", pa.int32()), ("status", text)]
    columns += [(name, number) for name in ("score", "p_value", "threshold")]
    columns += [(f"{head}_{name}", number) for head in ("prediction", "reconstruction") for name in schema.names]
    return pa.schema(columns)


def table(observations: Observations, step: Step, schema: Schema) -> pa.RecordBatch:
    """Return one row for each observation, in record order."""
    scores = step.scores
    names = np.array([status.name.lower() for status in Status], object)
    columns: list[Any] = [
        pa.array(np.array(observations.keys, object)[observations.stream_N], pa.string()),
        pa.array(observations.time_N, pa.timestamp("us", tz="UTC")),
        pa.array([observations.topic] * len(observations), pa.string()),
        pa.array(np.full(len(observations), observations.partition, np.int32)),
        pa.array(observations.offset_N),
        pa.array(observations.index_N),
        pa.array(names[scores.status_N], pa.string()),
        *(_known(column) for column in (scores.score_N, scores.p_value_N, scores.threshold_N)),
        *(_known(column) for column in scores.prediction_NF.T),
        *(_known(column) for column in scores.reconstruction_NF.T),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=fields(schema))


def _known(column: npt.NDArray[np.float64]) -> Any:
    return pa.array(column, mask=np.isnan(column))


class ScoreFile:
    """An observer of the worker that writes `table` to a `.csv` or `.parquet` file. Raises UsageError for another
    suffix."""

    def __init__(self, path: Path, schema: Schema) -> None:
        self._schema = schema
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0
        match path.suffix.lower():
            case ".csv":
                self._writer: Any = csv.CSVWriter(path, fields(schema))
            case ".parquet":
                self._writer = parquet.ParquetWriter(path, fields(schema))
            case other:
                raise UsageError(f"--scores {path}: the suffix decides the format, .csv or .parquet, not {other!r}")

    def __call__(self, observations: Observations, step: Step) -> None:
        self._waiting.append(table(observations, step, self._schema))
        self._rows += len(observations)
        if self._rows >= ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting))
        self._waiting, self._rows = [], 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()
        self._writer.close()

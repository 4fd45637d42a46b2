"""A detector small enough to check by hand: it keeps a running sum per stream, and alerts while a value is too large.

It has the detector's interface, and its decisions depend on its records alone, so tests of the loop around it run in
milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from zlib import crc32

import numpy as np

from anomaly_daemon.checkpoint.ledger import Regime
from anomaly_daemon.checkpoint.snapshot import Make
from anomaly_daemon.detection import alert as a
from anomaly_daemon.detection.detector import Exported, Scores, Status, Step
from anomaly_daemon.detection.evidence import Evidence
from anomaly_daemon.detection.feedback import Label
from anomaly_daemon.detection.observation import Observations
from anomaly_daemon.detection.realised import Spent
from anomaly_daemon.detection.room import Evicted
from anomaly_daemon.transport.codec import Decoded
from anomaly_daemon.transport.ports import Outgoing, Partition, RecordBatch
from anomaly_daemon.transport.rejection import Reason, Rejected

LIMIT = 100.0
LIFT = 20.0
"""A value above `LIMIT` opens an episode, and the next value that is not above it closes the episode. Each label raises
the limit of its stream by `LIFT`."""
SILENCE = 1_000_000_000
"""A silence opens after more than this many microseconds of event time without a record."""
MAKE = Make("model-1", 1, {"stream.key": "id"})


class RunningSum:
    """`state[key]` is [sum, count, last time, offset that opened the episode or -1, offset that opened the silence or
    -1, number of labels taken in, offset after the last label]. Each label raises the limit of its stream."""

    def __init__(self, partition: Partition, max_streams: int = 1_000, limit: float = LIMIT) -> None:
        self.partition, self.max_streams, self.limit = partition, max_streams, limit
        self.state: dict[str, list[int]] = {}
        self.floors: Any = None
        self.watermark = 0
        self.last_offset = 0
        self._changed: set[str] = set()
        self._evicted = Evicted()

    @property
    def streams(self) -> int:
        return len(self.state)

    @property
    def open_episodes(self) -> Mapping[a.Kind, int]:
        return {a.Kind.PATTERN: sum(row[3] >= 0 for row in self.state.values())}

    def spent(self) -> Spent:
        return Spent(float(len(self.state)), 2.0 * len(self.state))

    def newest(self, key: str) -> int | None:
        return self.state[key][2] if key in self.state else None

    def step(self, observations: Observations) -> Step:
        alerts: list[a.Alert] = []
        scores = Scores.blank(len(observations), 1)
        scores.threshold_N[:] = self.limit
        for place in range(len(observations)):
            key = observations.keys[observations.stream_N[place]]
            offset, time = int(observations.offset_N[place]), int(observations.time_N[place])
            self.watermark = max(self.watermark, time)
            if self.floors is not None and offset < self.floors[crc32(key.encode()) % len(self.floors)]:
                continue
            late = key in self.state and time < self.state[key][2]
            scores.status_N[place] = Status.LATE if late else Status.SCORED
            scores.threshold_N[place] = self._limit(key)
            if not late:
                alerts += self._one(key, float(observations.values_ND[place, 0]), offset, time)
        self.last_offset = int(observations.offset_N[-1]) if len(observations) else self.last_offset
        self._make_room()
        return Step(scores, alerts)

    def _one(self, key: str, value: float, offset: int, time: int) -> list[a.Alert]:
        self._changed.add(key)
        row = self.state.setdefault(key, [0, 0, 0, -1, -1, 0, 0])
        row[:3] = [row[0] + int(value), row[1] + 1, time]
        told = []
        if row[4] >= 0:
            told.append(self._alert(key, a.Kind.SILENCE, a.Event.CLOSE, row[4], offset, time))
            row[4] = -1
        limit = self._limit(key)
        if value > limit and row[3] < 0:
            row[3] = offset
            told.append(self._alert(key, a.Kind.PATTERN, a.Event.OPEN, offset, offset, time))
        elif value <= limit and row[3] >= 0:
            told.append(self._alert(key, a.Kind.PATTERN, a.Event.CLOSE, row[3], offset, time))
            row[3] = -1
        return told

    def _limit(self, key: str) -> float:
        return self.limit + LIFT * self.state[key][5] if key in self.state else self.limit

    def advance(self, watermark: int, append: int | None) -> list[a.Alert]:
        told = []
        for key, row in sorted(self.state.items()):
            if row[4] < 0 and watermark - row[2] > SILENCE:
                row[4] = self.last_offset
                self._changed.add(key)
                told.append(self._alert(key, a.Kind.SILENCE, a.Event.OPEN, self.last_offset, self.last_offset, row[2]))
        return told

    def _make_room(self) -> None:
        oldest = sorted(self.state, key=lambda key: self.state[key][2])[: max(0, self.streams - self.max_streams)]
        for key in oldest:
            del self.state[key]
            self._changed.add(key)
        self._evicted = self._evicted.plus(Evicted(limit=len(oldest)))

    def evicted(self) -> Evicted:
        evicted, self._evicted = self._evicted, Evicted()
        return evicted

    def adopt(self, former: RunningSum) -> None:
        self.state.update(former.state)
        self._changed.update(former.state)
        self.watermark, self.last_offset, self.floors = former.watermark, former.last_offset, former.floors

    def follow(self, former: RunningSum) -> None:
        self.state = {key: list(row) for key, row in former.state.items()}
        self.watermark, self.last_offset, self.floors = former.watermark, former.last_offset, former.floors

    def take_in(self, key: str, alert_id: str, label: Label, offset: int) -> bool:
        row = self.state.get(key)
        if row is None or offset < row[6]:
            return False
        row[5:7] = [row[5] + 1, offset + 1]
        self._changed.add(key)
        return True

    def hear_anew(self, buckets: int) -> set[int]:
        keys = [key for key, row in self.state.items() if row[6]]
        for key in keys:
            self.state[key][6] = 0
        self._changed.update(keys)
        return {crc32(key.encode()) % buckets for key in keys}

    def evidence(self) -> dict[str, Evidence]:
        return {}

    def buckets(self, n: int) -> set[int]:
        changed = {crc32(key.encode()) % n for key in self._changed}
        self._changed.clear()
        return changed

    def export(self, bucket: int, buckets: int) -> Exported:
        keys = sorted(key for key in self.state if crc32(key.encode()) % buckets == bucket)
        rows = np.array([self.state[key] for key in keys], np.int64).reshape(len(keys), 7)
        return Exported(keys, {"rows": rows})

    def restore(self, exported: Exported) -> tuple[str, ...]:
        for key, row in zip(exported.keys, exported.arrays["rows"].tolist(), strict=True):
            self.state[key] = row
        return ()

    def _alert(self, key: str, kind: a.Kind, event: a.Event, first: int, last: int, time: int) -> a.Alert:
        topic, number = self.partition
        moment = f"2024-01-01T00:00:{time % 60:02d}Z"
        return a.Alert(
            schema_version=1,
            alert_id=f"{topic}-{number}-{first}-{key}-{kind}",
            event=event,
            kind=kind,
            reason="too large",
            stream=a.Stream(key, {}),
            episode=a.Episode(moment, moment, moment if event is a.Event.CLOSE else None, 1, 50.0),
            severity=50.0,
            score=None,
            p_value=None,
            p_method="body",
            threshold=None,
            budget=a.Budget(1.0, None),
            direction="up",
            features=(),
            phase=a.Phase("calibrated", 1, 1),
            model=a.ModelRef("sum", "1", "model-1"),
            config_digest="",
            provenance=a.Provenance(topic, number, first, last),
            times=a.Times(moment, moment),
        )


def make_of(limit: float) -> Make:
    """Return the `Make` of a model with this limit: each limit is another model."""
    return replace(MAKE, model=f"limit-{limit:g}")


@dataclass
class RunningSums:
    """A `daemon.restore.Detectors`: the rules are the limit, and the artifact is the name of the model."""

    model: str = MAKE.model
    limit: float = LIMIT
    made: dict[Partition, RunningSum] = field(default_factory=dict)

    @property
    def regime(self) -> Regime:
        return Regime(0, self.model, {"limit": self.limit})

    @property
    def artifact(self) -> bytes:
        return self.model.encode()

    def ours(self, partition: Partition) -> RunningSum:
        self.made[partition] = RunningSum(partition, limit=self.limit)
        return self.made[partition]

    def of(self, partition: Partition, regime: Regime, artifact: bytes) -> RunningSum:
        assert artifact == regime.model.encode()
        return RunningSum(partition, limit=regime.rules["limit"])


class PlainDecoder:
    """Reads the record's key as the stream, its value as a number, and its timestamp as the event time."""

    def decode(self, batch: RecordBatch) -> Decoded:
        rows, rejected = [], []
        for row, value in enumerate(batch.values):
            try:
                rows.append((row, float(value or b"")))
            except ValueError:
                rejected.append(Rejected(row, next(iter(Reason)), "not a number"))
        return Decoded(_columns(batch, rows), tuple(rejected), {})


def _columns(batch: RecordBatch, rows: list[tuple[int, float]]) -> Observations:
    names = [(batch.keys[row] or b"").decode() for row, _ in rows]
    keys = tuple(dict.fromkeys(names))
    at = [row for row, _ in rows]
    count = len(rows)
    return Observations(
        batch.partition.topic,
        batch.partition.partition,
        keys,
        np.array([keys.index(name) for name in names], np.int32),
        batch.offsets[at] if rows else np.zeros(0, np.int64),
        np.zeros(count, np.int32),
        batch.timestamps[at] if rows else np.zeros(0, np.int64),
        batch.timestamps[at] if rows else np.zeros(0, np.int64),
        np.array([[value] for _, value in rows], np.float64).reshape(count, 1),
        np.zeros((count, 1), np.uint8),
        np.zeros((count, 0), np.int64),
        {},
    )


def encode(alert: a.Alert, source_name: str, published: str) -> Outgoing:
    return Outgoing(alert.stream.key.encode(), f"{alert.alert_id}/{alert.event}".encode())

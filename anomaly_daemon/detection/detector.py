"""The detector of one input partition: observations in, scores and alerts out.

Theory of operation. A batch may hold a stream several times; it runs in rounds, each with at most one event a stream,
so a stream's events keep their order and everything else is columns. A round leaves out records that are late or doubled,
lets due timers fall, scores, watches, and turns the episodes. After the last round the timers of every other stream are
held against the new watermark. The result depends on the records' order alone, not on how they were cut into
batches (law L5): timers are told at the record that made them due, and alerts are sorted by the record that
triggered them.

Shapes: N observations in a batch, B in a round, D numeric and C categorical features, F = D + C.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection import episode, timers, watch
from anomaly_daemon.detection.alert import Alert, Kind
from anomaly_daemon.detection.artifact import Model
from anomaly_daemon.detection.episode import KINDS
from anomaly_daemon.detection.evidence import Evidence
from anomaly_daemon.detection.explain import Origin
from anomaly_daemon.detection.observation import Int64, Observations, Schema
from anomaly_daemon.detection.order import Clock, Trigger, rounds
from anomaly_daemon.detection.round import Round, silence_of
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.detection.scorer import Scorer
from anomaly_daemon.detection.scores import Scores, Status, Step
from anomaly_daemon.detection.state import Column, Rows, Slab, StateLayout, bucket_of
from anomaly_daemon.detection.telling import DAY, Teller, Told
from anomaly_daemon.errors import Incompatible

STATE_VERSION = 1
__all__ = ["STATE_VERSION", "Detector", "Exported", "Scores", "Status", "Step"]


@dataclass(frozen=True, slots=True)
class Exported:
    """The streams of one snapshot bucket, and the partition's own values."""

    keys: list[str]
    arrays: dict[str, npt.NDArray[np.generic]]
    extra: dict[str, int | float] = field(default_factory=dict)


class Detector:
    """Holds the state of every stream of one partition; reads no clock and does no I/O (law L1)."""

    def __init__(
        self,
        model: Model,
        schema: Schema,
        rules: Rules,
        topic: str,
        partition: int,
        config_digest: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> None:
        self.schema, self.rules = schema, rules
        self.scorer = Scorer(model.for_schema(schema), schema, rules)
        self.slab = Slab(_layout(self.scorer, schema))
        origin = Origin(topic, partition, model.ref, config_digest, dict(labels or {}), rules.alarms_per_day)
        self.teller = Teller(origin, rules, self.slab)
        self.watermark = 0
        """The largest event time so far, microseconds; 0 before the first record."""
        self.last_offset = -1
        self.floors: Int64 | None = None
        """After a restore: by bucket, the offset its state stands at. Records below it are already in the state."""
        self._touched: set[str] = set()

    @property
    def streams(self) -> int:
        return len(self.slab)

    @property
    def open_episodes(self) -> dict[Kind, int]:
        counts = self.slab.column("episode_open").sum(axis=0)
        return {kind: int(counts[place]) for place, kind in enumerate(KINDS)}

    def realised(self) -> float | None:
        """Pattern episodes opened per stream and day of event time; None before a stream-day has been seen."""
        days = (self.slab.column("last_time") - self.slab.column("first_time")).sum() / DAY
        return float(self.slab.column("opens").sum() / days) if days >= 1.0 else None

    def step(self, observations: Observations) -> Step:
        """Score a batch and move every stream on past it."""
        events = len(observations)
        scores = Scores.blank(events, len(self.schema.names))
        if events == 0:
            return Step(scores, [])
        row_N = self.slab.rows(observations.keys)[observations.stream_N]
        self._touched.update(observations.keys)
        clock = Clock(observations, self.watermark)
        told: list[Told] = []
        for at_B in rounds(row_N, self._fresh(row_N, observations.offset_N)):
            told += Round(self.scorer, self.teller, observations, clock, at_B, row_N[at_B], scores).run()
        self.watermark, self.last_offset = int(clock.after_N[-1]), int(observations.offset_N[-1])
        told += self._timers(clock)
        return Step(scores, [one.alert for one in sorted(told, key=Told.order)])

    def advance(self, watermark: int, append: int | None = None) -> list[Alert]:
        """Let the timers due at this event time (microseconds) fall, though no record came."""
        if watermark <= self.watermark:
            return []
        self.watermark = watermark
        clock = Clock(None, watermark, Trigger(self.last_offset, 0, watermark, -1 if append is None else append))
        return [one.alert for one in sorted(self._timers(clock), key=Told.order)]

    def _fresh(self, row_N: Int64, offset_N: Int64) -> npt.NDArray[np.bool_]:
        if self.floors is None:
            return np.ones(len(row_N), bool)
        return offset_N >= self.floors[self.slab.hash_S[row_N] % len(self.floors)]

    def _timers(self, clock: Clock) -> list[Told]:
        due = np.minimum(self.slab.column("silence_at"), self.slab.column("retire_at"))
        row_B = np.flatnonzero(due <= self.watermark)
        if len(row_B) == 0:
            return []
        rows = self.slab.gather(row_B)
        turns = timers.fall_due(rows, np.full(len(rows), float(self.watermark)), self.rules)
        told = [self.teller.tell(rows, one, row_B, clock.passed(at), silence_of(rows, one)) for at, one in turns]
        self.slab.scatter(row_B, rows)
        self._touched.update(self.slab.key_of[row] for row in row_B.tolist())
        return told

    def evict(self) -> int:
        """Forget streams unseen for `idle_stream_seconds`, and the longest unseen past `max_streams`; how many."""
        live = self.slab.live()
        last = self.slab.column("last_time")[live]
        idle = self.watermark - last > self.rules.idle_stream_seconds * 1e6
        excess = len(live) - int(idle.sum()) - self.rules.max_streams
        if excess > 0:
            order = np.argsort(np.where(idle, np.inf, last), kind="stable")
            idle[order[:excess]] = True
        gone = live[idle]
        self._touched.update(self.slab.key_of[row] for row in gone.tolist())
        self.slab.drop(gone)
        return len(gone)

    def evidence(self) -> dict[str, Evidence]:
        """What the episodes opened since this was last asked stand on, by alert id."""
        taken = self.teller.take_evidence()
        return {
            name: one if one.clock is None else replace(one, watermark=self.watermark) for name, one in taken.items()
        }

    def buckets(self, buckets: int) -> set[int]:
        """The snapshot buckets changed since this was last asked."""
        touched = {bucket_of(key, buckets) for key in self._touched}
        self._touched.clear()
        return touched

    def export(self, bucket: int, buckets: int) -> Exported:
        """The state of one bucket's streams, copied."""
        live = np.sort(self.slab.live())
        row_B = live[self.slab.hash_S[live] % buckets == bucket]
        rows = self.slab.gather(row_B)
        keys = [self.slab.key_of[row] for row in row_B.tolist()]
        arrays: dict[str, npt.NDArray[np.generic]] = {"carried": rows.carried_BP, "statistics": rows.statistics_BQ}
        return Exported(keys, arrays, {"watermark": self.watermark, "state_version": STATE_VERSION})

    def restore(self, exported: Exported) -> None:
        """Take in a bucket. The watermark becomes the least of the restored ones: replay raises it again."""
        blank = self.slab.layout
        shapes = {"carried": blank.carried_blank.shape, "statistics": blank.statistics_blank.shape}
        for name, shape in shapes.items():
            if name not in exported.arrays or exported.arrays[name].shape != (len(exported.keys), *shape):
                raise Incompatible(
                    f"a snapshot's {name} rows do not have the {shape[0]} columns of this model and schema"
                )
        row_B = self.slab.rows(exported.keys)
        carried, statistics = exported.arrays["carried"], exported.arrays["statistics"]
        self.slab.scatter(row_B, Rows(blank, carried.astype(np.float32), statistics.astype(np.float64)))
        watermark = int(exported.extra["watermark"])
        self.watermark = watermark if self.watermark == 0 else min(self.watermark, watermark)


def _layout(scorer: Scorer, schema: Schema) -> StateLayout:
    carried, statistics = scorer.columns()
    own = [Column(name) for name in ("seen", "first_time", "last_time", "opens")]
    codes = Column("last_codes", (len(schema.categorical),))
    watched = watch.columns(len(schema.numeric), len(schema.names))
    return StateLayout(carried, [*statistics, *own, codes, *timers.COLUMNS, *watched, *episode.COLUMNS])

"""The detector of one input partition: observations in, scores and alerts out.

Theory of operation. A batch may contain a stream several times. It is processed in rounds with at most one event of
each stream, so a stream's events keep their order and everything else is columns. A round skips late and duplicate
records, fires due timers, scores, watches, and updates the episodes. After the last round the timers of all other
streams are compared with the new watermark. The result depends only on the order of the records, not on how they were
cut into batches (law L5): a timer is reported at the record that made it due, alerts are sorted by the record that
triggered them, and a batch in which one stream must make room for another is cut there. Nor does the state of one
snapshot bucket depend on streams of another, so each bucket can be rebuilt from a floor of its own.

Shapes: N observations in a batch, B in a round, K stream keys of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection import arrival, episode, feedback, realised, room, timers, watch
from anomaly_daemon.detection.alert import Alert, Kind
from anomaly_daemon.detection.artifact import Model
from anomaly_daemon.detection.changeover import NETWORK_COLUMNS, follow, hand_over, rebuild
from anomaly_daemon.detection.columns import Table, converted, digest, table
from anomaly_daemon.detection.episode import KINDS
from anomaly_daemon.detection.evidence import Evidence
from anomaly_daemon.detection.explain import Origin
from anomaly_daemon.detection.feedback import Label
from anomaly_daemon.detection.mute import Muted
from anomaly_daemon.detection.observation import Int64, Observations, Schema
from anomaly_daemon.detection.order import Clock, Trigger, rounds
from anomaly_daemon.detection.placement import Placement
from anomaly_daemon.detection.realised import Spent, spent
from anomaly_daemon.detection.round import Numbers, silence_of
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.detection.scorer import Scorer
from anomaly_daemon.detection.scores import Scores, Status, Step
from anomaly_daemon.detection.sign import split
from anomaly_daemon.detection.state import Column, Slab, StateLayout, bucket_of
from anomaly_daemon.detection.telling import Raised, Teller

STATE_VERSION = 3
__all__ = ["STATE_VERSION", "Detector", "Exported", "Scores", "Status", "Step"]


@dataclass(frozen=True, slots=True)
class Exported:
    """The state of the streams of one snapshot bucket."""

    keys: list[str]
    arrays: dict[str, npt.NDArray[np.generic]]
    extra: dict[str, int | float] = field(default_factory=dict)
    columns: Table = field(default_factory=dict)
    """The table of what the arrays contain, by column name."""


class Detector:
    """Holds the state of every stream of one partition. It reads no clock and does no I/O (law L1)."""

    def __init__(
        self,
        model: Model,
        schema: Schema,
        rules: Rules,
        topic: str,
        partition: int,
        config_digest: str = "",
        labels: Mapping[str, str] | None = None,
        buckets: int = 64,
        placement: Placement = Placement(),  # noqa: B008 - frozen
    ) -> None:
        """`buckets`: the number of snapshot buckets that streams are kept in."""
        self.schema, self.rules, self._numbers = schema, rules, Numbers.of(rules, schema.timezone)
        self.scorer = Scorer(model.for_schema(schema), schema, rules, placement)
        self._capacity = room.capacity(rules.max_streams, buckets)
        layout, most = _layout(self.scorer, schema), buckets * self._capacity
        self.slab = Slab(layout, buckets=buckets, deadlines=timers.DEADLINES, most=most)
        origin = Origin(topic, partition, model.ref, config_digest, dict(labels or {}), rules.alarms_per_day)
        self.teller = Teller(origin, rules, self.slab)
        self.watermark = 0
        """The largest event time of all records so far, in microseconds; 0 before the first record."""
        self.last_offset = -1
        self.floors: Int64 | None = None
        """After a restore: by bucket, the offset of its state, which already includes all records below that offset."""
        self._touched_K = np.zeros(buckets, bool)
        self._evicted = room.Evicted()

    @property
    def streams(self) -> int:
        return len(self.slab)

    @property
    def open_episodes(self) -> dict[Kind, int]:
        counts = self.slab.column("episode_open").sum(axis=0)
        return {kind: int(counts[place]) for place, kind in enumerate(KINDS)}

    def spent(self) -> Spent:
        """Return what all streams together have spent of their alarm budgets."""
        return spent(*(self.slab.column(name) for name in ("opens", "opens_at", "first_time", "last_time")))

    def step(self, observations: Observations) -> Step:
        """Score a batch and update the state of its streams."""
        events, start, crowded_out = len(observations), 0, 0
        scores = Scores.blank(events, len(self.schema.names), len(self.scorer.counters))
        raised: list[Raised] = []
        muted = self._numbers.mutes.over(observations) if self._numbers.mutes and events else None
        while start < events:
            left = observations.take(slice(start, None)) if start else observations
            fresh_N, known_K = self._fresh(left), self.slab.known(left.keys)
            new_N = fresh_N & ~muted.skipped_N[start:] if muted else fresh_N
            stop = start + room.until_full(self.slab, left, known_K, new_N, self._capacity)
            if stop == start:
                made, evicted = self._make_room(left)
                raised, crowded_out = raised + made, crowded_out + evicted
                continue
            part = left.take(slice(0, stop - start)) if stop < events else left
            here, here_muted = slice(start, stop), muted and muted.part(slice(start, stop))
            raised += self._step(part, known_K, fresh_N[: stop - start], scores.part(here), here_muted)
            start = stop
        return Step(scores, [one.alert for one in raised], self.scorer.counters, crowded_out)

    def _step(
        self,
        observations: Observations,
        known_K: Int64,
        fresh_N: npt.NDArray[np.bool_],
        scores: Scores,
        muted: Muted | None,
    ) -> list[Raised]:
        """Process a part of a batch in which every stream has room."""
        if muted is not None:
            fresh_N = muted.with_row(fresh_N, known_K, observations.stream_N, scores)
        row_N = self._rows(observations, known_K, fresh_N)
        rebuild(self, row_N[row_N >= 0])
        clock = Clock(observations, self.watermark)
        raised: list[Raised] = []
        parts = self.scorer, self.teller, self._numbers, observations, clock
        for kind, at_B in split(rounds(row_N, fresh_N), muted):
            raised += kind(*parts, at_B, row_N[at_B], scores, muted).run()
        self.watermark, self.last_offset = int(clock.after_N[-1]), int(observations.offset_N[-1])
        raised += self._timers(clock, self.watermark, forget=True)
        return sorted(raised, key=Raised.order)

    def _rows(self, observations: Observations, known_K: Int64, fresh_N: npt.NDArray[np.bool_]) -> Int64:
        """Return the row of each observation's stream; `known_K` has the rows of keys that have one already. A stream
        without a fresh observation gets none (-1)."""
        fresh_K = np.zeros(len(known_K), bool)
        fresh_K[observations.stream_N[fresh_N]] = True
        new = np.flatnonzero(fresh_K & (known_K < 0))
        row_K = np.where(fresh_K, known_K, -1)
        row_K[new] = self.slab.rows([observations.keys[stream] for stream in new.tolist()])
        self._touch(row_K[fresh_K])
        return row_K[observations.stream_N]

    def _touch(self, row_B: Int64) -> None:
        """Note that the state of these rows' streams has changed."""
        self._touched_K[self.slab.hash_S[row_B] % self.slab.buckets] = True

    def advance(self, watermark: int, append: int | None = None) -> list[Alert]:
        """Fire the timers due at this event time (microseconds) without a record. The watermark, which is that of
        records, stays: it must not be ahead of a stream that was held up and comes back."""
        if watermark <= self.watermark:
            return []
        clock = Clock(None, watermark, Trigger(self.last_offset, 0, watermark, -1 if append is None else append))
        return [one.alert for one in sorted(self._timers(clock, watermark, forget=False), key=Raised.order)]

    def _fresh(self, observations: Observations) -> npt.NDArray[np.bool_]:
        """Return which observations are not yet part of the restored state, [N]."""
        if self.floors is None or observations.offset_N[0] >= self.floors.max():
            self.floors = None
            return np.ones(len(observations), bool)
        floor_of_stream = self.floors[[bucket_of(key, len(self.floors)) for key in observations.keys]]
        return np.asarray(observations.offset_N >= floor_of_stream[observations.stream_N])

    def _timers(self, clock: Clock, watermark: int, *, forget: bool) -> list[Raised]:
        """Fire the timers due at this event time; `forget` drops the streams that have been unseen for too long."""
        row_B = self.slab.due(watermark)
        row_B = row_B if forget else timers.to_fire(self.slab, row_B, watermark, self.rules)
        if len(row_B) == 0:
            return []
        rebuild(self, row_B)
        rows, now_B = self.slab.gather(row_B), np.full(len(row_B), float(watermark))
        turns = timers.fall_due(rows, now_B, self.rules, self._numbers.keyed(self.slab, row_B))
        raised = [self.teller.tell(rows, one, row_B, clock.passed(at), silence_of(rows, one)) for at, one in turns]
        self.slab.scatter(row_B, rows)
        self._touch(row_B)
        if forget:
            self._drop(row_B[timers.forgotten(rows, now_B, self.rules)], "idle")
        return raised

    def _make_room(self, observations: Observations) -> tuple[list[Raised], int]:
        """Evict streams for the first of these observations, whose stream is new and finds its bucket full."""
        row_B = room.longest_unseen(self.slab, observations.keys[observations.stream_N[0]], self._capacity)
        rows, by = self.slab.gather(row_B), Clock(observations, self.watermark).at(0)
        ends, now_B = np.ones(len(rows), bool), np.full(len(rows), float(self.watermark))
        turns = [one for kind in KINDS for one in episode.end(rows, kind, ends, now_B, episode.Reason.EVICTED)]
        raised = [self.teller.tell(rows, one, row_B, by, silence_of(rows, one)) for one in turns]
        self._drop(row_B, "limit")
        return sorted(raised, key=Raised.order), len(row_B)

    def _drop(self, row_B: Int64, why: str) -> None:
        self._touch(row_B)
        self.slab.drop(row_B)
        self._evicted = self._evicted.plus(room.Evicted(**{why: len(row_B)}))

    def evicted(self) -> room.Evicted:
        """Return the number of streams forgotten since the last call."""
        evicted, self._evicted = self._evicted, room.Evicted()
        return evicted

    def newest(self, key: str) -> int | None:
        """Return the event time that this stream has reached; None if the stream is not known."""
        return int(self.slab.column("last_time")[self.slab.row_of[key]]) if key in self.slab.row_of else None

    def evidence(self) -> dict[str, Evidence]:
        """Return, by alert id, the evidence of the episodes opened since the last call."""
        taken, now = self.teller.take_evidence(), self.watermark
        return {name: one if one.clock is None else replace(one, watermark=now) for name, one in taken.items()}

    def buckets(self, buckets: int) -> set[int]:
        """Return which of `buckets` buckets (the detector's number, or a divisor of it) changed since the last call."""
        if self.slab.buckets % buckets:
            raise ValueError(f"streams are kept in {self.slab.buckets} buckets, not in {buckets}")
        touched, self._touched_K = np.flatnonzero(self._touched_K) % buckets, np.zeros_like(self._touched_K)
        return set(touched.tolist())

    def take_in(self, key: str, alert_id: str, label: Label, offset: int) -> bool:
        """Apply a label on an alert of this stream, at this feedback offset. Return whether the state changed."""
        if key not in self.slab.row_of:
            return False
        row_B = self.slab.rows([key])
        rows = self.slab.gather(row_B)
        changed = feedback.take_in(rows, alert_id, label, offset)
        if changed:
            self.slab.scatter(row_B, rows)
            self._touch(row_B)
        return changed

    def hear_anew(self, buckets: int) -> set[int]:
        """Let every stream read the feedback from its start again. Return which of `buckets` buckets change."""
        next_S = self.slab.column("label_next")
        row_B = np.flatnonzero(next_S)
        next_S[row_B] = 0
        self._touch(row_B)
        return set((self.slab.hash_S[row_B] % buckets).tolist())

    def export(self, bucket: int, buckets: int) -> Exported:
        """Return a copy of the state of one bucket's streams."""
        row_B = self.slab.in_bucket(bucket, buckets)
        rebuild(self, row_B)
        rows = self.slab.gather(row_B)
        arrays: dict[str, npt.NDArray[np.generic]] = {"carried": rows.carried_BP, "statistics": rows.statistics_BQ}
        return Exported([self.slab.key_of[row] for row in row_B.tolist()], arrays, columns=self.slab.layout.of(table))

    def fits(self, exported: Exported, columns: str) -> bool:
        """Return whether these rows, whose columns have this digest, have the same layout as this detector's rows."""
        layout = self.slab.layout
        widths = {"carried": len(layout.carried_blank), "statistics": len(layout.statistics_blank)}
        found = {name: array.shape[1] for name, array in exported.arrays.items() if array.ndim == 2}
        return found == widths and columns == layout.of(digest)

    def restore(self, exported: Exported) -> tuple[str, ...]:
        """Restore a bucket. Return the columns on which it has nothing, as another release stored it: they are reset."""
        stored, count = exported.columns, len(exported.keys)
        rows, anew = converted(exported.arrays, count, stored, self.slab.layout)
        self.scorer.complete(rows)
        realised.complete(rows)
        row_B = self.slab.rows(exported.keys)
        self.slab.scatter(row_B, rows)
        self.slab.stale_S[row_B] = not set(anew).isdisjoint(NETWORK_COLUMNS)
        return anew

    def follow(self, former: Detector) -> None:
        """Start with a copy of every stream of a detector that continues to run."""
        self._stand_where(former, follow(former, self))

    def adopt(self, former: Detector) -> None:
        """Take over every stream of the detector that decided so far, and which buckets changed: one may have lost its
        last stream. That detector must not be used any more. See `changeover`."""
        self._stand_where(former, hand_over(former, self))
        self._touched_K |= former._touched_K if former.slab.buckets == self.slab.buckets else True
        self._evicted = self._evicted.plus(former.evicted())

    def hold(self, slab: Slab) -> None:
        """Replace the slab by this one, whose rows have this detector's layout."""
        self.slab, self.teller = slab, replace(self.teller, slab=slab)

    def _stand_where(self, former: Detector, row_B: Int64) -> None:
        self._touch(row_B)
        self.watermark, self.last_offset, self.floors = former.watermark, former.last_offset, former.floors


def _layout(scorer: Scorer, schema: Schema) -> StateLayout:
    carried, statistics = scorer.columns()
    codes = Column("last_codes", (len(schema.categorical),))
    watched = watch.columns(len(schema.numeric), len(schema.names))
    others = [*timers.COLUMNS, *watched, *episode.COLUMNS, *feedback.COLUMNS]
    return StateLayout(carried, [*statistics, *arrival.columns(schema.numeric), codes, *realised.COLUMNS, *others])

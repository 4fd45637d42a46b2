"""Replays a published episode: checks what was in force, recomputes it from its records, and gives the verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from anomaly_daemon.bootstrap import make_of, replay_detector
from anomaly_daemon.checkpoint.evidence import Opening, build
from anomaly_daemon.checkpoint.snapshot import PLACES
from anomaly_daemon.configuration import config_digest
from anomaly_daemon.daemon.intake import Observer
from anomaly_daemon.detection.alert import Alert
from anomaly_daemon.detection.artifact import Model
from anomaly_daemon.detection.observation import Observations
from anomaly_daemon.errors import Incompatible, NotComparable
from anomaly_daemon.replay.compare import Difference, Pair, Verdict, differences, pairs
from anomaly_daemon.replay.recompute import Recomputation, Score
from anomaly_daemon.replay.recorded import Recorded
from anomaly_daemon.replay.records import Records
from anomaly_daemon.report.episodes import micros
from anomaly_daemon.settings import Settings
from anomaly_daemon.transport.codec import Decoder

ELSEWHERE = ("snapshot.buckets", *PLACES)
"""Settings that may differ. Where state is stored, and where its records come from, does not matter to the state of a
single stream: the records may come from a mirror."""
BEFORE_RECORDS = AFTER_RECORDS = 20_000
"""Most records that are read before the episode, and after it, for its picture."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """The outcome of a replay. `then` holds the published messages that were compared."""

    verdict: Verdict
    then: Recorded
    pairs: tuple[Pair, ...]
    differences: tuple[Difference, ...]
    scores: dict[int, Score]
    """The scores of the stream by offset, as computed now."""
    start: int
    """The offset of the first record read."""
    records: int
    notes: tuple[str, ...]
    """What a reader must know to judge the verdict."""


def replay(
    settings: Settings,
    model: Model,
    recorded: Recorded,
    records: Records,
    *,
    observers: Sequence[Observer] = (),
    progress: Callable[[int], None] = lambda _records: None,
    after: bool = False,
) -> Replayed:
    """Compute the episode again and compare it with what was published.

    `after`: whether to read on a little past its end, for the observers. Raises Incompatible when model or settings are
    not those of the alert, NotComparable when its records are gone.
    """
    same = recorded.comparable()
    if not same.messages:
        raise NotComparable("this close made room for another stream: the stream's own records do not explain it")
    _refuse_other(settings, model, same)
    detector = replay_detector(settings, model, records.partition)
    if same.opening is not None and not detector.fits(same.opening.state, same.opening.columns):
        same = replace(same, opening=None)
    end = same.last_offset + 1
    start, exact = _start(settings, same.opening, records, end)
    again = Recomputation(
        detector,
        same.first.stream.key,
        same.first.alert_id,
        same.opening,
        _clock(settings, same.messages),
        observers,
    )
    read = _feed(settings, again, records, start, end, progress)
    if after:
        _read_on(settings, again, records, end)
    found = pairs(same, again.messages, settings.limits.alert_bytes)
    unlike = tuple(one for pair in found for one in differences(pair))
    verdict = _verdict(settings, same, unlike, exact=exact)
    notes = tuple(_notes(settings, recorded, same, start, exact=exact))
    return Replayed(verdict, same, tuple(found), unlike, again.scores, start, read, notes)


def _refuse_other(settings: Settings, model: Model, recorded: Recorded) -> None:
    """Raise Incompatible where model or make are not the alert's. State belongs to weights, and to what its numbers
    mean (law L9)."""
    then = recorded.first.model
    if then.digest != model.digest:
        raise Incompatible(
            f"the alert was decided by the model {then.name} {then.version} ({then.digest}), and this one is "
            f"{model.ref.name} {model.ref.version} ({model.digest}): give its folder with --model"
        )
    if recorded.opening is None:
        return
    faults = [fault for fault in make_of(settings, model).differences(recorded.opening.make) if not _elsewhere(fault)]
    if faults:
        raise Incompatible(
            f"the alert's evidence was written under other settings: {'; '.join(faults)}. Set them back for the replay"
        )


def _elsewhere(fault: str) -> bool:
    return fault.startswith(ELSEWHERE)


def _start(settings: Settings, opening: Opening | None, records: Records, end: int) -> tuple[int, bool]:
    """Return the first offset to read, and whether the stream's state there is known."""
    oldest = records.beginning()
    if opening is None:
        return oldest, oldest == 0 and (settings.source.kind == "files" or settings.source.start == "earliest")
    start = opening.offset + (opening.clock is not None)
    if start < min(oldest, end):
        raise NotComparable(
            f"records {start} to {min(oldest, end) - 1} of {_name(records)} are gone: the oldest one there is {oldest}"
        )
    return start, True


def _verdict(settings: Settings, recorded: Recorded, unlike: Sequence[Difference], *, exact: bool) -> Verdict:
    if not exact or (unlike and _labels_missing(settings, recorded)):
        return Verdict.NOT_COMPARABLE
    return Verdict.DIFFERENT if unlike else Verdict.IDENTICAL


def _labels_missing(settings: Settings, recorded: Recorded) -> bool:
    """Return whether labels may have moved the stream's threshold before the episode. Only evidence contains them: when
    the daemon took them in is stored nowhere else."""
    return recorded.opening is None and settings.retraining.feedback_topic is not None


def _name(records: Records) -> str:
    return f"{records.partition.topic}-{records.partition.partition}"


def _clock(settings: Settings, messages: Sequence[Alert]) -> dict[int, list[int]]:
    """Return after which records the clock fired timers, and at which event times. On Kafka only a message that the
    clock caused has no append time."""
    struck: dict[int, list[int]] = {}
    if settings.source.kind == "kafka":
        for one in messages:
            if one.times.append is None:
                struck.setdefault(one.provenance.last_offset, []).append(micros(one.times.event))
    return struck


def _observations(settings: Settings, records: Records, start: int, end: int) -> Iterator[tuple[int, Observations]]:
    """Yield the next offset after each batch, and the observations in the batch."""
    decoder = Decoder(settings.stream, settings.limits)
    for batch in records.read(start, end):
        yield batch.next_offset, decoder.decode(batch).observations


def _feed(
    settings: Settings,
    again: Recomputation,
    records: Records,
    start: int,
    end: int,
    progress: Callable[[int], None],
) -> int:
    """Feed the records to the recomputation. Returns how many offsets were read. Raises NotComparable where they do not
    reach `end`, because something else would be compared then."""
    position = start
    for after, observations in _observations(settings, records, start, end):
        again.take(observations, after)
        progress(after - position)
        position = after
    if position < end:
        raise NotComparable(f"{_name(records)} ends at {position}, before record {end - 1}: was it recreated?")
    return position - start


def _read_on(settings: Settings, again: Recomputation, records: Records, end: int) -> None:
    for after, observations in _observations(settings, records, end, end + AFTER_RECORDS):
        again.take(observations, after)


def before(settings: Settings, outcome: Replayed, records: Records) -> Iterator[Observations]:
    """Yield the partition's observations just before the first record that was computed again."""
    start = max(records.beginning(), outcome.start - BEFORE_RECORDS)
    if start < outcome.start:
        yield from (observations for _, observations in _observations(settings, records, start, outcome.start))


def _notes(settings: Settings, recorded: Recorded, same: Recorded, start: int, *, exact: bool) -> Iterator[str]:
    if len(same.messages) < len(recorded.messages):
        left = len(recorded.messages) - len(same.messages)
        yield f"the last {left} messages were decided by another model, other settings or another stream: not compared"
    if same.first.config_digest != config_digest(settings):
        yield (
            "the settings differ from the alert's (config_digest): other fields, budget, weights or memories change "
            "score, threshold and decision"
        )
    opening = same.opening
    if opening is not None and opening.build != build():
        yield f"it was computed on {opening.build}, and now on {build()}: the last bits may differ for that alone"
    if opening is None and recorded.opening is not None:
        yield "its evidence is of another release, whose rows have other columns, or do not name them"
    if opening is None and exact:
        yield "without evidence: the stream's state was rebuilt from the first record on"
    if exact and _labels_missing(settings, same):
        yield (
            f"labels of {settings.retraining.feedback_topic} that were taken in before the episode are not known: they "
            "lower the threshold, and other figures may differ for that alone"
        )
    if not exact:
        yield (
            f"without evidence, the stream's state was rebuilt from record {start} on, the oldest there; the stream may "
            "have begun before, so equal figures would prove nothing, nor do unequal ones"
        )

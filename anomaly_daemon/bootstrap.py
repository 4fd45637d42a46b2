"""Builds a worker from the settings. This is the only place where implementations are chosen, and every command that
detects uses it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import structlog
from structlog.typing import FilteringBoundLogger

from anomaly_daemon.checkpoint.snapshot import Make
from anomaly_daemon.compute import placement_of, use_threads
from anomaly_daemon.configuration import config_digest
from anomaly_daemon.daemon import logs
from anomaly_daemon.daemon.allocation import keep_freed_memory
from anomaly_daemon.daemon.commit import Outbox
from anomaly_daemon.daemon.metrics import Metrics
from anomaly_daemon.daemon.policy import Clocks, WatchPolicy
from anomaly_daemon.daemon.shadow import Shadow
from anomaly_daemon.daemon.succession import Deciding
from anomaly_daemon.daemon.watch import ModelWatch
from anomaly_daemon.daemon.worker import Observer, Ports, Worker
from anomaly_daemon.detection.artifact import Model
from anomaly_daemon.detection.detector import STATE_VERSION, Detector, Step
from anomaly_daemon.detection.observation import Observations
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.detection.trial import tried, warm
from anomaly_daemon.errors import ConfigurationError
from anomaly_daemon.policies import policies_of
from anomaly_daemon.regime import PartitionDetectors, rules_of
from anomaly_daemon.registry.following import Following
from anomaly_daemon.registry.reference import Alias, Reference, read_model
from anomaly_daemon.settings import Settings
from anomaly_daemon.transport import alert_codec
from anomaly_daemon.transport.codec import Decoder
from anomaly_daemon.transport.files import FilesDelivery, FilesSnapshots, FilesSource
from anomaly_daemon.transport.files_state import FilesState
from anomaly_daemon.transport.ports import Delivery, EndedLog, Partition, SnapshotStore, Source

TRIAL = Partition("trial", 0)
"""The partition of a detector that is only tried or warmed, and decides nothing."""


def build_worker(
    settings: Settings,
    *,
    source: Source | None = None,
    delivery: Delivery | None = None,
    snapshots: SnapshotStore | None = None,
    observers: Sequence[Observer] = (),
    progress: Callable[[int], None] | None = None,
    model: Model | None = None,
    clocks: Clocks | None = None,
    idle_timers: bool | None = None,
) -> Worker:
    """Return the worker for these settings.

    Transports are made from the settings unless passed in (memory transports always are). A delivery passed in without
    snapshots keeps none. `observers` see every live observation with its scores: `Callable[[Observations, Step],
    None]`. `progress` gets the number of observations just taken. `idle_timers`: for Kafka only, see `daemon.worker`.

    Raises one of `errors`: ConfigurationError, Incompatible (model and schema), Unavailable, NotPermitted, NoInput.
    """
    use_threads(settings)
    keep_freed_memory()
    chosen = (read_model(settings.model.path) if model is None else model).for_schema(settings.stream.schema_())
    metrics, log = _metrics(settings, chosen), _logger(settings)
    clocks = clocks or Clocks()
    watch = None if model is not None else _watch(settings, chosen, clocks, metrics, log)
    idle = source is None and settings.source.kind == "kafka" if idle_timers is None else idle_timers
    return Worker(
        _ports(settings, source, delivery, snapshots),
        Decoder(settings.stream, settings.limits).warmed(),
        _warmed(PartitionDetectors(settings, chosen)),
        make_of(settings, chosen),
        _outbox(settings, clocks),
        replace(policies_of(settings), idle_timers=idle),
        clocks,
        metrics,
        log,
        [*observers, *([_counting(progress)] if progress else []), *(watch.observers if watch else [])],
        watch,
    )


def _warmed(detectors: PartitionDetectors) -> PartitionDetectors:
    """Compile the detection code and return the detectors. The first compilation takes seconds, which the consumer
    group must not wait for."""
    warm(detectors.ours(TRIAL))
    return detectors


def _logger(settings: Settings) -> FilteringBoundLogger:
    return logs.begun([window.name for window in settings.detection.mute], settings.mute_doubts())


def _watch(
    settings: Settings, running: Model, clocks: Clocks, metrics: Metrics, log: FilteringBoundLogger
) -> ModelWatch | None:
    """Return the watch that follows the model's alias, with one for the challenger beside it where `model.shadow` asks
    for it; None where the model is not followed."""
    reference, policy = _followed(settings), WatchPolicy(settings.model.watch_seconds)
    if reference is None:
        return None

    def watching(name: Reference, digest: str, shadow: Shadow | None = None, *, decides: bool = True) -> ModelWatch:
        following = Following(name, partial(deciding, settings))
        announced = _log(settings, settings.retraining.announcements_topic, {"cleanup.policy": "compact"})
        return ModelWatch(following, digest, policy, random.random, metrics, log, shadow, announced, decides=decides)

    challenger = replace(reference, version=Alias.CHALLENGER)
    beside = (
        Shadow(watching(challenger, "", decides=False), clocks.monotonic, metrics, log)
        if settings.model.shadow
        else None
    )
    return watching(reference, running.digest, beside)


def _followed(settings: Settings) -> Reference | None:
    """Return the reference of the model where it is an alias, which may move, and is watched; else None."""
    reference = Reference.of(settings.model.path)
    return reference if reference is not None and reference.moves and settings.model.watch_seconds else None


def heard_topics(settings: Settings) -> dict[str, str]:
    """Return the topics that every member reads from their beginning, by the keys that name them."""
    if settings.source.kind != "kafka":
        return {}
    asked = settings.retraining
    announced = asked.announcements_topic if _followed(settings) else None
    named = {"retraining.feedback_topic": asked.feedback_topic, "retraining.announcements_topic": announced}
    return {key: topic for key, topic in named.items() if topic is not None}


def deciding(settings: Settings, model: Model) -> Deciding:
    """Return the model ready to decide, after a trial. Raises Incompatible, with the reason, when it cannot decide.

    The trial has its own rules: under the operator's, few of its events might be scored, or none.
    """
    detectors = PartitionDetectors(settings, model)
    tried(detectors.under(TRIAL, model, Rules()))
    assert detectors.artifact, "packed here, beside the loop"
    return Deciding(detectors, make_of(settings, model), model.ref)


def _outbox(settings: Settings, clocks: Clocks) -> Outbox:
    """Return the outbox for alerts. A file of alerts holds no headers and so no evidence; the records that its alerts
    are about are in files too."""
    encode = partial(alert_codec.encode, most_bytes=settings.limits.alert_bytes)
    kept = settings.sink.kind == "kafka" and settings.sink.evidence
    return Outbox(settings.name, encode, clocks.wall, settings.limits.alert_bytes if kept else 0)


def _counting(progress: Callable[[int], None]) -> Observer:
    def observe(observations: Observations, step: Step) -> None:
        progress(len(observations))

    return observe


def _metrics(settings: Settings, model: Model) -> Metrics:
    metrics = Metrics()
    ref = model.ref
    metrics.set("model_info", 1, name=ref.name, version=ref.version, digest=ref.digest)
    metrics.set("budget_alarms_per_stream_day", settings.detection.budget.alarms_per_stream_per_day)
    return metrics


def make_of(settings: Settings, model: Model) -> Make:
    """Return what stored state belongs to: the model, and every setting that decides what the numbers in it mean.

    Thresholds, budgets, memories, and the direction and floors of a field are not included: a change of those takes
    effect at the next record. The input topic and the consumer group are included, because two deployments that share a
    snapshot topic by mistake must not restore each other's state.
    """
    stream = settings.stream
    decides = {
        "stream.key": "/".join(stream.key),
        "stream.shape": stream.shape,
        "stream.numeric": ", ".join(f"{feature.name} ({feature.transform})" for feature in stream.numeric),
        "stream.categorical": ", ".join(stream.categorical),
        "stream.timezone": stream.timezone,
        "snapshot.buckets": str(settings.snapshot.buckets),
    }
    if settings.source.kind == "kafka":
        decides |= {"source.topic": settings.source.topic or "", "kafka.group_id": settings.kafka.group_id}
    return Make(model.digest, STATE_VERSION, decides)


def replay_detector(settings: Settings, model: Model, partition: Partition) -> Detector:
    """Return a separate detector for one partition, to recompute what the daemon's detector has computed."""
    use_threads(settings)
    digest, schema, labels = config_digest(settings), settings.stream.schema_(), settings.stream.labels
    return Detector(model, schema, rules_of(settings), *partition, digest, labels, placement=placement_of(settings))


def _ports(
    settings: Settings, source: Source | None, delivery: Delivery | None, snapshots: SnapshotStore | None
) -> Ports:
    if source is not None and delivery is not None:
        return Ports(source, delivery, snapshots, atomic=settings.sink.delivery == "exactly_once")
    if settings.source.kind == "kafka":
        return _kafka_ports(settings, source, delivery, snapshots)
    return _files_ports(settings, source, delivery, snapshots)


def _files_ports(
    settings: Settings, source: Source | None, delivery: Delivery | None, snapshots: SnapshotStore | None
) -> Ports:
    sink = settings.sink
    if delivery is None and sink.kind == "kafka" and "kind" in sink.model_fields_set:
        raise ConfigurationError(
            "source.kind is files and sink.kind is kafka: one commit cannot cover both, set both to the same kind"
        )
    folder = settings.snapshot.path if delivery is None else None
    state = FilesState(folder)
    made = source or FilesSource(settings.source.paths, settings.stream, state=state, limits=settings.limits)
    if delivery is not None:
        return Ports(made, delivery, snapshots)
    store = snapshots or (FilesSnapshots(state) if folder else None)
    return Ports(made, FilesDelivery(sink.path, sink.dead_letter_path, state=state), store)


def _kafka_ports(
    settings: Settings, source: Source | None, delivery: Delivery | None, snapshots: SnapshotStore | None
) -> Ports:
    if settings.sink.kind != "kafka":
        raise ConfigurationError(
            "source.kind is kafka and sink.kind is files: one commit cannot cover both, set both to the same kind"
        )
    from anomaly_daemon.transport.kafka.delivery import KafkaDelivery
    from anomaly_daemon.transport.kafka.plain_delivery import PlainDelivery
    from anomaly_daemon.transport.kafka.snapshots import KafkaSnapshots
    from anomaly_daemon.transport.kafka.source import KafkaSource
    from anomaly_daemon.transport.kafka.topics import prepare_topics

    if source is not None or delivery is not None:
        raise ValueError("a Kafka source and its delivery are one member of the group: pass both, or neither")
    for doubt in prepare_topics(settings):
        structlog.get_logger("anomaly_daemon").warning("questionable topic settings", reason=doubt)
    reader = KafkaSource(settings.kafka, settings.source)
    atomic = settings.sink.delivery == "exactly_once"
    writer = (KafkaDelivery if atomic else PlainDelivery)(
        settings.kafka,
        settings.sink,
        settings.snapshot,
        reader.membership,
        deadline_seconds=settings.limits.retry_seconds,
    )
    store = KafkaSnapshots(settings.kafka, settings.snapshot)
    feedback = _log(settings, settings.retraining.feedback_topic)
    return Ports(reader, writer, snapshots or store, atomic, aside=True, feedback=feedback, closing=(store.close,))


def _log(settings: Settings, topic: str | None, config: Mapping[str, str] | None = None) -> EndedLog | None:
    """Return a reader of a topic that every member reads from its beginning; None without such a topic, and where the
    source is files. `config`: what the topic is created with."""
    if topic is None or settings.source.kind != "kafka":
        return None
    from anomaly_daemon.transport.kafka.log import TopicLog
    from anomaly_daemon.transport.kafka.publish import create_topic

    if settings.sink.create_topics:
        create_topic(settings.kafka, topic, 1, config, settings.sink.replication_factor)
    return TopicLog(settings.kafka, topic)

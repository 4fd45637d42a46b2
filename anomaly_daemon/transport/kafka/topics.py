"""Describes topics, checks whether they fit, and creates those that are missing."""

from __future__ import annotations

import difflib
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import TopicAlreadyExistsError, TopicAuthorizationFailedError, UnknownTopicOrPartitionError, for_code

from anomaly_daemon.errors import ConfigurationError, Incompatible, NotPermitted
from anomaly_daemon.settings import Settings
from anomaly_daemon.transport.kafka.connection import connect
from anomaly_daemon.transport.kafka.failures import named

LARGEST_RECORD_BYTES = 16_000_000
"""max.message.bytes of dead-letter and snapshot topics when created. A dead letter is its record plus headers."""

SNAPSHOT_BYTES = 1_000_000
"""Largest part of a snapshot in bytes, headers included. Snapshots are cut into parts that fit."""

KNOWN_SECONDS = 10.0
"""Seconds for which a broker may not know a topic that was just created."""

TIMESTAMP_BOUNDS = ("message.timestamp.after.max.ms", "message.timestamp.difference.max.ms")
UNBOUNDED = 2**63 - 1

SNAPSHOT_CONFIG = {
    "cleanup.policy": "compact",
    # A restore reads every copy that compaction has not reached, and compaction never reaches the active segment. Small
    # segments and an eager ratio keep that to about one segment; the defaults (1 GB, 0.5) would keep it to gigabytes.
    "segment.bytes": str(32 * 1024 * 1024),
    "min.cleanable.dirty.ratio": "0.2",
    "max.message.bytes": str(LARGEST_RECORD_BYTES),
}


@dataclass(frozen=True, slots=True)
class Topic:
    """What a broker reports of a topic."""

    name: str
    exists: bool = False
    partitions: int = 0
    visible: bool = True
    """False where this user may not describe the topic."""
    operations: frozenset[str] | None = None
    """Operations that this user may do (READ, WRITE, ...); None where the broker does not report them."""
    config: Mapping[str, str] = field(default_factory=dict)
    """The topic's settings; empty where this user may not read them."""

    @property
    def compacted(self) -> bool:
        return "compact" in self.config.get("cleanup.policy", "compact")

    @property
    def deletes(self) -> bool:
        """Whether records are deleted for their age, or for the size of their partition."""
        bounds = (self.config.get("retention.ms", "-1"), self.config.get("retention.bytes", "-1"))
        return "delete" in self.config.get("cleanup.policy", "") and any(int(bound) >= 0 for bound in bounds)


def describe(admin: Any, names: Iterable[str]) -> dict[str, Topic]:
    """Return a description of every one of `names`, whether it exists or not."""
    wanted = list(dict.fromkeys(names))
    found = {entry["name"]: _topic(entry) for entry in admin.describe_topics(wanted)}
    readable = [name for name, topic in found.items() if topic.exists]
    configs = _configs(admin, readable) if readable else {}
    return {
        name: Topic(name, topic.exists, topic.partitions, topic.visible, topic.operations, configs.get(name, {}))
        for name in wanted
        for topic in [found.get(name, Topic(name))]
    }


def describe_created(admin: Any, names: Iterable[str], seconds: float = KNOWN_SECONDS) -> dict[str, Topic]:
    """Describe topics that have just been created. Each request may go to another broker, and brokers learn of a new
    topic one after the other, so a request is repeated until all topics are known, for up to `seconds`. A topic that
    this user may not see is not waited for."""
    wanted, deadline = list(names), time.monotonic() + seconds
    while True:
        found = describe(admin, wanted)
        if all(topic.exists or not topic.visible for topic in found.values()) or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def _topic(entry: Mapping[str, Any]) -> Topic:
    error = for_code(entry["error_code"])
    if error in (UnknownTopicOrPartitionError, TopicAuthorizationFailedError):
        return Topic(entry["name"], visible=error is UnknownTopicOrPartitionError)
    if entry["error_code"]:
        raise error(entry["name"])
    operations = entry.get("authorized_operations")
    allowed = None if operations is None else frozenset(operations)
    return Topic(entry["name"], True, len(entry["partitions"]), True, allowed)


def _configs(admin: Any, names: Iterable[str]) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    found = admin.describe_configs(resources, config_filter="all").get("topic", {})
    return {name: {key: entry["value"] for key, entry in config.items()} for name, config in found.items()}


def wanted_topics(settings: Settings, input_partitions: int) -> dict[str, tuple[int, dict[str, str]]]:
    """Return the topics that the daemon writes, with the partitions and configuration that they would be created with.

    The snapshot topic must have as many partitions as the input. Alerts and dead letters need not, and get as many.
    """
    large = {"max.message.bytes": str(LARGEST_RECORD_BYTES)}
    return {
        settings.sink.alerts_topic: (input_partitions, {}),
        settings.sink.dead_letter_topic: (input_partitions, large),
        settings.snapshot.topic: (input_partitions, SNAPSHOT_CONFIG),
    }


def prepare_topics(settings: Settings) -> list[str]:
    """At start, create missing topics where `sink.create_topics` is set, and refuse topics that do not fit. Returns
    doubts: settings that may be right, but that a person should look at.

    Topics are also refused for faults that would show only much later: state that may be written but not read, records
    that are deleted sooner than a restart needs them, alerts that the topic would not take.

    Raises Incompatible, NotPermitted or Unavailable, each with what to change.
    """
    source = _source_topic(settings)
    wanted = [settings.sink.alerts_topic, settings.sink.dead_letter_topic, settings.snapshot.topic]
    with closing(connect(settings.kafka, KafkaAdminClient)) as admin, named("looking at the topics"):
        found = describe(admin, [source, *wanted])
        if not found[source].exists:
            raise _absent("source.topic", found[source], resembling(admin, source))
        if settings.sink.create_topics and not all(found[name].exists for name in wanted):
            makes = wanted_topics(settings, found[source].partitions)
            missing = {name: makes[name] for name in wanted if not found[name].exists}
            _create(admin, missing, settings.sink.replication_factor)
            found = describe_created(admin, [source, *wanted])
    for key, name in zip(("sink.alerts_topic", "sink.dead_letter_topic", "snapshot.topic"), wanted, strict=True):
        if not found[name].exists:
            raise _absent(key, found[name])
    _refuse(settings, found)
    doubts = clock_doubt(found[source], settings.stream.ahead_limit_seconds), compaction_doubt(found[source])
    return [*filter(None, doubts)]


def _refuse(settings: Settings, found: Mapping[str, Topic]) -> None:
    for _, name, needed in uses(settings):
        if lacks := lacking(found[name], needed):
            raise NotPermitted(f"topic {name!r}: grant {' and '.join(lacks)}")
    source, snapshot = found[_source_topic(settings)], found[settings.snapshot.topic]
    faults = (
        snapshot_fault(snapshot, source),
        retention_fault(source, settings.snapshot.seconds),
        size_fault(found[settings.sink.alerts_topic], settings.limits.alert_bytes, "limits.alert_bytes"),
        size_fault(snapshot, SNAPSHOT_BYTES, "a part of a snapshot"),
    )
    for fault in filter(None, faults):
        raise Incompatible(fault)


def uses(settings: Settings) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield for each topic its configuration key, its name, and the operations that this user must be allowed to do."""
    if settings.source.kind == "kafka" and settings.source.topic is not None:
        yield "source.topic", settings.source.topic, ("READ",)
    if settings.sink.kind == "kafka":
        yield "sink.alerts_topic", settings.sink.alerts_topic, ("WRITE",)
        yield "sink.dead_letter_topic", settings.sink.dead_letter_topic, ("WRITE",)
        yield "snapshot.topic", settings.snapshot.topic, ("READ", "WRITE")


def lacking(topic: Topic, needed: Iterable[str]) -> list[str]:
    """Return the operations that this user needs and may not do; none where the broker does not report them."""
    return [] if topic.operations is None else [operation for operation in needed if operation not in topic.operations]


def retention_fault(source: Topic, snapshot_seconds: float) -> str | None:
    """Return why a restart would not find the records that it replays, or None. Records are needed for
    `snapshot_seconds` after they were read."""
    if "delete" not in source.config.get("cleanup.policy", "delete"):
        return None
    seconds = int(source.config.get("retention.ms", -1)) / 1000
    if seconds < 0 or seconds > snapshot_seconds:
        return None
    return (
        f"source.topic {source.name!r} keeps records for {seconds:g} s (retention.ms), but a restart reads back "
        f"{snapshot_seconds:g} s plus the outage: lengthen it, or shorten snapshot.seconds"
    )


def ahead_seconds(source: Topic) -> float | None:
    """Return how many seconds a record's timestamp may be ahead of the broker's clock: 0.0 where the broker sets it,
    infinity where nothing limits it, None where the broker does not report who sets it.

    Brokers before 3.6 have one bound for past and future alike, and those from 4.0 on only the newer one.
    """
    kind = source.config.get("message.timestamp.type")
    if kind is None or kind == "LogAppendTime":
        return None if kind is None else 0.0
    bounds = [source.config[name] for name in TIMESTAMP_BOUNDS if source.config.get(name) is not None]
    least = min(map(int, bounds), default=UNBOUNDED)
    return math.inf if least >= UNBOUNDED else least / 1000


def clock_doubt(source: Topic, ahead_limit_seconds: float) -> str | None:
    """Return why `stream.ahead_limit_seconds` does not hold what it promises, or None. The limit is compared with the
    append time, which under CreateTime comes from the producer's own clock."""
    ahead = ahead_seconds(source)
    if ahead is None or ahead <= ahead_limit_seconds:
        return None
    how_far = "by any amount" if ahead == math.inf else f"by up to {ahead:g} s"
    return (
        f"source.topic {source.name!r} takes a producer's clock that is ahead {how_far} (message.timestamp.type "
        f"CreateTime): stream.ahead_limit_seconds ({ahead_limit_seconds:g}) is compared with that clock, and one "
        f"record from a far future would move the event time of its whole partition. Set {TIMESTAMP_BOUNDS[0]} "
        f"to {int(ahead_limit_seconds * 1000)} or less (before Kafka 3.6 {TIMESTAMP_BOUNDS[1]}), or "
        "message.timestamp.type to LogAppendTime"
    )


def compaction_doubt(source: Topic) -> str | None:
    """Return why records of this input may be gone before they are read, without being counted as lost; or None."""
    if not source.config or "compact" not in source.config.get("cleanup.policy", ""):
        return None
    return (
        f"source.topic {source.name!r} is compacted: only the newest record of each key is kept, so what is read "
        "late, or from the beginning, has gaps that are not counted. Set its cleanup.policy to delete"
    )


def size_fault(topic: Topic, largest: int, what: str) -> str | None:
    """Return why this topic would not take records of `largest` bytes, or None. `what` describes these records."""
    taken = topic.config.get("max.message.bytes")
    if taken is None or int(taken) >= largest:
        return None
    return f"topic {topic.name!r} takes {taken} bytes (max.message.bytes), {what} is up to {largest}: raise it"


def snapshot_fault(snapshot: Topic, source: Topic) -> str | None:
    """Return why this topic cannot hold the snapshots of that input, or None."""
    if snapshot.partitions != source.partitions:
        return (
            f"snapshot.topic {snapshot.name!r} has {snapshot.partitions} partitions, source.topic {source.name!r} has "
            f"{source.partitions}: partition p of the one belongs to partition p of the other. Name a topic with "
            f"{source.partitions}; if the input has grown, its keys have moved, and a new kafka.group_id is needed too"
        )
    if not snapshot.compacted:
        return (
            f"snapshot.topic {snapshot.name!r} is not compacted: retention would delete state that is still needed. "
            "Set its cleanup.policy to compact"
        )
    if snapshot.deletes:
        return (
            f"snapshot.topic {snapshot.name!r} deletes old records too (cleanup.policy "
            f"{snapshot.config['cleanup.policy']}): the state of streams that are idle for so long would be "
            "deleted. Set its cleanup.policy to compact alone"
        )
    return None


def _source_topic(settings: Settings) -> str:
    if settings.source.topic is None:
        raise ConfigurationError("source.topic is not set")
    return settings.source.topic


def resembling(admin: Any, name: str) -> str:
    """Return `; did you mean ...?` where this user may see a topic with a similar name, else an empty text."""
    near = difflib.get_close_matches(name, admin.list_topics(), n=1, cutoff=0.8)
    return f"; did you mean {near[0]!r}?" if near else ""


def _absent(key: str, topic: Topic, advice: str = "") -> Incompatible | NotPermitted:
    if not topic.visible:
        return NotPermitted(f"{key} {topic.name!r}: this user may not describe it: grant DESCRIBE")
    ours = "" if key == "source.topic" else ", or set sink.create_topics"
    return Incompatible(f"{key} {topic.name!r} does not exist: create it{ours}{advice}")


def _create(admin: Any, missing: Mapping[str, tuple[int, dict[str, str]]], replication: int) -> None:
    topics = [NewTopic(name, count, replication, topic_configs=config) for name, (count, config) in missing.items()]
    for topic in topics:
        with named(f"creating topic {topic.name!r}"), suppress(TopicAlreadyExistsError):  # another process made it
            admin.create_topics([topic])
    admin.wait_for_topics(list(missing))

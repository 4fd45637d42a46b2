"""The checks of `validate --online`: whether the brokers confirm the configuration, or what to change.

Nothing here disturbs a running daemon: the checks do not join its group, and open no transactions under its id.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple

from kafka import KafkaAdminClient
from kafka.errors import AuthorizationError, KafkaError, TransactionalIdNotFoundError

from anomaly_daemon.errors import DaemonError, ExitCode
from anomaly_daemon.settings import Settings
from anomaly_daemon.transport.kafka.connection import connect, transactional_id
from anomaly_daemon.transport.kafka.topics import (
    Topic,
    ahead_seconds,
    clock_doubt,
    compaction_doubt,
    describe,
    lacking,
    resembling,
    retention_fault,
    size_fault,
    snapshot_fault,
    uses,
)

DEAD_LETTER_HEADERS_BYTES = 4096
"""Bytes reserved for the headers with reason and origin that a dead letter has besides the original record."""
DENIED = ExitCode.NOT_PERMITTED
COORDINATOR_SECONDS = 15.0
PAUSE_SECONDS = 0.2


class Finding(NamedTuple):
    """The result of one check."""

    what: str
    ok: bool
    detail: str
    """What was found. Where `ok` is false, what to change."""
    code: ExitCode = ExitCode.CONFIGURATION
    """Used where `ok` is false: the exit code that a start of `run` would end with."""
    doubtful: bool = False
    """Used where `ok` is true: the setting may be right, but a person should look at it."""


def check_online(settings: Settings, logs: Mapping[str, str] | None = None) -> list[Finding]:
    """Return a finding for everything that can be checked without disturbing other users of the brokers. An error of
    the connection or of a request ends the checks, and is then the only finding. `logs`: by their configuration keys,
    the topics that a start reads from beginning to end, each of which must have one partition."""
    if "kafka" not in (settings.source.kind, settings.sink.kind):
        return [Finding("broker", True, "not used by this configuration")]
    try:
        with closing(connect(settings.kafka, KafkaAdminClient)) as admin:
            return [
                Finding("broker", True, f"reached {settings.kafka.bootstrap_servers}"),
                *_look(admin, settings, logs or {}),
            ]
    except (DaemonError, KafkaError) as error:
        code = error.exit_code if isinstance(error, DaemonError) else ExitCode.UNAVAILABLE
        return [Finding("broker", False, str(error), code)]


def _look(admin: Any, settings: Settings, logs: Mapping[str, str]) -> Iterator[Finding]:
    names = [name for _, name, _ in uses(settings)]
    found = describe(admin, [*names, *logs.values()])
    for key, name, needed in uses(settings):
        yield from _topic(admin, key, found[name], needed, settings)
    for key, name in logs.items():
        yield from _log(admin, key, found[name], settings)
    yield from _unseen([found[name] for name in dict.fromkeys(names)])
    if settings.source.kind == "kafka" and settings.source.topic is not None:
        source = found[settings.source.topic]
        yield from _retention(source, settings.snapshot.seconds)
        yield from _clock(source, settings.stream.ahead_limit_seconds)
        if settings.sink.kind == "kafka":
            yield from _snapshots(found[settings.snapshot.topic], source)
            yield from _sizes(found[settings.sink.dead_letter_topic], source)
        yield _group(admin, settings.kafka.group_id)
    if settings.sink.kind == "kafka":
        yield from _alert_size(found[settings.sink.alerts_topic], settings.limits.alert_bytes)
        if settings.sink.delivery == "exactly_once":
            yield _transactions(admin, settings)


def _topic(admin: Any, key: str, topic: Topic, needed: tuple[str, ...], settings: Settings) -> Iterator[Finding]:
    what = f"{key} {topic.name}"
    if not topic.visible:
        yield Finding(what, False, f"this user may not describe it: grant DESCRIBE and {' and '.join(needed)}", DENIED)
        return
    if not topic.exists:
        created = settings.sink.create_topics and key != "source.topic"
        ours = "" if key == "source.topic" else ", or set sink.create_topics"
        advice = "will be created at start" if created else f"does not exist: create it{ours}"
        yield Finding(what, created, advice + ("" if created else resembling(admin, topic.name)))
        return
    yield Finding(what, True, f"{topic.partitions} partition{'' if topic.partitions == 1 else 's'}")
    if topic.operations is not None:
        lacks = lacking(topic, needed)
        detail = f"grant {' and '.join(lacks)}" if lacks else f"may {' and '.join(needed)}".lower()
        yield Finding(f"permission on {topic.name}", not lacks, detail, DENIED)


def _log(admin: Any, key: str, topic: Topic, settings: Settings) -> Iterator[Finding]:
    if topic.exists and topic.partitions != 1:
        detail = f"has {topic.partitions} partitions: create it with one, as its messages must be in one order"
        yield Finding(f"{key} {topic.name}", False, detail)
    else:
        yield from _topic(admin, key, topic, ("READ",), settings)


def _unseen(topics: Sequence[Topic]) -> Iterator[Finding]:
    """Report topics whose settings this user may not see. The start does not refuse them either: it assumes that
    settings it may not see are right."""
    unseen = [topic.name for topic in topics if topic.exists and not topic.config]
    if unseen:
        detail = "retention, cleanup policy and sizes are not known: grant DESCRIBE_CONFIGS, or check them yourself"
        yield Finding(f"settings of {', '.join(unseen)}", True, detail, doubtful=True)


def size_doubt(source: Topic, snapshot_seconds: float) -> str | None:
    """Return why the input may lose records for the size of a partition before a restart has read them, or None. It is not
    known here how long so many bytes last, so this is no fault, and a start does not report it."""
    most = int(source.config.get("retention.bytes", -1))
    if most < 0 or "delete" not in source.config.get("cleanup.policy", "delete"):
        return None
    return (
        f"a partition keeps {most} bytes, however young (retention.bytes): see that it does not fill them within "
        f"{snapshot_seconds:g} s and your longest outage, or raise it, or set it to -1"
    )


def _retention(source: Topic, snapshot_seconds: float) -> Iterator[Finding]:
    if doubt := size_doubt(source, snapshot_seconds):
        yield Finding(f"size of {source.name}", True, doubt, doubtful=True)
    text = source.config.get("retention.ms")
    if text is None:
        return
    fault = retention_fault(source, snapshot_seconds)
    kept = "unlimited" if int(text) < 0 else f"{int(text) / 1000:g} s"
    yield Finding(
        f"retention of {source.name}",
        fault is None,
        fault or f"{kept}, with {snapshot_seconds:g} s between snapshots",
    )


def _clock(source: Topic, ahead_limit_seconds: float) -> Iterator[Finding]:
    ahead = ahead_seconds(source)
    if ahead is not None:
        doubt = clock_doubt(source, ahead_limit_seconds)
        detail = doubt or f"timestamps may be at most {ahead:g} s ahead of the broker's clock"
        yield Finding(f"clock of {source.name}", True, detail, doubtful=doubt is not None)
    if doubt := compaction_doubt(source):
        yield Finding(f"records of {source.name}", True, doubt, doubtful=True)


def _snapshots(snapshot: Topic, source: Topic) -> Iterator[Finding]:
    if snapshot.exists and source.exists:
        fault = snapshot_fault(snapshot, source)
        found = ("compacted, " if snapshot.config else "") + "with as many partitions as the input"
        yield Finding(f"snapshots in {snapshot.name}", fault is None, fault or found)


def _sizes(dead_letters: Topic, source: Topic) -> Iterator[Finding]:
    taken, given = (topic.config.get("max.message.bytes") for topic in (dead_letters, source))
    if taken is None or given is None:
        return
    needed = int(given) + DEAD_LETTER_HEADERS_BYTES
    detail = f"{taken} bytes" if int(taken) >= needed else f"set its max.message.bytes to {needed} or more (is {taken})"
    yield Finding(f"largest record of {dead_letters.name}", int(taken) >= needed, detail)


def _alert_size(alerts: Topic, largest: int) -> Iterator[Finding]:
    taken = alerts.config.get("max.message.bytes")
    if taken is not None:
        fault = size_fault(alerts, largest, "limits.alert_bytes")
        yield Finding(f"largest record of {alerts.name}", fault is None, fault or f"{taken} bytes")


def _group(admin: Any, group: str) -> Finding:
    what = f"permission on group {group}"
    try:
        described = _patiently(lambda: admin.describe_groups([group]))[group]
    except KafkaError as error:
        return Finding(what, False, f"grant READ ({error})", DENIED)
    operations = described.get("authorized_operations")
    if "Authorization" in (described.get("error") or ""):
        return Finding(what, False, "grant READ", DENIED)
    if not operations:  # a group that had no member yet carries no list
        return Finding(what, True, "may be described; whether this user may join it is known only at start")
    return Finding(what, "READ" in operations, "may read" if "READ" in operations else "grant READ", DENIED)


def _patiently(ask: Callable[[], Any]) -> Any:
    """Return the answer to `ask`, which is repeated for up to `COORDINATOR_SECONDS`: a new cluster creates its group
    and transaction logs at the first request, and answers only once they exist. Raises the KafkaError of the last
    attempt."""
    deadline = time.monotonic() + COORDINATOR_SECONDS
    while True:
        try:
            return ask()
        except KafkaError as error:
            if not error.retriable or time.monotonic() > deadline:
                raise
            time.sleep(PAUSE_SECONDS)


def _transactions(admin: Any, settings: Settings) -> Finding:
    name = transactional_id(settings.kafka, "")
    what = f"permission on transactional id {name}" + ("" if settings.kafka.group_instance_id else "...")
    try:
        _patiently(lambda: admin.describe_transactions([name]))
    except AuthorizationError:
        return Finding(what, False, f"grant WRITE on transactional ids that begin with {name}", DENIED)
    except TransactionalIdNotFoundError:
        return Finding(what, True, "may be used")
    except KafkaError as error:
        return Finding(what, False, str(error), ExitCode.UNAVAILABLE)
    return Finding(what, True, "may be used; it is in use")

"""Announces on a Kafka topic that an alias of the registry has moved. Daemons that read the topic then check the
registry at once, and not only at their next periodic check."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from anomaly_daemon.errors import DaemonError

if TYPE_CHECKING:
    from anomaly_daemon.registry.registry import Move
    from anomaly_daemon.settings import Settings

COMPACT = {"cleanup.policy": "compact"}


def announce(settings: Settings, moves: dict[str, Move]) -> None:
    """Publish `moves` (by alias) to `retraining.announcements_topic`, one record each; without that topic do nothing.
    The registry already holds the moves, so a broker that is unavailable is only reported on standard error."""
    topic = settings.retraining.announcements_topic
    if topic is None:
        return
    from anomaly_daemon.transport.kafka.publish import create_topic, publish
    from anomaly_daemon.transport.ports import Outgoing

    messages = {alias: json.dumps({"alias": alias, **asdict(move)}).encode() for alias, move in moves.items()}
    try:
        create_topic(settings.kafka, topic, 1, COMPACT, settings.sink.replication_factor)
        publish(settings.kafka, topic, [Outgoing(alias.encode(), value) for alias, value in messages.items()])
    except DaemonError as error:
        print(
            "anomaly-daemon: the change could not be announced, daemons find it at their next check "
            f"(model.watch_seconds): {error}",
            file=sys.stderr,
        )

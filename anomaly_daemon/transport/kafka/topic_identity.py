"""Notices that a topic was deleted and created again under its name while it is read (KIP-516).

kafka-python 3.0.12 asks for the records of the new topic at the position that it has in the old one. Where the new
topic reaches that far, nothing else shows that its first records were skipped.
"""

from __future__ import annotations

from typing import Any

from anomaly_daemon.errors import Incompatible


class TopicIdentity:
    """The id of the topic that a consumer reads. An id that a broker does not give (before Kafka 2.8) does not change."""

    def __init__(self, consumer: Any, topic: str) -> None:
        self._cluster, self._topic = consumer._cluster, topic
        self._id = self.now()

    def now(self) -> str:
        """Return the id by the newest metadata; "" where it is not known, or there is no such topic."""
        return str(self._cluster.topic_id(self._topic) or "")

    def changed(self) -> bool:
        """Return whether another topic has the name since the last call."""
        before, now = self._id, self.now()
        self._id = now or before
        return bool(before) and self._id != before

    def refuse_change(self) -> None:
        """Raise Incompatible where another topic has the name since the last call."""
        if self.changed():
            raise Incompatible(
                f"topic {self._topic!r} was recreated since: its offsets are those of other records. Start with a new "
                "kafka.group_id and snapshot.topic"
            )

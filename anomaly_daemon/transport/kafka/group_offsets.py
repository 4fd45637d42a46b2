"""Commits a group's offsets from any thread, as the member that this process is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from kafka import KafkaAdminClient
from kafka import errors as kafka_errors
from kafka.errors import KafkaError
from kafka.protocol.consumer import OffsetCommitRequest

from anomaly_daemon.settings import KafkaSettings
from anomaly_daemon.transport.kafka.connection import connect
from anomaly_daemon.transport.kafka.failures import named, translate
from anomaly_daemon.transport.ports import Partition

REFUSED = (
    kafka_errors.IllegalGenerationError,
    kafka_errors.UnknownMemberIdError,
    kafka_errors.RebalanceInProgressError,
)
"""Refusals of a commit because the group has a new generation, or is about to have one: the member's generation may not
commit, or not now."""


class GroupOffsets:
    """Commits offsets with a client of its own.

    `KafkaConsumer.commit` raises where it is needed most: in a rebalance listener, which runs on the consumer's own IO
    thread, when partitions are handed over. The request is the one that the consumer would send. The group checks the
    generation and the member id in it.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        """The client connects at the first commit."""
        self._kafka = kafka
        self._admin: Any = None

    def commit(self, positions: Mapping[Partition, int], member: Any) -> type[KafkaError] | None:
        """Commit `positions` as `member`, a ConsumerGroupMetadata of kafka-python. Returns the error from `REFUSED`
        that the group answers, or None when the offsets are committed.

        Raises Fenced, NotPermitted or Unavailable. After Unavailable the offsets may be committed all the same.
        """
        with named("committing offsets"):
            if self._admin is None:
                self._admin = connect(self._kafka, KafkaAdminClient)
            try:
                response = self._admin._manager.run(self._send, self._request(positions, member))
            except BaseException:
                self.close()  # what the client has stored of the group's coordinator may be wrong
                raise
        return self._refusal(response)

    def _request(self, positions: Mapping[Partition, int], member: Any) -> Any:
        of_topic, of_partition = (
            OffsetCommitRequest.OffsetCommitRequestTopic,
            OffsetCommitRequest.OffsetCommitRequestTopic.OffsetCommitRequestPartition,
        )
        topics = defaultdict(list)
        for (topic, number), offset in positions.items():
            topics[topic].append(
                of_partition(
                    partition_index=number, committed_offset=offset, committed_leader_epoch=-1, committed_metadata=""
                )
            )
        return OffsetCommitRequest(
            max_version=8,
            group_id=self._kafka.group_id,
            generation_id_or_member_epoch=member.generation_id,
            member_id=member.member_id,
            group_instance_id=member.group_instance_id,
            topics=[of_topic(name=name, partitions=partitions) for name, partitions in topics.items()],
        )

    async def _send(self, request: Any) -> Any:
        node = await self._admin._find_coordinator_id(self._kafka.group_id)
        return await self._admin._manager.send(request, node_id=node)

    def _refusal(self, response: Any) -> type[KafkaError] | None:
        errors = [kafka_errors.for_code(one.error_code) for topic in response.topics for one in topic.partitions]
        failed: list[type[KafkaError]] = [error for error in errors if error is not kafka_errors.NoError]
        if not failed:
            return None
        if failed[0] in REFUSED:
            return failed[0]
        self.close()
        raise translate(failed[0](), "committing offsets")

    def close(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            try:
                admin.close()
            except KafkaError:  # the client is not needed any more
                return

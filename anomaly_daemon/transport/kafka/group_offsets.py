"""Committing a group's offsets from any thread, as the member that we are."""

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
"""The group has moved on, or is about to: our generation is not, or not now, the one that may commit."""


class GroupOffsets:
    """Commits with a client of its own.

    `KafkaConsumer.commit` raises where it is needed most: in a rebalance listener, which runs on the consumer's own IO
    thread, when partitions are handed over. The request is the consumer's; the group checks generation and member in it.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        """Connects at the first commit."""
        self._kafka = kafka
        self._admin: Any = None

    def commit(self, positions: Mapping[Partition, int], member: Any) -> type[KafkaError] | None:
        """`member` is kafka-python's ConsumerGroupMetadata. Which of `REFUSED` the group says, or None when it is done.

        Raises Fenced, NotPermitted or Unavailable; after Unavailable it may have been done all the same.
        """
        with named("committing offsets"):
            if self._admin is None:
                self._admin = connect(self._kafka, KafkaAdminClient)
            try:
                response = self._admin._manager.run(self._send, self._request(positions, member))
            except BaseException:
                self.close()  # whatever it knew of the group's coordinator may be wrong
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
            except KafkaError:  # it was of no use any more
                return

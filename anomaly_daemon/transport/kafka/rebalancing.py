"""Keeps fetching while a rebalance is under way, as Kafka's own client does and kafka-python (3.0.12) does not.

The client's `poll` returns nothing until the group has answered this member's join. The group answers when every member
has joined or was put out, so a member that hangs stops all others for its whole session timeout. Under the cooperative
protocol that is not necessary: a partition stays assigned to this member until a listener is told of its revocation. So
here `poll` waits for the join only briefly, and then fetches for the partitions that are assigned.

The join then continues between two polls, which exposes another fault: the client discards an answer that arrives while
no thread waits for it, and joins the group once more. Where this member is the leader, that makes all members join
again. So the answer is held back until a poll waits for it, if only for an instant. Both the waiting and the answer run
on the client's IO thread, so there is no race between them.
"""

from __future__ import annotations

from typing import Any

from kafka.future import Future
from kafka.structs import MemberState

JOIN_SECONDS = 0.05
"""Seconds that one wait for a join takes away from fetching."""


def keep_fetching(consumer: Any) -> None:
    """Change this consumer to return records of its partitions whatever the state of the group."""
    coordinator = consumer._coordinator
    poll = coordinator.poll

    def poll_shortly(timeout_ms: float | None = None) -> bool:
        if not consumer.assignment():
            return bool(poll(timeout_ms=timeout_ms))
        shortly = JOIN_SECONDS * 1000
        poll(timeout_ms=shortly if timeout_ms is None else min(timeout_ms, shortly))
        return True

    coordinator.poll = poll_shortly
    _hold_answers(coordinator)


def resume_forgotten_join(consumer: Any) -> None:
    """Request a join again that the client forgot: one that ended between two polls and had only new topic metadata as
    its cause. The client then stays `rebalancing` without heartbeats, and the group puts this member out after the
    session timeout. A join still under way is merely awaited."""
    coordinator = consumer._coordinator
    if consumer.group_metadata().state == MemberState.REBALANCING and not coordinator.need_rejoin():
        coordinator.request_rejoin()


def _hold_answers(coordinator: Any) -> None:
    manager = coordinator._manager
    wait_for, join = manager.wait_for, coordinator._do_join_and_sync_async
    waiting = False
    held: Future | None = None

    async def wait_for_join(future: Any, timeout_ms: float | None) -> Any:
        nonlocal waiting, held
        if future is not coordinator._join_task:
            return await wait_for(future, timeout_ms)
        if held is not None:  # succeeds in any poll, however short: it takes one turn of the IO thread, and no broker
            answer, held = held, None
            answer.success(None)
            return await future
        waiting = True
        try:
            return await wait_for(future, timeout_ms)
        finally:
            waiting = False

    async def join_and_hold() -> Any:
        nonlocal held
        held = None
        assignment = await join()
        if not waiting:
            held = Future()
            await held
        return assignment

    manager.wait_for, coordinator._do_join_and_sync_async = wait_for_join, join_and_hold

"""Records while a rebalance is under way: what kafka-python (3.0.12) keeps back, and Kafka's own client does not.

Its `poll` returns nothing until the group has answered our join. The group answers when every member has joined, or is
put out: a member that hangs stops all the others for its whole session. Under the cooperative protocol that is not
needed: what is assigned to us stays ours until a listener has been told of its revocation. So here `poll` waits for the
join only shortly, and then fetches for what we have.

The join goes on between two polls then, which uncovers another thing: an answer that comes while nobody waits for it is
thrown away, and the group is joined once more, for which a leader makes everyone join. So the answer is held back until
somebody looks for it, if only for an instant. Both run on the client's IO thread, so there is no race between them.
"""

from __future__ import annotations

from typing import Any

from kafka.future import Future

JOIN_SECONDS = 0.05
"""How long one look at a join takes away from fetching."""


def keep_fetching(consumer: Any) -> None:
    """Change this consumer to give out records of its partitions whatever the group is at."""
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


def _hold_answers(coordinator: Any) -> None:
    manager = coordinator._manager
    wait_for, join = manager.wait_for, coordinator._do_join_and_sync_async
    waiting = False
    held: Future | None = None

    async def wait_for_join(future: Any, timeout_ms: float | None) -> Any:
        nonlocal waiting, held
        if future is not coordinator._join_task:
            return await wait_for(future, timeout_ms)
        if held is not None:  # however short the poll: it takes one turn of the IO thread, and no broker
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

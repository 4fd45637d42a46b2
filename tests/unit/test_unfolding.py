"""The records of a commit's snapshots are made while earlier ones are being sent, and are the same at every attempt."""

from __future__ import annotations

from collections.abc import Iterator

from crashing import POLICIES, Weather, filled, life

from anomaly_daemon.daemon.unfolding import Unfolding
from anomaly_daemon.errors import Unavailable
from anomaly_daemon.transport.ports import Commit, Outgoing

RECORDS = [Outgoing(b"%d" % place, b"value") for place in range(4)]


def test_a_record_is_made_when_it_is_asked_for_and_once() -> None:
    made: list[Outgoing] = []

    def making() -> Iterator[Outgoing]:
        for record in RECORDS:
            made.append(record)
            yield record

    unfolding = Unfolding(making())
    assert made == []
    first = iter(unfolding)
    assert [next(first), next(first)] == RECORDS[:2] == made
    assert list(unfolding) == RECORDS == made
    assert list(first) == RECORDS[2:]
    assert (len(unfolding), unfolding[1], unfolding[1:3]) == (4, RECORDS[1], RECORDS[1:3])
    assert list(unfolding) == RECORDS == made


def test_of_a_commit_that_has_to_be_tried_again_every_record_is_made_at_once() -> None:
    """They are made before the loop turns again, because the state from which they are made may have changed by then."""
    sent: list[list[bytes]] = []
    one = life(filled(), policies=POLICIES)
    away = Weather([Unavailable("no broker")] * 2).over(one)
    turned, delivered = one.worker._committer._between, one.worker._ports.delivery.deliver

    def between() -> None:
        sent.append([record.key or b"" for records in attempts[-1].snapshots.values() for record in records._made])  # type: ignore[attr-defined]
        turned()

    def deliver(commit: Commit) -> None:
        attempts.append(commit)
        delivered(commit)

    attempts: list[Commit] = []
    one.worker._committer._between = between
    one.worker._ports.delivery.deliver = deliver  # type: ignore[method-assign]
    one.worker.run()
    assert away.worker.metrics.value("commits_total", outcome="unavailable") == 2
    assert len(sent) == 2
    assert sent[0] == sent[1] == [record.key for records in attempts[0].snapshots.values() for record in records]
    assert b"ledger" in sent[0]

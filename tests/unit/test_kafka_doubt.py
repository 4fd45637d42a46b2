"""Who has taken a producer's transactional id when it is fenced: another instance, or the coordinator after a timeout."""

from __future__ import annotations

import pytest

from anomaly_daemon.transport.kafka.doubt import replaced

BEGUN = (7, 3)


@pytest.mark.parametrize("state", ["PrepareEpochFence", "PrepareAbort", "CompleteAbort"])
def test_a_transaction_is_ended_for_its_age_under_our_next_epoch(state: str) -> None:
    assert not replaced(BEGUN, BEGUN, (7, 4), state)


def test_a_producer_that_took_another_epoch_by_itself_is_still_ours() -> None:
    assert not replaced(BEGUN, (7, 5), (7, 5), "Empty")


@pytest.mark.parametrize(
    ("now", "state"),
    [
        ((7, 5), "Empty"),  # it aborted the transaction under the next epoch, and began its own under the one after
        ((7, 4), "Empty"),  # there was no transaction to abort
        ((7, 4), "Ongoing"),
        ((7, 5), "CompleteAbort"),
        ((8, 0), "CompleteAbort"),  # the epochs were used up
    ],
)
def test_everything_else_is_another_instance(now: tuple[int, int], state: str) -> None:
    assert replaced(BEGUN, BEGUN, now, state)

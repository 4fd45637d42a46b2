"""The order in which the events of a batch are taken."""

from __future__ import annotations

import numpy as np
import pytest

from anomaly_daemon.detection.order import rounds


@pytest.mark.parametrize("together", [1, 3, 512])
def test_a_round_has_few_streams_and_each_once_and_their_events_keep_their_order(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anomaly_daemon.detection.order.TOGETHER", together)
    row_N = np.random.default_rng(0).integers(0, 9, 200)
    fresh_N = np.random.default_rng(1).random(200) < 0.9
    found = rounds(row_N, fresh_N)
    for at_B in found:
        assert 0 < len(at_B) <= together
        assert len(set(row_N[at_B].tolist())) == len(at_B)
    assert sorted(np.concatenate(found).tolist()) == np.flatnonzero(fresh_N).tolist()
    for row in range(9):
        taken = [place for at_B in found for place in at_B.tolist() if row_N[place] == row]
        assert taken == sorted(taken)


def test_a_batch_of_which_nothing_is_new_has_no_round() -> None:
    assert rounds(np.zeros(3, np.int64), np.zeros(3, bool)) == []

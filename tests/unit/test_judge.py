"""The gate counts the beginnings of runs among a model's p-values, because a p-value is the probability that a
run begins."""

from __future__ import annotations

import numpy as np

from anomaly_daemon.detection.calibration import RUN_EVENTS
from anomaly_daemon.training.dataset import Cuts
from anomaly_daemon.training.judge import _later, _Run
from anomaly_daemon.training.rows import Row, channels


def counted(*batches: tuple[list[int], list[bool]]) -> int:
    """Return the number of runs that are counted for two streams, batch by batch."""
    run = _Run(0, {}, {})
    for streams, rare in batches:
        run._count(("a", "b"), np.array(streams, np.int32), np.array(rare))
    return run.rare


def test_rare_events_close_to_each_other_are_one_run() -> None:
    assert counted(([0] * 6, [True, True, False, True, False, False])) == 1


def test_after_many_ordinary_events_another_run_begins() -> None:
    between = int(RUN_EVENTS)
    assert counted(([0] * (between + 2), [True, *[False] * between, True])) == 2
    assert counted(([0] * (between + 1), [True, *[False] * (between - 1), True])) == 1


def test_a_run_goes_on_from_batch_to_batch_and_is_its_streams_own() -> None:
    assert counted(([0, 0], [False, True]), ([0, 0], [True, False])) == 1
    assert counted(([0, 1, 0, 1], [True, True, True, True]), ([1], [True])) == 2


def row(key: str, mask_TD: list[list[int]]) -> Row:
    """Of events a microsecond apart, of which the first two are before the later part."""
    mask, T = np.array(mask_TD, np.float32), len(mask_TD)
    return Row(key, np.arange(T), np.zeros_like(mask), mask, np.zeros((T, 0), np.float32), np.zeros((T, 0), np.int64))


def test_a_group_has_the_later_events_of_its_streams_whatever_number_of_fields_is_known_of_each() -> None:
    cuts, one = Cuts(1, 2), row("a", [[1, 1], [1, 1], [1, 1], [1, 0], [0, 1], [0, 0]])
    assert _later([one], cuts) == 3
    assert _later(channels(one), cuts) == 3
    assert _later([one, row("b", [[1, 1]] * 3)], cuts) == 4

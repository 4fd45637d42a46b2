"""The time that a restore will still take."""

from __future__ import annotations

import math

from anomaly_daemon.daemon.progress import Progress, Replay


def test_nothing_is_known_before_anything_was_replayed() -> None:
    assert math.isnan(Replay().at(100, 10.0).seconds_left)
    assert math.isnan(Replay().at(100, 10.0).at(100, 20.0).seconds_left)


def test_what_is_left_takes_as_long_as_what_was_done_took() -> None:
    assert Replay().at(100, 10.0).at(75, 12.0).seconds_left == 6.0
    assert Replay().at(100, 10.0).at(75, 14.0).seconds_left == 12.0
    assert Replay().at(200, 10.0).at(175, 12.0).seconds_left == 14.0


def test_a_partition_that_joins_the_replay_adds_to_what_is_left_and_not_to_what_is_done() -> None:
    replay = Replay().at(100, 10.0).at(50, 15.0).at(250, 15.0)
    assert (replay.done, replay.seconds_left) == (50, 25.0)


def test_when_nothing_is_left_it_is_done() -> None:
    assert Replay().at(100, 10.0).at(0, 15.0).seconds_left == 0.0


def test_a_member_is_ready_once_it_has_joined_and_nothing_is_restored() -> None:
    assert not Progress().ready
    assert not Progress(joined=True, restoring=1).ready
    assert Progress(joined=True).ready

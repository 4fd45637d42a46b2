"""The progress of a training, and the time that each of its phases will still take."""

from __future__ import annotations

import math
from argparse import Namespace
from pathlib import Path

from training_samples import observations, series, write_recording

from anomaly_daemon.commands import train
from anomaly_daemon.configuration import load
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.training.build import build
from anomaly_daemon.training.loop import Course
from anomaly_daemon.training.retrain import retrain
from anomaly_daemon.training.under_way import Begun, UnderWay

Said = tuple[str, float, float, str]


def said_of(told: list[tuple[float, str, float]], every: float = 30.0) -> list[Said]:
    said: list[Said] = []
    now = [0.0]
    one = UnderWay(lambda *words: said.append(words), lambda: now[0], every)
    for at, phase, share in told:
        now[0] = at
        one(phase, share, "note")
    return said


def test_what_is_left_takes_as_long_as_what_was_done_took() -> None:
    assert Begun("training", 100.0, 0.0).seconds_left(110.0, 0.25) == 30.0
    assert Begun("training", 100.0, 0.5).seconds_left(110.0, 0.75) == 10.0  # resumed in the middle
    assert Begun("training", 100.0, 0.0).seconds_left(110.0, 1.0) == 0.0


def test_before_anything_was_done_and_where_nobody_knows_how_much_there_is_the_time_left_is_not_known() -> None:
    assert math.isnan(Begun("reading", 100.0, 0.0).seconds_left(110.0, 0.0))
    assert math.isnan(Begun("reading", 100.0, math.nan).seconds_left(110.0, math.nan))


def test_a_phase_is_told_of_when_it_begins_and_then_every_so_often() -> None:
    said = said_of([(0.0, "a", 0.0), (10.0, "a", 0.1), (31.0, "a", 0.5), (40.0, "b", 0.0), (50.0, "b", 0.9)])
    assert [(phase, share) for phase, share, *_ in said] == [("a", 0.0), ("a", 0.5), ("b", 0.0)]
    assert said[1][2] == 31.0


def test_a_retraining_tells_of_its_training_calibration_and_gate_in_turn_and_never_goes_back(tmp_path: Path) -> None:
    settings = load(write_recording(tmp_path), [])
    recorded = [observations([series(f"s{place}", 600, seed=place) for place in range(12)])]
    champion = build(settings, recorded, name="m")
    told: list[tuple[str, float]] = []
    course = Course(tell=lambda phase, share, note="": told.append((phase, share)))
    retrain(settings, champion, recorded, {}, Rules(), course)
    assert list(dict.fromkeys(phase for phase, _ in told)) == ["training", "calibration", "gate"]
    for phase in ("training", "calibration", "gate"):
        shares = [share for name, share in told if name == phase]
        assert shares == sorted(shares)
        assert 0.0 <= shares[0] < 0.1
        assert 0.5 <= shares[-1] <= 1.0


def test_of_files_nobody_knows_how_much_there_is_to_read(tmp_path: Path) -> None:
    told: list[tuple[str, float, str]] = []
    args = Namespace(input=None, from_topic=False, start=None, end=None)
    settings = load(write_recording(tmp_path), [])
    batches = train.recorded(settings, args, lambda phase, share, note="": told.append((phase, share, note)))
    events = sum(map(len, batches))
    assert {phase for phase, *_ in told} == {"reading"}
    assert all(math.isnan(share) for _, share, _ in told)
    assert told[-1][2] == f"{events:,} records"

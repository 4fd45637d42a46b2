"""Alarms: compared with labelled events, by SKAB's protocol, and within a budget for detectors that give only scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled import labels, wave

from benchmarks.quality.budget import CLOSE_AFTER, GRACE, alarms, episodes, threshold
from benchmarks.quality.scoring.events import match, together
from benchmarks.quality.scoring.skab import best_threshold, past_training, skab_scores


def at(events: int, *places: int) -> np.ndarray:
    return labels(events, *((place, place) for place in places))


def test_an_event_is_found_by_the_first_alarm_inside_it() -> None:
    found = match(labels(100, (20, 29), (50, 59)), at(100, 23, 27), interval=60)
    assert (found.found, found.delay, found.false_alarms) == (1, 3.0, 0)
    assert (found.precision, found.recall, found.f1) == (1.0, 0.5, pytest.approx(2 / 3))


def test_an_alarm_before_or_after_an_event_is_false() -> None:
    found = match(labels(100, (20, 29)), at(100, 19, 30), interval=60)
    assert (found.found, found.false_alarms, found.precision, found.f1) == (0, 2, 0.0, 0.0)


def test_the_rate_of_false_alarms_is_of_the_unlabelled_time() -> None:
    found = match(labels(96, (0, 47)), at(96, 10, 50, 70), interval=3600)
    assert found.unlabelled_days == 2.0
    assert found.alarms_per_day == 1.0


def test_what_was_never_raised_has_no_precision_and_no_delay() -> None:
    found = match(labels(10, (2, 3)), at(10), interval=1)
    assert np.isnan([found.precision, found.delay]).all()


def test_over_a_set_every_event_counts_the_same() -> None:
    one, other = match(labels(10, (2, 3)), at(10, 2), 1), match(labels(10, (2, 3), (6, 7)), at(10, 7, 9), 1)
    whole = together([one, other])
    assert (whole.labelled, whole.delays, whole.false_alarms) == (3, (0, 1), 1)


def test_skabs_protocol_counts_rows_over_all_files() -> None:
    scores = skab_scores("skab", [at(4, 0, 1), at(4)], [at(4, 1, 2), at(4)])
    assert scores == {"skab_f1": 0.5, "skab_far": pytest.approx(100 / 6), "skab_mar": 50.0}


def test_a_row_is_called_anomalous_above_all_that_the_settled_training_part_scored() -> None:
    assert past_training(np.array([9.0, 1.0, 2.0, 3.0, 3.0, 3.1]), 4).tolist() == [False, True]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=40))
def test_no_threshold_gives_a_higher_f1_than_the_best(rows: list[tuple[bool, int]]) -> None:
    label_N, score_N = (np.array(column) for column in zip(*rows, strict=True))

    def f1(level: float) -> float:
        return skab_scores("at", [label_N], [score_N >= level])["at_f1"]

    best = best_threshold([label_N[:20], label_N[20:]], [score_N[:20].astype(float), score_N[20:].astype(float)])
    assert f1(best) == max(f1(level) for level in range(7))


def test_an_episode_goes_on_over_a_short_calm_and_not_over_a_long_one() -> None:
    opened_N, open_N = episodes(at(20, 2, 2 + CLOSE_AFTER, 14))
    assert np.flatnonzero(opened_N).tolist() == [2, 14]
    assert np.flatnonzero(open_N).tolist() == [*range(2, 7 + CLOSE_AFTER), *range(14, 14 + CLOSE_AFTER)]


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(0, 5))
def test_the_threshold_is_the_lowest_that_keeps_to_the_budget_with_all_above_it(scores: list[int], most: int) -> None:
    score_N = np.array(scores, float)
    limit = threshold(score_N, most)

    def opened(level: float) -> int:
        return int(episodes(score_N > level)[0].sum())

    above = [level for level in (-np.inf, *range(-1, 8)) if level >= limit]
    assert all(opened(level) <= most for level in above)
    if np.isfinite(limit):
        assert opened(limit - 0.5) > most


def test_a_budget_decides_how_many_alarms_there_are() -> None:
    series = wave(events=288 * 40)
    score_N = np.random.default_rng(1).random(len(series))
    few, many = (int(alarms(series, score_N, budget)[0][GRACE:].sum()) for budget in (0.5, 2.0))
    assert 0.5 * 20 < few < 2 * 20
    assert 0.5 * 80 < many < 2 * 80


def test_an_alarm_depends_on_the_scores_before_it_alone() -> None:
    series = wave(events=2000)
    score_N = np.random.default_rng(2).random(2000)
    changed_N = np.append(score_N[:1500], 9 + score_N[1500:])
    for column, other in zip(alarms(series, score_N, 1.0), alarms(series, changed_N, 1.0), strict=True):
        assert (column[:1500] == other[:1500]).all()

"""NAB's score, compared with figures worked out by hand and, where the data is present, with the published scores."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from labelled import START, labels

from benchmarks.quality.scoring.nab import nab_scores, nab_scores_of_episodes, weights
from benchmarks.quality.series import Series, read_published, read_set

DATA = Path(os.environ.get("QUALITY_DATA", Path(__file__).parents[3] / ".." / "shared" / "data"))

EVENTS, WINDOW = 60, (20, 29)
"""A file of 60 rows, of which the first 9 are probation (see `scored`), with a window of 10 rows."""


def scored(scores: dict[int, float], *windows: tuple[int, int]) -> dict[str, float]:
    """Return the NAB scores of one file whose rows score 0 except for these."""
    label_N, score_N = labels(EVENTS, *(windows or (WINDOW,))), np.zeros(EVENTS)
    score_N[list(scores)] = list(scores.values())
    series = Series("file", np.zeros((EVENTS, 1)), START + np.arange(EVENTS), label_N, 9)
    return nab_scores([series], [score_N])


def test_a_detection_at_the_first_row_of_every_window_scores_100() -> None:
    assert scored({20: 1.0}) == pytest.approx({"standard": 100, "low_fp": 100, "low_fn": 100})
    two = scored({20: 0.9, 40: 0.8}, WINDOW, (40, 44))
    assert two == pytest.approx({"standard": 100, "low_fp": 100, "low_fn": 100})


def test_a_late_detection_is_worth_less() -> None:
    # At the last of 10 rows: sigmoid(-0.1) / sigmoid(-1) = 0.24492 / 0.98661 = 0.24824.
    assert scored({29: 1.0}) == pytest.approx({"standard": 62.412, "low_fp": 62.412, "low_fn": 74.941}, abs=1e-3)


def test_only_the_earliest_detection_of_a_window_counts() -> None:
    assert scored({20: 1.0, 24: 1.0, 29: 1.0}) == scored({20: 1.0})


def test_a_detection_before_every_window_is_charged_in_full() -> None:
    assert scored({12: 1.0, 20: 0.9}) == pytest.approx({"standard": 94.5, "low_fp": 89.0, "low_fn": 96.3333}, abs=1e-3)


def test_a_detection_soon_after_a_window_is_charged_less() -> None:
    # 1 row after a window of 10 rows: 2 / (1 + exp(5 / 9)) - 1 = -0.27085.
    assert scored({30: 1.0, 20: 0.9})["standard"] == pytest.approx(100 * (2 - 0.11 * 0.27085) / 2, abs=1e-3)
    assert scored({59: 1.0, 20: 0.9})["standard"] == pytest.approx(94.5)


def test_the_threshold_is_the_best_one_for_all_files() -> None:
    assert scored({12: 0.9, 20: 1.0}) == scored({20: 1.0})


def test_rows_of_one_score_are_detected_together() -> None:
    assert scored({12: 1.0, 20: 1.0})["standard"] == pytest.approx(94.5)


def test_a_detector_that_says_nothing_scores_0_and_so_does_one_that_is_always_wrong() -> None:
    assert scored({12: 1.0}) == {"standard": 0.0, "low_fp": 0.0, "low_fn": 0.0}
    assert scored({}, WINDOW)["low_fp"] == 0.0


def test_what_is_said_in_probation_does_not_count() -> None:
    assert scored({8: 1.0, 20: 0.9}) == scored({20: 0.9})
    assert scored({9: 1.0, 20: 0.9}) != scored({20: 0.9})


def of_episodes(scores: dict[int, float], *windows: tuple[int, int]) -> dict[str, float]:
    label_N, score_N = labels(EVENTS, *(windows or (WINDOW,))), np.zeros(EVENTS)
    score_N[list(scores)] = list(scores.values())
    series = Series("file", np.zeros((EVENTS, 1)), START + np.arange(EVENTS), label_N, 9)
    return nab_scores_of_episodes([series], [score_N])


def test_an_episode_is_one_detection_where_it_opens() -> None:
    assert of_episodes({20: 1.0, 24: 1.0}) == pytest.approx({"standard": 100, "low_fp": 100, "low_fn": 100})
    one_too_many = {"standard": 94.5, "low_fp": 89.0, "low_fn": 96.3333}
    assert of_episodes({10: 1.0, 20: 1.0}) == pytest.approx(one_too_many, abs=1e-3)
    assert of_episodes({10: 1.0, 11: 1.0, 12: 1.0, 13: 1.0, 20: 1.0}) == pytest.approx(one_too_many, abs=1e-3)


def test_an_episode_that_is_open_when_a_window_begins_does_not_detect_it() -> None:
    assert of_episodes({18: 1.0, 20: 1.0})["standard"] == 0.0
    assert of_episodes({18: 0.9, 20: 1.0})["standard"] == pytest.approx(100)


def test_the_weight_falls_over_the_window_and_on_to_minus_one() -> None:
    weight_N, window_N = weights(labels(EVENTS, WINDOW))
    assert weight_N[20] == pytest.approx(1.0)
    assert (np.diff(weight_N[20:57]) < 0).all()
    assert weight_N[57] == weight_N[0] == -1.0
    assert set(np.flatnonzero(window_N == 0)) == set(range(20, 30))


@pytest.mark.skipif(
    not (DATA / "nab").exists(), reason="the labelled sets are not there: QUALITY_DATA names their folder"
)
@pytest.mark.parametrize(
    ("detector", "standard", "low_fp", "low_fn"),
    [
        ("ARTime", 69.8, 60.0, 75.2),
        ("numenta", 72.3, 69.1, 76.0),
        ("randomCutForest", 53.7, 44.9, 60.1),
        ("windowedGaussian", 26.5, 2.2, 37.1),
    ],
)
def test_published_scores_give_the_figures_of_nabs_own_scorer(
    detector: str, standard: float, low_fp: float, low_fn: float
) -> None:
    series = read_set("nab", DATA)
    found = nab_scores(series, read_published(DATA / "nab" / "published_scores" / detector, series))
    assert len(series) == 28
    assert found == pytest.approx({"standard": standard, "low_fp": low_fp, "low_fn": low_fn}, abs=0.1)

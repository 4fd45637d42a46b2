"""AUC-PR and VUS-PR, compared with figures worked out by hand, with stored results of libraries, and with the libraries
where they are installed."""

from __future__ import annotations

import numpy as np
import pytest
from labelled import labels

from benchmarks.quality.scoring.precision_recall import average_precision, precision_recall_at
from benchmarks.quality.scoring.vus import NO_PERIOD, period, softened, vus_pr
from benchmarks.quality.series import spans

VUS_OF_THE_LIBRARY = (
    0.7093011055735284, 0.6469461815651605, 0.7362590397201791, 0.755291336887579,
    0.7061626961074186, 0.4275829592485787, 0.7359000677241636, 0.6981632561722794,
)  # fmt: skip
"""Results of TSB-AD 1.5's `generate_curve` for `noisy(seed)` with a window of 7 times the seed."""
AVERAGE_PRECISION_OF_THE_LIBRARY = (
    0.7097632918913723, 0.6373164742358421, 0.7141468199137733, 0.7136997484649399,
    0.6790001288455533, 0.4626922810724073, 0.6831710487008877, 0.641951658569659,
)  # fmt: skip
"""Results of scikit-learn 1.9.1's `average_precision_score` for the same."""


def noisy(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels, and scores that are correlated with them. Scores of every second seed have many equal values."""
    random = np.random.default_rng(seed)
    first = sorted(int(place) for place in random.integers(1, 350, size=1 + seed % 4))
    label_N = labels(400, *((place, place + int(random.integers(1, 30))) for place in first))
    return label_N, np.round(random.random(400) + 0.5 * label_N, 1 if seed % 2 else 9)


def test_average_precision_weights_precision_by_the_recall_it_adds() -> None:
    label_N, score_N = np.array([0, 1, 0, 1, 0], bool), np.array([0.9, 0.8, 0.3, 0.2, 0.1])
    assert average_precision(label_N, score_N) == pytest.approx((1 / 2 + 2 / 4) / 2)


def test_average_precision_takes_equal_scores_together() -> None:
    assert average_precision(np.array([1, 0, 0, 0], bool), np.zeros(4)) == 0.25


def test_without_a_label_neither_curve_is_known() -> None:
    assert np.isnan(average_precision(np.zeros(9, bool), np.arange(9.0)))
    assert np.isnan(vus_pr(np.zeros(9, bool), np.arange(9.0), 3))


def test_precision_and_recall_of_the_highest_scores() -> None:
    assert precision_recall_at(np.array([1, 0, 1, 1], bool), np.array([0.9, 0.8, 0.7, 0.1]), 2) == (0.5, 1 / 3)


def test_the_margin_of_a_label_falls_with_the_square_root_over_half_of_the_tolerance() -> None:
    label_N = labels(9, (3, 4))
    soft_N = softened(label_N, spans(label_N), 4)
    assert soft_N == pytest.approx([0, 0.5**0.5, 0.75**0.5, 1, 1, 0.75**0.5, 0.5**0.5, 0, 0])


def test_vus_pr_without_a_tolerance_is_precision_over_recall_times_spans_seen() -> None:
    # The first hit sees one of two spans (recall 1/2 * 1/2), the second sees both (1): 1 * 1/4 + 2/3 * 3/4.
    assert vus_pr(labels(4, (0, 0), (2, 2)), np.array([0.9, 0.8, 0.7, 0.1]), 0) == pytest.approx(0.75)


def test_vus_pr_is_1_for_scores_that_rise_and_fall_with_the_softened_labels() -> None:
    label_N = labels(500, (200, 220))
    assert vus_pr(label_N, label_N.astype(float), 0) == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(8))
def test_vus_pr_and_average_precision_are_what_the_libraries_gave(seed: int) -> None:
    label_N, score_N = noisy(seed)
    assert vus_pr(label_N, score_N, 7 * seed) == pytest.approx(VUS_OF_THE_LIBRARY[seed], abs=1e-12)
    assert average_precision(label_N, score_N) == pytest.approx(AVERAGE_PRECISION_OF_THE_LIBRARY[seed], abs=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_vus_pr_is_what_the_library_gives(seed: int) -> None:
    library = pytest.importorskip("TSB_AD.evaluation.basic_metrics", exc_type=ImportError)
    label_N, score_N = noisy(seed)
    window = 7 * seed
    assert vus_pr(label_N, score_N, window) == pytest.approx(
        library.generate_curve(label_N.astype(int), score_N, window)[-1], abs=1e-12
    )


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_is_what_scikit_learn_gives(seed: int) -> None:
    library = pytest.importorskip("sklearn.metrics", exc_type=ImportError)
    label_N, score_N = noisy(seed)
    assert average_precision(label_N, score_N) == pytest.approx(library.average_precision_score(label_N, score_N))


def test_the_period_is_the_lag_at_which_a_series_repeats() -> None:
    place_N = np.arange(4000)
    noise_N = 0.1 * np.random.default_rng(0).standard_normal(4000)
    assert period(np.sin(2 * np.pi * place_N / 60) + noise_N) == 60
    assert period(np.zeros(4000)) == NO_PERIOD

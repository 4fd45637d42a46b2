"""Fraud: transactions ranked by how unusual they are. No detector sees a label.

The daemon reads only amounts, see `cards`. The others read the features of `transactions`. Two of them are rules that a
fraud team begins with: the largest amounts, and the amounts that are largest compared with what the card usually pays.
Measured are the ranking of all transactions, and what a team finds that checks 100 transactions a day.

Shapes: N transactions, F features.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

from benchmarks.quality import cards, ours
from benchmarks.quality.detectors import NotForThese
from benchmarks.quality.outcome import Outcome
from benchmarks.quality.scoring.precision_recall import average_precision, precision_recall_at
from benchmarks.quality.series import Float64
from benchmarks.quality.transactions import DAY, LEARN_DAYS, Transactions, features, lately

NAME = "fraud"
A_DAY = 100
"""Transactions a day that a team can check."""

REFIT_DAYS = 7
SEED = 42


def chance(told: Transactions) -> Float64:
    """Return a random ranking, which shows what a ranking is worth that has no information."""
    return np.random.default_rng(SEED).random(len(told))


def amount(told: Transactions) -> Float64:
    """Rank by amount, the largest first."""
    return told.amount_N


def ratio(told: Transactions) -> Float64:
    """Rank by amount in units of its card's mean over 30 days, the largest first."""
    count_N, total_N = lately(told.customer_N, told.seconds_N, told.amount_N, LEARN_DAYS * DAY)
    return told.amount_N * count_N / np.maximum(total_N, 0.01)


def half_space_trees(told: Transactions) -> Float64:
    """Rank by river's half-space trees over min-max scaled features."""
    from benchmarks.quality.detectors.half_space_trees import trees_over

    return trees_over(features(told))


def isolation_forest(told: Transactions) -> Float64:
    """Rank by scikit-learn's isolation forest over all features."""
    return _forests(told, features(told))


def isolation_forest_of_amounts(told: Transactions) -> Float64:
    """Rank by an isolation forest over the quantities that the daemon reads: the amount, and its ratio to its card's
    mean."""
    return _forests(told, np.stack([told.amount_N, ratio(told)], axis=1))


def _forests(told: Transactions, all_NF: Float64) -> Float64:
    """Return the scores of forests that are fitted again every 7 days, on the 30 days before."""
    from sklearn.ensemble import IsolationForest

    day_N = told.day_N
    score_N = np.full(len(told), np.nan)
    for first in range(LEARN_DAYS, int(day_N[-1]) + 1, REFIT_DAYS):
        past_N = (day_N >= first - LEARN_DAYS) & (day_N < first)
        now_N = (day_N >= first) & (day_N < first + REFIT_DAYS)
        if now_N.any():
            forest = IsolationForest(random_state=SEED).fit(all_NF[past_N])
            score_N[now_N] = -forest.score_samples(all_NF[now_N])
    return score_N


DETECTORS: Mapping[str, Callable[[Transactions], Float64]] = {
    ours.NAME: cards.trained,
    "anomaly-daemon-shipped": cards.shipped,
    "random": chance,
    "amount": amount,
    "amount-ratio": ratio,
    "river-hst": half_space_trees,
    "isolation-forest": isolation_forest,
    "isolation-forest-amounts": isolation_forest_of_amounts,
}


def detect(told: Transactions, name: str) -> list[Outcome]:
    """Return the scores of one detector, without alarms. Raises NotForThese."""
    began = time.perf_counter()
    try:
        score_N = DETECTORS[name](told)
    except ImportError as error:
        raise NotForThese(f"not installed ({error.name})") from error
    nothing = np.zeros(len(told), bool)
    return [Outcome(score_N, nothing, nothing, time.perf_counter() - began)]


def measure(told: Transactions, outcome: Outcome) -> dict[str, float]:
    """Return the figures over the transactions that count, that is from `start` on; NaN where there are none."""
    counts = slice(told.start, None)
    label_N, score_N, day_N = told.fraud_N[counts], outcome.known_N[counts], told.day_N[counts]
    days = [day_N == day for day in np.unique(day_N)]
    found = sum(precision_recall_at(label_N[day], score_N[day], A_DAY)[0] * min(A_DAY, day.sum()) for day in days)
    checked, labelled = sum(min(A_DAY, int(day.sum())) for day in days), int(label_N.sum())
    return {
        "auc_pr": average_precision(label_N, score_N),
        "precision_at_100_a_day": found / checked if checked else float("nan"),
        "recall_at_100_a_day": found / labelled if labelled else float("nan"),
        "events_per_second": len(told) / outcome.seconds,
    }

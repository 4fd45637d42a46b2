"""Computes every measure of a detector on a set from its outcomes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from benchmarks.quality.outcome import Outcome
from benchmarks.quality.scoring.events import Matched, match, together
from benchmarks.quality.scoring.nab import nab_scores, nab_scores_of_episodes
from benchmarks.quality.scoring.precision_recall import average_precision
from benchmarks.quality.scoring.skab import best_threshold, past_training, skab_scores
from benchmarks.quality.scoring.vus import period, vus_pr
from benchmarks.quality.series import Series


def measure(
    protocol: str | None, series: Sequence[Series], outcomes: Sequence[Outcome], per_day: float
) -> dict[str, float]:
    """Return the value of each metric over the events from each series' `start` on. `protocol` names the set's own
    scoring, `nab` or `skab`, whose figures are added; None adds none."""
    pairs = list(zip(series, outcomes, strict=True))
    figures = {
        "vus_pr": _mean([_vus_pr(*pair) for pair in pairs]),
        "auc_pr": _mean([average_precision(one.label_N[one.start :], out.known_N[one.start :]) for one, out in pairs]),
        **_at_the_budget(together(matched(one, out) for one, out in pairs)),
        **realised(series, outcomes, per_day),
        "events_per_second": sum(map(len, series)) / max(sum(out.seconds for out in outcomes), 1e-9),
    }
    if protocol == "nab":
        scores = [out.known_N for out in outcomes]
        figures |= {f"nab_{profile}": score for profile, score in nab_scores_of_episodes(series, scores).items()}
        figures |= {f"nab_rows_{profile}": score for profile, score in nab_scores(series, scores).items()}
    if protocol == "skab":
        figures |= _skab(pairs)
    return figures


def realised(
    series: Sequence[Series], outcomes: Sequence[Outcome], per_day: float, prefix: str = ""
) -> dict[str, float]:
    """Return the alarms outside labelled events per stream and day of unlabelled time, the budget, and the ratio of the
    two."""
    whole = together(matched(*pair) for pair in zip(series, outcomes, strict=True))
    return {
        f"{prefix}alarms_per_day": whole.alarms_per_day,
        f"{prefix}budget_per_day": per_day,
        f"{prefix}realised_share": whole.alarms_per_day / per_day,
    }


def _skab(pairs: Sequence[tuple[Series, Outcome]]) -> dict[str, float]:
    """Return the figures of SKAB's own protocol, with three ways to call a row anomalous: an episode is open there, its
    score is above a threshold learned from the past, or it reaches the best threshold."""
    labels = [one.label_N[one.start :] for one, _ in pairs]
    scores = [out.known_N[one.start :] for one, out in pairs]
    learned = [past_training(out.known_N, one.start) for one, out in pairs]
    best = best_threshold(labels, scores)
    return {
        **skab_scores("skab", labels, [out.open_N[one.start :] for one, out in pairs]),
        **skab_scores("skab_learned", labels, learned),
        **skab_scores("skab_best", labels, [score_N >= best for score_N in scores]),
    }


def matched(series: Series, outcome: Outcome) -> Matched:
    """Match the labelled events of one series with its alarms."""
    counts = slice(series.start, None)
    return match(series.label_N[counts], outcome.opened_N[counts], series.seconds_N[counts])


def _at_the_budget(whole: Matched) -> dict[str, float]:
    return {
        "event_precision": whole.precision,
        "event_recall": whole.recall,
        "event_f1": whole.f1,
        "delay": whole.delay,
    }


def _vus_pr(series: Series, outcome: Outcome) -> float:
    window = period(series.values_ND[:, 0])  # of the first field, as in TSB-AD
    return vus_pr(series.label_N[series.start :], outcome.known_N[series.start :], window)


def _mean(values: Sequence[float]) -> float:
    """The mean over the series that have a label."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where none of them has, the mean is NaN
        return float(np.nanmean(values))

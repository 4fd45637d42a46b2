"""The gate: each condition has a name, and each figure affects only its own condition."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from anomaly_daemon.training.promotion import Decision, Gate, Measures, decide

CHAMPION = Measures(5_000, 0.5, {"press": 0.5, "oven": 0.5}, 1.0, 0.2, 0.8)
BETTER = Measures(5_000, 0.3, {"press": 0.3, "oven": 0.3}, 1.0, 0.2, 0.8)


def decided(challenger: Measures, champion: Measures = CHAMPION, left_out: float = 0.1) -> Decision:
    return decide(champion, challenger, budget=1.0, left_out=left_out, gate=Gate())


def failed(decision: Decision) -> list[str]:
    return [reason.name for reason in decision.reasons if not reason.passed]


def test_one_that_is_better_and_worse_in_nothing_is_promoted() -> None:
    assert decided(BETTER).promote
    assert failed(decided(BETTER)) == []


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"events": 999}, "events"),
        ({"loss": 0.495}, "loss"),
        ({"loss": 0.6}, "loss"),
        ({"groups": {"press": 0.1, "oven": 0.61}}, "worst_group"),
        ({"tail": 2.1}, "tail"),
        ({"alarms": 1.1}, "alarms"),
        ({"found": 0.7}, "found"),
    ],
)
def test_each_figure_alone_keeps_the_champion_by_its_own_name(changes: dict[str, object], name: str) -> None:
    decision = decided(replace(BETTER, **changes))
    assert failed(decision) == [name]
    assert not decision.promote
    assert decision.text.startswith(f"{name}: ")


@pytest.mark.parametrize("changes", [{"loss": math.nan}, {"tail": math.nan}, {"alarms": math.inf}])
def test_what_is_not_a_number_is_never_promoted(changes: dict[str, float]) -> None:
    assert "finite" in failed(decided(replace(BETTER, **changes)))


def test_a_group_whose_figure_is_no_number_is_the_worst() -> None:
    assert failed(decided(replace(BETTER, groups={"press": 0.1, "oven": math.nan}))) == ["finite", "worst_group"]


def test_input_that_is_mostly_called_anomalous_decides_nothing() -> None:
    assert failed(decided(BETTER, left_out=0.51)) == ["left_out"]


def test_a_challenger_may_raise_as_many_alarms_as_the_champion_where_that_is_past_the_budget() -> None:
    noisy = replace(CHAMPION, alarms=3.0)
    assert decided(replace(BETTER, alarms=3.0), noisy).promote
    assert failed(decided(replace(BETTER, alarms=3.1), noisy)) == ["alarms"]


def test_p_values_may_be_as_far_off_as_the_champions() -> None:
    off = replace(CHAMPION, tail=4.0)
    assert decided(replace(BETTER, tail=4.0), off).promote
    assert failed(decided(replace(BETTER, tail=4.1), off)) == ["tail"]


def test_without_confirmed_anomalies_none_has_to_be_found() -> None:
    assert decided(replace(BETTER, found=None), replace(CHAMPION, found=None)).promote

"""The ablation changes one part at a time, and leaves nothing changed for what runs after it."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
from labelled import wave

from anomaly_daemon.detection import scorer
from anomaly_daemon.detection.rules import Evidence
from anomaly_daemon.detection.signals import ODDS
from benchmarks.quality import learned, ours
from benchmarks.quality.ablation import COMPARED, VARIANTS, arguments, result, shortened, table, weighing
from benchmarks.quality.choices import one_or_more_of
from benchmarks.quality.figures import Result
from benchmarks.quality.series import Series


@pytest.fixture(scope="module")
def series() -> list[Series]:
    return [wave(name, events=1400, fields=2, start=1200, seed=seed) for seed, name in enumerate("abcd")]


def test_each_kind_of_evidence_is_left_out_once() -> None:
    left_out = [set(Evidence) - set(one.detection.get("evidence", Evidence)) for one in VARIANTS.values()]
    assert sorted(kind for one in left_out for kind in one) == sorted(Evidence)


def test_other_odds_count_inside_alone() -> None:
    with weighing(np.ones(6)):
        assert (scorer.ODDS == 1).all()
    assert scorer.ODDS is ODDS


@pytest.mark.parametrize("name", ["without level", "all kinds weigh the same", "prediction only"])
def test_a_variant_scores_otherwise_than_what_is_shipped(series: list[Series], name: str) -> None:
    variant = VARIANTS[name]
    with weighing(variant.odds_J):
        (other,) = ours.detect_with(series[:1], ours.settings_of(2, 1.0, **variant.detection))
    (shipped,) = ours.detect(series[:1], 1.0)
    known = ~np.isnan(shipped.score_N)
    assert not np.allclose(other.score_N[known], shipped.score_N[known])


def test_a_series_is_shortened_before_its_scored_part_alone() -> None:
    whole = wave(events=600, start=300)
    short = shortened(whole, 100)
    assert (len(short), short.start) == (400, 100)
    assert np.array_equal(short.values_ND[short.start :], whole.values_ND[whole.start :])
    assert shortened(whole, 1000).start == 300


@pytest.mark.parametrize("name", ["fine-tuned", "from scratch", "from scratch, joint"])
def test_a_network_learns_from_what_lies_before_the_scored_part(
    series: list[Series], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learned, "STEPS", 1)
    settings = ours.settings_of(2, 1.0)
    changed = [Series(one.name, one.values_ND.copy(), one.time_N, one.label_N, one.start) for one in series]
    for one in changed:
        one.values_ND[one.start :] += 100.0
    model, again = (learned.NETWORKS[name](told, settings) for told in (series, changed))
    assert model.digest == again.digest
    assert model.digest != learned.shipped(series, settings).digest
    assert ours.detect_with(series[:1], settings, model)[0].score_N.shape == (1400,)


def test_the_table_has_a_row_a_variant_and_the_mean_over_sets() -> None:
    def result(dataset: str, name: str, vus: float) -> Result:
        return Result(dataset, f"{ours.NAME}, {name}", {"vus_pr": vus, "event_f1": 0.5})

    told = table([result("a", "x", 0.2), result("a", "y", 0.4), result("b", "x", 0.6), result("b", "y", 0.8)])
    assert "| x | 0.200 / 0.50 | 0.600 / 0.50 | 0.400 / 0.50 |" in told


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_can_be_asked_for_by_its_name(name: str) -> None:
    assert one_or_more_of(VARIANTS)(f"{name},shipped") == (name, "shipped")


def test_a_name_that_is_not_known_is_refused_with_those_that_are() -> None:
    assert one_or_more_of(["a", "b"])("b,a") == ("b", "a")
    with pytest.raises(argparse.ArgumentTypeError, match="c: there is a, b"):
        one_or_more_of(["a", "b"])("a,c")


def set_of(folder: Path, *fields: int) -> None:
    """Write a set with one series for each of these numbers of fields."""
    folder.mkdir()
    for number in fields:
        one = wave(f"of-{number}", events=900, fields=number, start=400, seed=number)
        np.savez(folder / f"{one.name}.npz", X=one.values_ND, y=one.label_N, ts=one.time_N / 1e6, start=one.start)


def test_any_set_in_the_folder_is_taken_whatever_its_fields(tmp_path: Path) -> None:
    set_of(tmp_path / "turbines", 1, 3)
    asked = arguments(["--data", str(tmp_path)])
    assert asked.sets == ("turbines",)
    assert result(asked, "turbines", "without level").figures["vus_pr"] > 0


def test_the_sets_that_are_compared_come_before_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("asd", "turbines"):
        set_of(tmp_path / name, 1)
    assert arguments(["--data", str(tmp_path)]).sets == ("asd",)
    assert "asd" in COMPARED
    for words in (["--data", str(tmp_path), "--sets", "asc"], ["--data", str(tmp_path / "none")]):
        with pytest.raises(SystemExit):
            arguments(words)
    assert "asc: there is asd, turbines" in capsys.readouterr().err


def test_a_set_that_is_too_small_to_learn_from_says_so(tmp_path: Path) -> None:
    set_of(tmp_path / "turbines", 1)
    told = result(arguments(["--data", str(tmp_path)]), "turbines", "from scratch")
    assert "too few" in told.told
    assert "–" in table([told])

"""The drift tests: a lasting change is found, a passing one is not, and each figure decides only its own result."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from report_samples import alert
from training_samples import SMALL, observations, rows_and_cuts, series, write_recording

from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.cli import main
from anomaly_daemon.commands import train
from anomaly_daemon.configuration import load
from anomaly_daemon.detection.alert import Alert, Event, Kind
from anomaly_daemon.detection.network import Network
from anomaly_daemon.detection.observation import Float64
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.settings import PRETRAINED
from anomaly_daemon.training import retrain
from anomaly_daemon.training.drift import BLOCKS, USUAL, Alarms, block_losses, drifted, edges, poisson_tail
from anomaly_daemon.training.evaluate import of_network

QUIET = Alarms(0, 10.0)


def losses(rise: float = 0.0, since: int = USUAL, until: int = BLOCKS, seed: int = 0) -> Float64:
    """Return the losses of blocks: 0.5 nats with a standard deviation of 0.02, and higher by `rise` from `since` until
    `until`."""
    made = 0.5 + 0.02 * np.random.default_rng(seed).standard_normal(BLOCKS)
    made[since:until] += rise
    return made


def found(loss_K: Float64, alarms: Alarms = QUIET, budget: float = 1.0) -> list[str]:
    return [reason.name for reason in drifted(loss_K, alarms, budget) if reason.passed]


def test_a_lasting_rise_is_a_drift_and_a_bad_hour_is_none() -> None:
    assert found(losses(0.2, since=30)) == ["loss"]
    assert found(losses(0.2, since=30, until=31)) == []
    assert found(losses(-0.2)) == []


def test_a_rise_too_small_to_matter_is_none_however_sure() -> None:
    assert found(np.r_[np.full(USUAL, 0.5), np.full(BLOCKS - USUAL, 0.54)]) == []
    assert found(np.r_[np.full(USUAL, 0.5), np.full(BLOCKS - USUAL, 0.6)]) == ["loss"]


def test_without_drift_there_is_hardly_ever_one() -> None:
    assert sum(found(losses(seed=seed)) != [] for seed in range(300)) <= 3


@pytest.mark.parametrize("last", ["2026-06-01T00:00:00.000001", "2255-06-06T00:00:00", "9999-12-31T00:00:00"])
def test_the_last_event_is_in_the_last_block_also_where_a_source_writes_the_last_date_that_there_is(last: str) -> None:
    rows, _ = rows_and_cuts(streams=1)
    end = round(datetime.fromisoformat(f"{last}+00:00").timestamp()) * 1_000_000 + 1
    rows = [replace(rows[0], time_T=np.r_[rows[0].time_T[:-1], end])]
    bounds = edges(rows)
    assert (len(bounds), bounds[0], bounds[-1]) == (BLOCKS + 1, rows[0].time_T[0], end + 1)
    assert (np.diff(bounds) > 0).all()
    lost_K = block_losses(Network(SMALL).eval(), rows, 32)
    assert np.flatnonzero(np.isfinite(lost_K)).tolist() == [0, BLOCKS - 1]


def test_blocks_without_a_value_say_nothing() -> None:
    gaps = losses(0.2, since=30)
    gaps[5:8] = gaps[33:36] = np.nan
    assert found(gaps) == ["loss"]
    gaps[:USUAL] = np.nan
    assert found(gaps) == []


def test_more_alarms_than_the_budget_by_chance_are_none() -> None:
    assert found(losses(), Alarms(14, 10.0)) == []
    assert found(losses(), Alarms(30, 10.0)) == ["alarms"]
    assert found(losses(), Alarms(30, 10.0), budget=3.0) == []
    assert found(losses(), Alarms(1300, 1000.0)) == []  # certain, but less than twice the budget


def test_alarms_that_nobody_counted_are_not_called_none() -> None:
    (_, alarms) = drifted(losses(), None, 1.0)
    assert (alarms.passed, alarms.text.startswith("not tested: ")) == (False, True)


@pytest.mark.parametrize(
    ("count", "expected", "tail"),
    [(0, 3.0, 1.0), (1, 1.0, 0.632120558829), (5, 2.0, 0.052653017344), (3, 0.0, 0.0), (1000, 1000.0, 0.504209)],
)
def test_the_tail_of_the_poisson_law(count: int, expected: float, tail: float) -> None:
    assert poisson_tail(count, expected) == pytest.approx(tail, abs=1e-5)


def opening(number: int, stream: str, second: int) -> Alert:
    made = alert(Event.OPEN)
    times = replace(made.times, event=datetime.fromtimestamp(second, UTC).isoformat())
    return replace(made, alert_id=str(number), kind=Kind.PATTERN, stream=replace(made.stream, key=stream), times=times)


@pytest.mark.parametrize(
    ("stream", "second", "count"),
    [("s0", 450, 9), ("s2", 599, 9), ("s0", 300, 0), ("s0", 600, 0), ("s1", 450, 0), ("of another input", 450, 0)],
)
def test_only_the_alarms_of_the_streams_and_the_time_that_the_budget_is_for_count(
    monkeypatch: pytest.MonkeyPatch, stream: str, second: int, count: int
) -> None:
    """Of three streams, two are tested, over 600 seconds."""
    monkeypatch.setattr(retrain, "MOST", 2)
    recorded = [observations([series(f"s{place}", 600, seed=place) for place in range(3)])]
    settings = load(None, ["source.topic=readings", 'stream.numeric=["a", "b"]', 'stream.categorical=["mode"]'], {})
    alerts = [opening(number, stream, second) for number in range(9)]
    (_, alarms) = retrain.drift(settings, read_model(PRETRAINED), recorded, alerts, Rules())
    assert alarms.text.startswith(f"{count} alarms")
    assert alarms.passed == (count > 0)


def test_the_losses_of_the_blocks_add_up_to_that_of_the_whole() -> None:
    import torch

    rows, cuts = rows_and_cuts(streams=3, events=480)
    network = Network(SMALL, torch.Generator().manual_seed(0)).eval()
    blocks = block_losses(network, rows, 32)
    whole = of_network(network, rows, type(cuts)(0, 0), 32)["nll"]
    times, there = (
        np.concatenate(parts) for parts in zip(*((row.time_T, row.mask_TD.sum(1)) for row in rows), strict=True)
    )
    values = np.histogram(times, edges(rows), weights=there)[0]
    assert np.average(blocks, weights=values) == pytest.approx(whole, rel=1e-5)


def test_only_streams_that_have_drifted_are_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_recording(tmp_path)
    place = ["--config", str(config), "--device", "cpu"]
    registry = tmp_path / "registry"
    assert main(["train", *place, "--output", str(tmp_path / "first"), "--set", "training.epochs=4"]) == 0
    assert main(["models", "publish", str(tmp_path / "first"), "--registry", str(registry), "--as", "champion"]) == 0
    words = ["retrain", *place, "--set", f"model.path={registry}@champion", "--if-drifted", "--json", "--dry-run"]
    capsys.readouterr()
    assert main(words) == 0
    (told,) = capsys.readouterr().out.splitlines()
    assert [reason["passed"] for reason in json.loads(told)["drift"]] == [False, False], told
    assert "not tested: no published alerts" in told
    lines = [json.loads(line) for line in (tmp_path / "recorded.jsonl").read_text().splitlines()]
    random = np.random.default_rng(0)
    for number, line in enumerate(lines):
        if number % 600 >= 300:
            line["a"], line["b"] = (random.normal(size=2) * 2).tolist()
    (tmp_path / "changed.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert main([*words, "--input", str(tmp_path / "changed.jsonl"), "--checkpoint", str(tmp_path / "c")]) == 0
    drift, decided = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert drift["drift"][0]["passed"], drift
    assert decided["decision"] in ("promote", "keep")


def test_only_the_first_process_of_a_training_in_several_looks_for_drift(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others have no champion here, and need none."""
    monkeypatch.setattr(train, "in_processes", lambda *_: 0)  # as in a process that trains along
    assert main(["retrain", "--config", str(write_recording(tmp_path)), "--device", "cpu", "--if-drifted"]) == 0
    assert capsys.readouterr().out == ""


def test_a_worker_is_not_started_only_where_there_is_drift(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retrain", "--config", str(write_recording(tmp_path)), "--worker", "--if-drifted"]) == 64
    assert "retraining.drift_seconds" in capsys.readouterr().err

"""`retrain` as a person runs it: a champion, streams that have changed, and what becomes of champion and challenger."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from report_samples import alert
from training_samples import SCHEMA, SECOND, observations, series, write_recording

from anomaly_daemon.cli import main
from anomaly_daemon.configuration import load
from anomaly_daemon.detection.alert import Event
from anomaly_daemon.detection.rules import MuteRule, Rules
from anomaly_daemon.errors import ExitCode
from anomaly_daemon.registry.registry import Registry
from anomaly_daemon.training import judge as judging
from anomaly_daemon.training.build import build
from anomaly_daemon.training.dataset import Cuts, Series
from anomaly_daemon.training.judge import group_of, judge
from anomaly_daemon.training.known import Stretch

Summary = dict[str, Any]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration, a recording, and a registry whose champion has barely learned anything."""
    folder = tmp_path_factory.mktemp("deployment")
    config = write_recording(folder)
    arguments = ["--config", str(config), "--device", "cpu", "--set", "training.epochs=1"]
    assert main(["train", *arguments, "--output", str(folder / "first"), "--set", "training.learning_rate=0.0001"]) == 0
    registry = str(folder / "registry")
    assert main(["models", "publish", str(folder / "first"), "--registry", registry, "--as", "champion"]) == 0
    return folder


def retrain(folder: Path, *more: str) -> int:
    config = ["--config", str(folder / "config.yaml"), "--set", f"model.path={folder}/registry@champion"]
    return main(["retrain", *config, "--device", "cpu", "--checkpoint", str(folder / "checkpoint"), *more])


def summary(capsys: pytest.CaptureFixture[str]) -> Summary:
    told: Summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    return told


def test_a_dry_run_decides_and_keeps_nothing_and_the_real_one_promotes(
    deployment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = Registry.at(str(deployment / "registry"))
    first = registry.resolve("champion")
    assert retrain(deployment, "--dry-run", "--json") == 0
    told = summary(capsys)
    assert (told["decision"], told["promoted"]) == ("promote", False), told["reasons"]
    assert (registry.digests(), registry.resolve("champion")) == ([first], first)
    assert retrain(deployment) == 0
    shown = capsys.readouterr().out
    assert "promoted" in shown
    assert "worst_group" in shown
    second = registry.resolve("champion")
    assert second == registry.resolve("challenger") == told["challenger"]["digest"]
    assert registry.read(second).manifest.training["champion"] == first
    assert "loss: +" in registry.history("champion")[-1].reason
    assert not (deployment / "checkpoint").exists()


def test_one_that_was_trained_on_anomalies_nobody_has_marked_stays_the_challenger(
    deployment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = Registry.at(str(deployment / "registry"))
    before, random = registry.resolve("champion"), np.random.default_rng(0)
    told = [json.loads(line) for line in (deployment / "recorded.jsonl").read_text().splitlines()]
    for place, one in enumerate(told):
        if place % 600 < 400:
            one["a"], one["b"] = (random.normal(size=2) * 9).tolist()
    (deployment / "poisoned.jsonl").write_text("\n".join(map(json.dumps, told)))
    assert retrain(deployment, "--json", "--input", str(deployment / "poisoned.jsonl")) == 0
    decided = summary(capsys)
    assert decided["decision"] == "keep"
    assert "loss" in [reason["name"] for reason in decided["reasons"] if not reason["passed"]], decided
    assert registry.resolve("champion") == before
    assert registry.resolve("challenger") == decided["challenger"]["digest"]


def test_a_field_that_no_new_record_holds_is_refused_as_in_training(
    deployment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The gate compares the two models on the fields that there are, so it used to promote a challenger that had
    learned nothing of this one."""
    told = [json.loads(line) for line in (deployment / "recorded.jsonl").read_text().splitlines()]
    for one in told:
        del one["b"]
    (deployment / "without.jsonl").write_text("\n".join(map(json.dumps, told)))
    assert retrain(deployment, "--dry-run", "--input", str(deployment / "without.jsonl")) == ExitCode.CONFIGURATION
    assert "stream.numeric b: has no value in any of" in capsys.readouterr().err


def test_a_stopped_retraining_goes_on_to_the_same_challenger(
    deployment: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert retrain(deployment, "--dry-run", "--json", "--seed", "5") == 0
    whole = summary(capsys)["challenger"]["digest"]
    monkeypatch.setattr("anomaly_daemon.training.build.evaluate", interrupted)
    assert retrain(deployment, "--dry-run", "--json", "--seed", "5") == 130
    assert "--resume" in capsys.readouterr().err
    monkeypatch.undo()
    assert retrain(deployment, "--dry-run", "--json", "--seed", "5", "--resume") == 0
    assert summary(capsys)["challenger"]["digest"] == whole


def test_what_the_champion_has_seen_of_the_later_part_is_said(
    deployment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (deployment / "recorded.jsonl").read_text().splitlines()
    older = deployment / "older.jsonl"
    older.write_text("\n".join(line for line in lines if json.loads(line)["time"] < 1_700_000_000 + 580))
    assert retrain(deployment, "--dry-run", "--json") == 0
    assert summary(capsys)["warnings"] == [], "its training ended where the later part begins"
    assert retrain(deployment, "--dry-run", "--json", "--input", str(older)) == 0
    (said,) = summary(capsys)["warnings"]
    assert "records up to 2023-11-14T22:21:50+00:00, and has seen the later part (from 2023-11-14T22:21:33" in said
    assert retrain(deployment, "--dry-run", "--input", str(older)) == 0
    assert f"warning: {said}" in capsys.readouterr().out


def test_the_manifest_tells_of_the_network_that_was_trained_and_of_keys_without_effect(
    deployment: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = list[Any]()
    monkeypatch.setattr("anomaly_daemon.commands.retrain._tell", lambda champion, found, *_, **__: made.append(found))
    asked = {"hidden": 96, "cell": "gru", "normalizer": "robust", "layout": "channel", "min_count": 7, "dropout": 0.4}
    assert (
        retrain(deployment, "--dry-run", *(w for key, one in asked.items() for w in ("--set", f"training.{key}={one}")))
        == 0
    )
    told = made[0].challenger.manifest
    used = {key: told.training["settings"][key] for key in asked}
    assert used == {**asked, "hidden": 50, "cell": "lstm", "normalizer": "standard", "layout": "joint", "min_count": 5}
    assert (told.network.hidden, told.network.cell, told.network.dropout) == (50, "lstm", 0.4)
    said = capsys.readouterr().err
    assert "training.hidden is 50, not 96; " in said
    assert "training.dropout" not in said


@pytest.mark.parametrize(
    "words",
    [
        "--checkpoint {recorded}",
        "--input {folder}/data --checkpoint {recorded}",
        "--input {folder}/data/*.jsonl --checkpoint {recorded}",
        "--feedback {said} --checkpoint {said}",
        "--alerts {said} --checkpoint {said}",
        "--checkpoint {folder}/config.yaml",
        "--checkpoint {folder}/notes",
    ],
)
def test_a_checkpoint_takes_the_place_of_a_checkpoint_and_of_nothing_else(
    deployment: Path, tmp_path: Path, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    recorded, said, notes = tmp_path / "data" / "r.jsonl", tmp_path / "said.jsonl", tmp_path / "notes"
    recorded.write_bytes((deployment / "recorded.jsonl").read_bytes())
    config = (deployment / "config.yaml").read_text().replace(str(deployment / "recorded.jsonl"), str(recorded))
    (tmp_path / "config.yaml").write_text(config)
    said.write_text("")
    notes.write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    more = words.format(recorded=recorded, folder=tmp_path, said=said).split()
    model = ["--set", f"model.path={deployment}/registry@champion"]
    assert main(["retrain", "--config", str(tmp_path / "config.yaml"), *model, "--dry-run", *more]) == ExitCode.USAGE
    assert "--checkpoint" in capsys.readouterr().err or "notes" in words
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_name_with_a_slash_names_a_checkpoint_of_this_folder_all_the_same(
    deployment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("anomaly_daemon.training.build.evaluate", interrupted)
    config = ["--config", str(deployment / "config.yaml"), "--set", f"model.path={deployment}/registry@champion"]
    assert main(["retrain", *config, "--dry-run", "--set", "name=hall 3/pumps", "--set", "training.epochs=1"]) == 130
    (saved,) = tmp_path.iterdir()
    assert saved.name.startswith("hall-3-pumps-")


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_without_a_registry_there_is_no_champion_to_go_on_from(deployment: Path) -> None:
    config = ["--config", str(deployment / "config.yaml")]
    assert main(["retrain", *config]) == 64


def test_known_anomalies_are_left_out_of_training(deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alerts = deployment / "alerts.jsonl"
    config = ["--config", str(deployment / "config.yaml"), "--set", f"model.path={deployment}/registry@champion"]
    sink = ["--set", "sink.kind=files", "--set", f"sink.path={alerts}", "--set", "http.enabled=false"]
    recorded = (deployment / "recorded.jsonl").read_text().splitlines()
    odd = [json.loads(line) for line in recorded]
    for place, one in enumerate(odd):
        if one["key"] == "s1" and 300 <= place - 600 < 330:
            one["a"] = 80.0
    harmed = deployment / "harmed.jsonl"
    harmed.write_text("\n".join(map(json.dumps, odd)))
    assert main(["run", *config, *sink, "--set", f'source.paths=["{harmed}"]']) == 0
    told = [json.loads(line) for line in alerts.read_text().splitlines()]
    assert {"s1"} <= {one["stream"]["key"] for one in told}
    capsys.readouterr()
    assert retrain(deployment, "--dry-run", "--json", "--input", str(harmed), "--alerts", str(alerts)) == 0
    with_all = summary(capsys)
    assert with_all["left_out"] > 0
    said = deployment / "feedback.jsonl"
    said.write_text("\n".join(json.dumps({"alert_id": one["alert_id"], "label": "false"}) for one in told))
    words = ["--input", str(harmed), "--alerts", str(alerts), "--feedback", str(said)]
    assert retrain(deployment, "--dry-run", "--json", *words) == 0
    assert summary(capsys)["left_out"] == 0


def episodes(file: Path, start: int, end: int) -> Path:
    """Write one closed episode of each stream of the deployment, from second `start` to second `end` of its records."""
    made = alert(Event.CLOSE)
    first, last = (datetime.fromtimestamp(1_700_000_000 + second, UTC).isoformat() for second in (start, end))
    episode = replace(made.episode, start=first, last=last, end=last)
    said = [
        replace(made, alert_id=str(place), stream=replace(made.stream, key=f"s{place}"), episode=episode)
        for place in range(12)
    ]
    file.write_bytes(b"\n".join(map(msgspec.json.encode, said)))
    return file


def test_figures_that_are_not_numbers_are_null_in_json(
    deployment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole later part is known to be anomalous, so nothing is predicted in it."""
    alerts = episodes(tmp_path / "alerts.jsonl", 500, 700)
    assert retrain(deployment, "--dry-run", "--json", "--alerts", str(alerts)) == 0
    told = summary(capsys)
    assert told["decision"] == "keep"
    assert told["champion"]["loss"] is None
    assert told["challenger"]["loss"] is None


def test_where_known_anomalies_leave_too_few_events_the_refusal_names_them(
    deployment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a drift an episode may stay open to the end. More input of the same kind would not help."""
    alerts = episodes(tmp_path / "alerts.jsonl", 420, 599)
    assert retrain(deployment, "--dry-run", "--alerts", str(alerts)) == ExitCode.CONFIGURATION
    said = capsys.readouterr().err
    assert "too few held-out events" in said
    assert "(known anomalies (published episodes) exclude 2160 of 7200 events)" in said
    window = [{"name": "w", "start": "2023-11-14T22:13:20Z", "end": "2023-11-14T22:13:30Z"}]  # the first 10 seconds
    mute = ["--set", f"detection.mute={json.dumps(window)}"]
    assert retrain(deployment, "--dry-run", "--alerts", str(alerts), *mute) == ExitCode.CONFIGURATION
    said = capsys.readouterr().err
    assert "(detection.mute excludes 120 of 7200 events; known anomalies (published" in said


def test_a_window_as_long_as_the_later_parts_is_no_reason_to_keep_the_champion(
    deployment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    window = [{"name": "weekend", "start": "2023-11-14T22:19:10Z", "end": "2023-11-14T22:30:00Z"}]  # from second 350
    shares = ["--set", "training.validation_share=0.3", "--set", "training.test_share=0.3"]
    assert retrain(deployment, "--dry-run", "--json", *shares, "--set", f"detection.mute={json.dumps(window)}") == 0
    told = summary(capsys)
    assert told["champion"]["events"] == told["challenger"]["events"] == 12 * 105
    assert "not a number" not in json.dumps(told)


@pytest.mark.parametrize(
    "words", [["--if-drifted", "--alerts", "-"], ["--if-drifted", "--input", "-"], ["--alerts", "-", "--feedback", "-"]]
)
def test_standard_input_is_not_read_twice(words: list[str], deployment: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(b"")))
    assert retrain(deployment, "--dry-run", *words) == ExitCode.USAGE
    assert "name a file" in capsys.readouterr().err


# How a model is judged


@pytest.fixture(scope="module")
def judged_model(deployment: Path) -> Any:
    settings = load(deployment / "config.yaml", [])
    return build(settings, [observations([series(f"s{n}", 600, seed=n) for n in range(12)])], name="m")


def streams(spike_at: int | None = None) -> list[Series]:
    made = [series(f"{group}/{n}", 600, seed=40 + n) for group in ("a", "b") for n in range(3)]
    if spike_at is not None:
        made[0].values_TD[spike_at : spike_at + 8] += 40.0
    return made


CUTS = Cuts(300 * SECOND, 450 * SECOND)


def measures(model: Any, some: list[Series], known: dict[str, list[Stretch]] | None = None) -> Any:
    return judge(model, SCHEMA, Rules(alarms_per_day=50.0), some, CUTS, known or {}, 32)


def test_figures_are_of_the_later_part_alone(judged_model: Any) -> None:
    plain, early = measures(judged_model, streams()), measures(judged_model, streams(spike_at=100))
    assert plain.events == early.events == 6 * 150
    assert set(plain.groups) == {"a", "b"}
    assert plain.groups["b"] == early.groups["b"]


def test_streams_are_judged_together_however_few_a_partition_holds(judged_model: Any) -> None:
    some = [series(f"s{number}", 150, start=380, seed=number) for number in range(80)]
    few = Rules(alarms_per_day=50.0, max_streams=2)
    assert judge(judged_model, SCHEMA, few, some, CUTS, {}, 32) == measures(judged_model, some)


def test_the_streams_that_are_measured_are_taken_from_those_that_go_on_in_the_later_part(
    judged_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "MOST", 6)
    ended = [series(f"ended/{n}", 200, seed=n) for n in range(6)]
    mixed = [one for pair in zip(ended, streams(), strict=True) for one in pair]
    assert measures(judged_model, mixed) == measures(judged_model, streams())


def test_muted_events_are_none_of_the_later_ones(judged_model: Any) -> None:
    rules = Rules(alarms_per_day=50.0, mute=(MuteRule("w", 500 * SECOND, 540 * SECOND, streams=("a/*",)),))
    assert judge(judged_model, SCHEMA, rules, streams(), CUTS, {}, 32).events == 6 * 150 - 3 * 40


def test_an_anomaly_counts_as_a_false_alarm_unless_it_is_known(judged_model: Any) -> None:
    calm, odd = measures(judged_model, streams()), measures(judged_model, streams(spike_at=500))
    known = {"a/0": [Stretch(499 * SECOND, 515 * SECOND)]}
    assert odd.alarms > calm.alarms
    assert measures(judged_model, streams(spike_at=500), known).alarms == calm.alarms
    assert odd.loss > measures(judged_model, streams(spike_at=500), known).loss


def test_a_confirmed_anomaly_is_found_or_not(judged_model: Any) -> None:
    true = {"a/0": [Stretch(499 * SECOND, 515 * SECOND, confirmed=True)]}
    assert measures(judged_model, streams(spike_at=500), true).found == 1.0
    assert measures(judged_model, streams(), true).found == 0.0
    assert measures(judged_model, streams()).found is None


def test_a_confirmed_anomaly_that_the_records_do_not_hold_is_neither_found_nor_missed(judged_model: Any) -> None:
    there = Stretch(499 * SECOND, 515 * SECOND, confirmed=True)
    others = {
        "elsewhere": [there],
        "b/0": [Stretch(600 * SECOND, 700 * SECOND, True), Stretch(100 * SECOND, 120 * SECOND, True)],
    }
    assert measures(judged_model, streams(spike_at=500), {"a/0": [there], **others}).found == 1.0
    assert measures(judged_model, streams(spike_at=500), others).found is None
    last = {"b/0": [Stretch(599 * SECOND, 700 * SECOND, True)]}
    assert measures(judged_model, streams(spike_at=500), {"a/0": [there], **last}).found == 0.5


def test_a_group_far_worse_than_the_others_shows_in_its_own_figure(judged_model: Any) -> None:
    some = streams()
    for one in some[:3]:
        one.values_TD[450:] = np.random.default_rng(0).normal(size=(150, 2)) * 5
    told = measures(judged_model, some)
    assert told.groups["a"] > told.groups["b"] + 1


def test_a_stream_of_one_field_is_a_group_of_its_own() -> None:
    assert [group_of(key) for key in ("plant-1/press-2", "plant-1/oven", "press")] == ["plant-1", "plant-1", "press"]


@pytest.mark.parametrize(
    "words",
    [
        ("--alerts", "-", "--feedback", "-"),
        ("--input", "-", "--alerts", "-"),
        ("--if-drifted", "--alerts", "-"),
        ("--if-drifted", "--input", "-"),
        ("--worker", "--feedback", "-"),
    ],
)
def test_standard_input_is_refused_where_it_would_have_to_be_read_twice(
    deployment: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    config = ["--config", str(deployment / "config.yaml"), "--set", f"model.path={deployment}/registry@champion"]
    assert main(["retrain", *config, *words]) == ExitCode.USAGE
    assert "name a file" in capsys.readouterr().err

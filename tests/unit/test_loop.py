"""Training: it learns, gives the same result for the same seed to the last bit, and resumes where it stopped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_samples import SMALL, rows_and_cuts, settings

from anomaly_daemon.detection.artifact import Manifest, Model, decode, encode
from anomaly_daemon.detection.calibration import assumed
from anomaly_daemon.detection.network import Cell, Network
from anomaly_daemon.detection.observation import Numeric, Schema
from anomaly_daemon.errors import ConfigurationError, Incompatible
from anomaly_daemon.settings import TrainingSettings
from anomaly_daemon.training import checkpoint
from anomaly_daemon.training.bounds import Bounds, cut_short
from anomaly_daemon.training.checkpoint import Epoch, Progress
from anomaly_daemon.training.chunks import Lane, whole_runs
from anomaly_daemon.training.dataset import Cuts, Part
from anomaly_daemon.training.loop import Course, measure, train
from anomaly_daemon.training.optimizer import FINAL, WARM_UP, learning_rate

CPU = torch.device("cpu")


class StoppedError(Exception):
    """Simulates a training that is killed."""


def train_small(chosen: TrainingSettings, **more: object) -> tuple[Network, Progress]:
    rows, cuts = rows_and_cuts()
    return train(replace(SMALL, dropout=chosen.dropout), chosen, rows, cuts, Course(**more))  # type: ignore[arg-type]


def same_weights(one: Network, other: Network) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_training_lowers_the_validation_loss() -> None:
    _, progress = train_small(settings(epochs=25, patience=25, learning_rate=0.01))
    assert progress.curve[-1].validation < progress.curve[0].validation - 0.2


def test_the_same_seed_gives_the_same_loss_and_weights_to_the_last_bit() -> None:
    chosen = settings(dropout=0.3, seed=5)
    (first, one), (again, other) = train_small(chosen), train_small(chosen)
    assert one.curve == other.curve
    assert same_weights(first, again)


def test_another_seed_gives_another_loss() -> None:
    assert train_small(settings(seed=1))[1].curve != train_small(settings(seed=2))[1].curve


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_a_resumed_training_ends_as_an_uninterrupted_one(tmp_path: Path, optimizer: str) -> None:
    chosen, saved = settings(epochs=3, dropout=0.2, optimizer=optimizer), tmp_path / "checkpoint"
    begun = 0

    def stop_in_the_second_epoch(steps: Sequence[list[Lane]], _: str) -> Iterable[list[Lane]]:
        nonlocal begun
        begun += 1
        yield from steps
        if begun == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        train_small(chosen, saved=saved, track=stop_in_the_second_epoch)
    whole, uninterrupted = train_small(chosen)
    resumed, progress = train_small(chosen, saved=saved, resume=True)
    assert progress == uninterrupted
    assert same_weights(resumed, whole)


def test_a_finished_training_has_nothing_to_resume(tmp_path: Path) -> None:
    chosen, saved = settings(), tmp_path / "checkpoint"
    network, progress = train_small(chosen, saved=saved)

    def never(steps: Sequence[list[Lane]], _: str) -> Iterable[list[Lane]]:
        raise AssertionError("an epoch was run")

    again, same = train_small(chosen, saved=saved, resume=True, track=never)
    assert same == progress
    assert same_weights(network, again)


def test_without_resume_a_checkpoint_is_not_read(tmp_path: Path) -> None:
    saved = tmp_path / "checkpoint"
    saved.write_bytes(b"of another time")
    assert len(train_small(settings(), saved=saved)[1].curve) == 2


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    saved = tmp_path / "checkpoint"
    train_small(settings(), saved=saved)
    with pytest.raises(Incompatible, match="without --resume"):
        train_small(settings(learning_rate=0.004), saved=saved, resume=True)


@pytest.mark.parametrize("broken", [False, True])
def test_where_nobody_decides_training_begins_anew_beside_a_checkpoint_that_does_not_fit(
    tmp_path: Path, broken: bool
) -> None:
    saved, told = tmp_path / "checkpoint", list[str]()
    train_small(settings(), saved=saved)
    if broken:
        saved.write_bytes(saved.read_bytes()[:1000])
    other = settings(learning_rate=0.004)
    network, progress = train_small(other, saved=saved, resume=True, anew=True, note=told.append)
    whole, uninterrupted = train_small(other)
    assert progress == uninterrupted
    assert same_weights(network, whole)
    assert len(told) == 1
    assert "starts from the beginning" in told[0]


def test_a_worker_that_finds_no_checkpoint_has_nothing_to_say(tmp_path: Path) -> None:
    told = list[str]()
    train_small(settings(epochs=1), saved=tmp_path / "checkpoint", resume=True, anew=True, note=told.append)
    assert told == []


def test_a_broken_checkpoint_is_refused(tmp_path: Path) -> None:
    saved = tmp_path / "checkpoint"
    train_small(settings(), saved=saved)
    saved.write_bytes(saved.read_bytes()[:1000])
    with pytest.raises(Incompatible, match="not a training checkpoint"):
        train_small(settings(), saved=saved, resume=True)


def test_the_best_weights_are_those_returned() -> None:
    rows, cuts = rows_and_cuts()
    network, progress = train_small(settings(epochs=6, learning_rate=0.01))
    loss = measure(network, rows, whole_runs(rows, cuts, Part.VALIDATION), 32, CPU)
    assert float(loss.means()[0]) == progress.curve[progress.best].validation_prediction
    assert progress.curve[progress.best].validation == min(epoch.validation for epoch in progress.curve)


def test_training_stops_when_it_has_not_improved_for_patience_epochs() -> None:
    progress, bounds = Progress(), Bounds(epochs=99, patience=2)
    for epoch, validation in enumerate([3.0, 2.0, 2.5, 2.0]):
        assert not progress.over(bounds)
        progress.add(Epoch(epoch, 0.0, validation, 0.0, 0.0))
    assert progress.best == 1
    assert progress.over(bounds)


def test_a_loss_that_is_not_a_number_is_an_error_that_says_what_to_change() -> None:
    rows, cuts = rows_and_cuts()
    rows[1].values_TD[60] = np.nan
    with pytest.raises(ConfigurationError, match=r"learning_rate.*clip_norm"):
        train(SMALL, settings(), rows, cuts)


def test_a_part_without_events_is_an_error() -> None:
    rows, _ = rows_and_cuts()
    with pytest.raises(ConfigurationError, match="validation part"):
        train(SMALL, settings(), rows, Cuts(10**15, 10**15))


def test_the_validation_loss_does_not_depend_on_the_window_it_is_measured_with() -> None:
    rows, cuts = rows_and_cuts()
    network = Network(SMALL, torch.Generator().manual_seed(0))
    runs = whole_runs(rows, cuts, Part.VALIDATION)
    short, long = (measure(network, rows, runs, window, CPU) for window in (7, 500))
    assert torch.allclose(short.prediction, long.prediction, rtol=1e-5)
    assert torch.allclose(short.reconstruction, long.reconstruction, rtol=1e-5)
    assert (short.predicted, short.rebuilt) == (long.predicted, long.rebuilt)


@pytest.mark.parametrize("cell", list(Cell))
def test_every_cell_trains(cell: Cell) -> None:
    rows, cuts = rows_and_cuts()
    _, progress = train(replace(SMALL, cell=cell, layers=2), settings(epochs=1), rows, cuts)
    assert np.isfinite(progress.curve[0].validation)


def test_the_learning_rate_climbs_to_its_peak_and_falls_to_its_floor() -> None:
    rates = [learning_rate(share, 0.01) for share in np.linspace(0.0, 1.0, 101)]
    peak = int(np.argmax(rates))
    assert peak == round(100 * WARM_UP)
    assert rates[peak] == 0.01
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] == pytest.approx(0.01 * FINAL)


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    saved = tmp_path / "checkpoint"
    train_small(settings(epochs=1), saved=saved)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_weights_are_a_copy() -> None:
    network = Network(SMALL)
    kept = checkpoint.weights(network)
    with torch.no_grad():
        next(network.parameters()).add_(1.0)
    name = next(iter(kept))
    assert not torch.equal(kept[name], network.state_dict()[name])


@pytest.mark.parametrize(
    ("asked", "steps", "bounds"),
    [
        ({}, 1, (1000, 200)),  # a pass over little input is one step of the weights
        ({}, 7, (143, 29)),
        ({}, 50, (20, 4)),
        ({}, 5000, (20, 4)),
        ({"epochs": 2}, 1, (2, 200)),
        ({"patience": 3}, 1, (1000, 3)),
    ],
)
def test_as_many_passes_are_made_as_take_steps_enough_but_where_their_number_is_asked_for(
    asked: dict[str, int], steps: int, bounds: tuple[int, int]
) -> None:
    assert Bounds.of(TrainingSettings.model_validate(asked), steps) == bounds


def test_little_input_is_learned_until_nothing_more_is() -> None:
    rows, cuts = rows_and_cuts()
    _, few = train(SMALL, settings(epochs=20), rows, cuts)
    _, enough = train(SMALL, settings(epochs=None), rows, cuts)
    assert few.cut_short
    assert len(enough.curve) > 100
    assert enough.curve[enough.best].validation < few.curve[few.best].validation - 0.5


@pytest.mark.parametrize(
    ("losses", "most", "usual", "short"),
    [
        ([3.0, 2.0, 1.9, 1.8], 4, 4, True),
        ([3.0, 2.0, 1.9, 1.8], 5, 5, False),  # it ended before its bound
        ([3.0, 2.0, 1.9, 1.91], 4, 4, False),  # its last epoch is not its best
        ([3.0, 1.806, 1.803, 1.8], 4, 4, False),  # a falling learning rate gains this much at any end
        ([3.0, 1.806, 1.803, 1.8], 4, 1000, True),  # but not at such an early end
        ([3.0], 1, 1000, True),
    ],
)
def test_a_training_that_its_bound_ends_while_it_learns_is_cut_short(
    losses: list[float], most: int, usual: int, short: bool
) -> None:
    assert cut_short(losses, Bounds(most, 9), Bounds(usual, 9)) == short


def test_the_largest_widths_and_seeds_that_settings_allow_train_and_are_read_back() -> None:
    chosen = settings(epochs=1, seed=10**15, head=[65_536])
    rows, cuts = rows_and_cuts()
    config = replace(SMALL, head=tuple(chosen.head))
    network, _ = train(config, chosen, rows, cuts)
    schema = Schema(tuple(Numeric(f"x{place}") for place in range(config.values)), ("c",))
    (classes,) = config.classes
    manifest = Manifest("m", "1", config, schema=schema, vocabulary={"c": [f"{place}" for place in range(classes - 1)]})
    assert decode(*encode(Model(manifest, network, assumed(1, ("level",))))).manifest.network == config

"""Training in two processes by torchrun reaches the loss of one process with the same batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from test_loop import CPU, train_small
from training_samples import settings, write_recording

from anomaly_daemon.training.ahead import one_ahead
from anomaly_daemon.training.parallel import Ranks, joined

TRAIN = ("-m", "anomaly_daemon.cli", "train")
GENTLE = ("--set", "training.learning_rate=0.0001", "--set", "training.optimizer=rmsprop")
"""Floating-point sums are added in another order. Large steps would amplify the difference."""
TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def curve(folder: Path, launcher: tuple[str, ...], output: str, *more: str) -> list[dict[str, Any]]:
    """Return the epochs that `train` prints."""
    arguments = [
        "-c",
        str(folder / "config.yaml"),
        "--device",
        "cpu",
        "--output",
        str(folder / output),
        "--json",
        *more,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launcher, *TRAIN, *arguments], capture_output=True, text=True, timeout=240, env=environment
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return [line["epoch"] for line in lines if "epoch" in line]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("streams", [12, 1])
def test_two_processes_reach_the_loss_of_one_and_one_of_them_tells(tmp_path: Path, streams: int) -> None:
    write_recording(tmp_path, events=7200 // streams, streams=streams)
    one, two = curve(tmp_path, (), "one", *GENTLE), curve(tmp_path, TWO, "two", *GENTLE)
    assert len(one) == len(two) == 3
    for alone, together in zip(one, two, strict=True):
        for name in ("training", "validation", "validation_prediction", "validation_reconstruction"):
            assert together[name] == pytest.approx(alone[name], rel=1e-6), name
    assert one[-1]["validation"] < one[0]["validation"]


@pytest.mark.timeout(300)
def test_where_the_leader_leaves_a_training_all_leave_it_and_the_next_is_whole(tmp_path: Path) -> None:
    words = [sys.executable, *TWO, str(Path(__file__).with_name("leading.py")), str(tmp_path)]
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=240, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    (told,) = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    given_up, refused = ["GivenUpError"], ["ConfigurationError"]
    assert told["left"] == [*2 * given_up, "Unavailable", *2 * refused, *given_up]
    assert len(set(told["losses"])) == 1  # also of the one that went on from a checkpoint
    alone = train_small(settings())[1].curve[-1].validation
    assert told["losses"][0] == pytest.approx(alone, rel=1e-5)
    # Threads of the group in which the leader speaks could abort the interpreter at its end. The two threads of the
    # other group are kept by torch.
    assert told["threads"] <= 2


def test_shares_are_all_of_a_batch_and_no_row_twice() -> None:
    for world in (1, 2, 3, 5):
        for size in range(9):
            taken = [row for rank in range(world) for row in range(size)[Ranks(rank, world).share(size)]]
            assert taken == list(range(size))


def test_without_torchrun_a_process_is_alone_and_leads() -> None:
    with joined(CPU) as (device, ranks):
        assert (device, ranks, ranks.leads) == (CPU, Ranks(0, 1), True)


def test_mixed_precision_learns_the_same_but_for_rounding() -> None:
    chosen = {"epochs": 6, "patience": 6}
    exact = train_small(settings(**chosen))[1].curve
    mixed_network, mixed = train_small(settings(**chosen, precision="bfloat16"))
    assert all(weight.dtype == torch.float32 for weight in mixed_network.parameters())
    assert mixed.curve != exact
    assert mixed.curve[-1].validation == pytest.approx(exact[-1].validation, abs=0.05)
    assert mixed.curve[-1].validation < mixed.curve[0].validation


def test_what_is_made_ahead_comes_in_order_and_its_error_is_raised_where_it_is_taken() -> None:
    assert list(one_ahead(lambda item: item * item, range(5))) == [(at, at * at) for at in range(5)]
    assert list(one_ahead(str, [])) == []
    taken = []
    with pytest.raises(ZeroDivisionError):
        taken += [item for item, _ in one_ahead(lambda item: 1 / item, [2, 1, 0])]
    assert taken == []

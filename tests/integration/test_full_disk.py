"""Commands whose disk is full report this, end with 69, and leave existing files intact."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from test_run_files import LINES

from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.errors import ExitCode
from anomaly_daemon.registry.registry import Registry
from anomaly_daemon.settings import PRETRAINED

ENOUGH = 3000  # number of readings; the share of them that is held out is enough to calibrate a network


def command(*words: str, most_bytes: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command. With `most_bytes`, no file can grow beyond that many bytes, as on a full disk."""
    full = None if most_bytes is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    program = [sys.executable, "-m", "anomaly_daemon.cli", *words]
    return subprocess.run(program, capture_output=True, text=True, timeout=240, preexec_fn=full)


def last(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.splitlines()[-1]


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "readings.jsonl"
    path.write_text("\n".join(LINES) + "\n")
    return path


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the device that is always full is Linux's")
def test_a_configuration_that_does_not_fit_is_no_bug(recorded: Path) -> None:
    done = command("init", str(recorded), "--output", "/dev/full", "--force")
    assert done.returncode == ExitCode.UNAVAILABLE, done.stderr
    assert "there is no room on disk for a file" in last(done)


@pytest.mark.parametrize("most_bytes", [1_000, 100_000])
def test_a_model_is_in_the_registry_whole_or_not_at_all(tmp_path: Path, most_bytes: int) -> None:
    words = ("models", "publish", PRETRAINED, "--registry", str(tmp_path / "registry"), "--as", "champion")
    done = command(*words, most_bytes=most_bytes)
    assert done.returncode == ExitCode.UNAVAILABLE, done.stderr
    assert "make room there" in last(done)
    registry = Registry.at(str(tmp_path / "registry"))
    assert registry.digests() == []
    assert command(*words).returncode == 0
    assert registry.resolve("champion") == read_model(PRETRAINED).digest


def test_a_checkpoint_that_does_not_fit_is_told_of_and_nothing_half_stays(tmp_path: Path) -> None:
    recorded, config, model = tmp_path / "readings.jsonl", tmp_path / "config.yaml", tmp_path / "model"
    lines = [{"id": "press", "time": 1_700_000_000 + 60 * at, "temperature": 20.0 + at % 7} for at in range(ENOUGH)]
    recorded.write_text("".join(json.dumps(line) + "\n" for line in lines))
    config.write_text(
        f"source: {{kind: files, paths: [{recorded}]}}\nstream: {{key: [id], time: time, numeric: [temperature]}}\n"
        "training: {epochs: 2, window: 16, hidden: 50, validation_share: 0.4}\n"
    )
    words = ("train", "--config", str(config), "--output", str(model), "--device", "cpu")
    done = command(*words, most_bytes=20_000)
    assert done.returncode == ExitCode.UNAVAILABLE, done.stderr
    assert "cannot be written" in last(done)
    assert list(tmp_path.glob("model*")) == []

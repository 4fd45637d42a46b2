"""A path that this user may not read or write ends any command with 77 and the path, before the work begins.

Root may do anything, so where the tests run as root the commands run without the capabilities that make this so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training_samples import SMALL, settings, write_recording

from anomaly_daemon.errors import ExitCode, NotPermitted, Unavailable
from anomaly_daemon.training.checkpoint import Standing, save

BARRED = "-dac_override,-dac_read_search"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration and its recording. In it, `locked` is a folder that may not be listed, `read_only`
    one that may not be written to, and `secret` a file that may not be read."""
    folder = tmp_path_factory.mktemp("place")
    write_recording(folder, events=300, streams=1)
    for name in ("locked", "read_only"):
        (folder / name).mkdir()
    shutil.copy(folder / "recorded.jsonl", folder / "locked" / "in.jsonl")
    (folder / "secret").write_text("{}\n")
    for name, mode in (("locked", 0o000), ("read_only", 0o555), ("secret", 0o000)):
        (folder / name).chmod(mode)
    return folder


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root, and no setpriv")
@pytest.mark.parametrize(
    ("words", "path"),
    [
        ("train {config} --output {folder}/read_only/m", "read_only/m: this user may not write in"),
        ("train {config} --output {folder}/read_only/models/m", "read_only/models/m: this user may not write in"),
        ("train {config} --output {folder}/m --input {folder}/secret", "secret"),
        ("run {config} {files} --set sink.path={folder}/read_only/alerts.jsonl", "read_only/alerts.jsonl"),
        ("run {config} {files} --set snapshot.path={folder}/read_only/state", "read_only/state"),
        ("run {config} {files} --set snapshot.path={folder}/locked", "locked"),
        ('run {config} {files} --set source.paths=["{folder}/locked/in.jsonl"]', "locked/in.jsonl"),
        ('validate {config} {files} --set source.paths=["{folder}/secret"]', "secret"),
        ("validate {config} --set model.path={folder}/locked", "locked"),
        ("alerts --file {folder}/secret", "secret"),
        ("dead-letters --file {folder}/secret", "secret"),
        ("replay abc {config} --file {folder}/secret", "secret"),
        ("backtest {config} {folder}/recorded.jsonl --labels {folder}/secret", "secret"),
        ("backtest {config} {folder}/locked", "locked"),
        ("validate {config} {login} --set kafka.sasl_plain_password_file={folder}/secret", "secret may not be read"),
    ],
)
def test_what_this_user_may_not_touch_is_named_with_code_77(words: str, path: str, place: Path) -> None:
    files = (
        f"--set source.kind=files --set sink.kind=files --set http.enabled=false --set sink.path={place}/alerts.jsonl"
    )
    login = " ".join(
        f"--set kafka.{one}" for one in ("security_protocol=SASL_SSL", "sasl_mechanism=PLAIN", "sasl_plain_username=me")
    )
    asked = words.format(config=f"-c {place}/config.yaml", files=files, folder=place, login=login).split()
    barred = ["setpriv", "--bounding-set", BARRED, "--inh-caps", BARRED] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*barred, sys.executable, "-m", "anomaly_daemon.cli", *asked],
        capture_output=True,
        text=True,
        timeout=150,
        cwd=place,
    )
    assert done.returncode == ExitCode.NOT_PERMITTED, done.stderr
    assert str(place / path) in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_checkpoint_that_may_not_be_written_is_no_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refused)
    chosen = settings()
    with pytest.raises(
        NotPermitted, match=r"checkpoint cannot be written.*the checkpoint of the previous epoch is kept"
    ):
        save(tmp_path / "checkpoint", {}, Standing.begun(SMALL, chosen, torch.device("cpu")))


def test_a_checkpoint_that_may_not_take_the_place_of_the_one_before_leaves_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(here: Path, there: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    standing = Standing.begun(SMALL, settings(), torch.device("cpu"))
    save(tmp_path / "checkpoint", {}, standing)
    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(NotPermitted, match="cannot be written"):
        save(tmp_path / "checkpoint", {}, standing)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_a_checkpoint_on_a_read_only_disk_is_told_of_as_one_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, **_: bool) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "touch", refused)
    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(Unavailable, match=r"cannot be written.*Read-only"):
        save(tmp_path / "checkpoint", {}, Standing.begun(SMALL, settings(), torch.device("cpu")))

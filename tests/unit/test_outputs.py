"""The place where a command is to write is checked before the work begins, and no file that a person owns is
overwritten."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

import pytest
from training_samples import write_recording

from anomaly_daemon.checkpoint.models import read_model, write_model
from anomaly_daemon.cli import main
from anomaly_daemon.commands.outputs import refuse_unwritable
from anomaly_daemon.errors import ExitCode, NotPermitted, UsageError


@pytest.mark.parametrize("named", ["nowhere/out.html", "", "records.csv"])
def test_a_folder_that_is_not_there_a_folder_and_the_input_itself_are_refused(named: str, tmp_path: Path) -> None:
    records = tmp_path / "records.csv"
    records.write_text("a\n1\n")
    with pytest.raises(
        UsageError, match=r"--report .*: (there is no folder|this is a folder|this file is an input of the command)"
    ):
        refuse_unwritable("--report", tmp_path / named, [str(records), "-"])


def test_what_is_there_may_be_written_anew_and_what_is_not_asked_for_is_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "old.html").write_text("old")
    refuse_unwritable("--report", tmp_path / "old.html", [str(tmp_path / "records.csv")])
    refuse_unwritable("--report", tmp_path / "new.html")
    refuse_unwritable("--report", None)
    left = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert left == {"old.html": "old"}, "looked at, and not touched"


def test_a_file_that_this_user_may_not_write_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(NotPermitted, match="this user may not write there"):
        refuse_unwritable("--report", tmp_path / "new.html")


def test_a_link_is_followed_to_where_the_file_would_be_created(tmp_path: Path) -> None:
    link, looped = tmp_path / "link", tmp_path / "looped"
    link.symlink_to(tmp_path / "nowhere" / "cases.jsonl")
    looped.symlink_to(looped)
    config = write_recording(tmp_path)
    with pytest.raises(UsageError, match=r"there is no folder .*nowhere"):
        refuse_unwritable("--report", link)
    for option in ("--gate", "--report"):
        assert main(["backtest", "-c", str(config), option, str(link)]) == ExitCode.USAGE
    assert main(["backtest", "-c", str(config), "--gate", str(looped)]) != ExitCode.BUG
    (tmp_path / "nowhere").mkdir()
    refuse_unwritable("--report", link)


@pytest.mark.parametrize(
    "command", ["init {records}", "backtest -c {config} --report", "backtest -c {config} --scores"]
)
def test_commands_say_so_and_leave_the_records_alone(command: str, tmp_path: Path) -> None:
    config = write_recording(tmp_path)
    records = next(tmp_path.glob("*.jsonl"))
    before = records.read_bytes()
    words = command.format(config=config, records=records).split()
    missing = tmp_path / "nowhere" / "out.csv"
    option = ["--output", str(missing)] if words[0] == "init" else [str(missing)]
    assert main([*words, *option]) == ExitCode.USAGE
    own = ["--output", str(records), "--force"] if words[0] == "init" else [str(records), "--", str(records)]
    assert main([*words, *own]) == ExitCode.USAGE
    assert records.read_bytes() == before


def test_a_model_takes_the_place_of_a_model_and_of_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_recording(tmp_path)
    notes = tmp_path / "kept"
    notes.mkdir()
    (notes / "notes.txt").write_text("precious")
    for output in (config, config / "model", notes):
        assert main(["train", "--config", str(config), "--output", str(output)]) == ExitCode.USAGE
    assert "name a folder for the model alone" in capsys.readouterr().err
    assert (notes / "notes.txt").read_text() == "precious"
    assert config.is_file()
    shipped = read_model("pretrained")
    for _ in range(2):
        write_model(shipped, tmp_path / "models" / "new")
    assert read_model(tmp_path / "models" / "new").digest == shipped.digest


def test_the_folder_that_one_stands_in_is_none_for_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_recording(tmp_path)
    inner = tmp_path / "empty"
    inner.mkdir()
    monkeypatch.chdir(inner)
    for output in (".", "..", str(inner)):
        assert main(["train", "--config", str(config), "--output", output]) == ExitCode.USAGE
        assert "the current folder" in capsys.readouterr().err


def test_what_is_no_training_checkpoint_is_neither_written_over_nor_taken_away(tmp_path: Path) -> None:
    config = write_recording(tmp_path)
    foreign = tmp_path / "new.checkpoint"
    for content in (
        b"mine",
        b"",
        Path(str(files("anomaly_daemon") / "pretrained" / "weights.safetensors")).read_bytes(),
    ):
        foreign.write_bytes(content)
        assert main(["train", "--config", str(config), "--output", str(tmp_path / "new")]) == ExitCode.USAGE
        assert foreign.read_bytes() == content
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("command", [["demo"], ["replay", "x"]])
@pytest.mark.parametrize("named", ["found.foo", "nowhere/found.png"])
def test_a_picture_that_cannot_be_is_refused_before_the_work(command: list[str], named: str, tmp_path: Path) -> None:
    assert main([*command, "--picture", str(tmp_path / named)]) == ExitCode.USAGE

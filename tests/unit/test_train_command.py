"""`train` from a file to an artifact, as a person runs it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from training_samples import write_recording

from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.cli import main
from anomaly_daemon.commands import train as command
from anomaly_daemon.detection.network import Layout
from anomaly_daemon.errors import ExitCode
from anomaly_daemon.settings import PRETRAINED
from anomaly_daemon.training import recorded
from anomaly_daemon.training.checkpoint import Epoch
from anomaly_daemon.training.curve import cells, draw, sparkline
from anomaly_daemon.transport.ports import RecordBatch

CURVE = [Epoch(place, 2.0, validation, 1.0, 0.5) for place, validation in enumerate([3.0, 1.0, 2.0])]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recording(tmp_path_factory.mktemp("recording"))


def train(config: Path, output: Path, *more: str) -> int:
    return main(["train", "--config", str(config), "--output", str(output), "--device", "cpu", *more])


def test_an_artifact_is_written_that_fits_the_configuration(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, picture = tmp_path / "models" / "small", tmp_path / "curve.png"
    assert train(config, output, "--plot", str(picture), "--set", "training.hidden=52") == 0
    said = capsys.readouterr()
    assert "validation" in said.out
    assert said.err == ""
    model = read_model(str(output))
    assert (model.manifest.name, model.manifest.network.hidden) == ("small", 52)
    assert model.manifest.schema is not None
    assert model.manifest.schema.names == ("a", "b", "mode")
    assert set(model.manifest.vocabulary["mode"]) == {"on", "off"}
    assert model.calibration.samples > 200
    assert {"range", "settings", "curve", "metrics", "best_epoch"} <= set(model.manifest.training)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in output.parent.iterdir()] == ["small"]


def test_json_gives_every_epoch_and_then_the_summary_and_the_same_seed_gives_the_same_model(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summaries = []
    for name in ("one", "two"):
        assert train(config, tmp_path / name, "--json", "--seed", "7", "--name", "tiny") == 0
        *epochs, last = (json.loads(line) for line in capsys.readouterr().out.splitlines())
        assert [line["epoch"]["epoch"] for line in epochs] == [0, 1, 2]
        summaries.append(last["summary"])
    assert summaries[0]["model"] == summaries[1]["model"]
    assert summaries[0]["model"]["name"] == "tiny"
    assert train(config, tmp_path / "three", "--json", "--seed", "8") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["summary"]["model"] != summaries[0]["model"]


def test_the_channel_layout_fits_any_schema(config: Path, tmp_path: Path) -> None:
    assert train(config, tmp_path / "m", "--set", "training.layout=channel", "--set", "training.epochs=1") == 0
    manifest = read_model(str(tmp_path / "m")).manifest
    assert manifest.schema is None
    assert manifest.network.layout is Layout.CHANNEL


def test_a_stopped_training_says_how_to_go_on_and_ends_the_same(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from anomaly_daemon.training import loop

    epoch, begun = loop._one_epoch, 0

    def killed(*args: object) -> float:
        nonlocal begun
        begun += 1
        if begun == 2:
            raise KeyboardInterrupt
        return epoch(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "_one_epoch", killed)
    assert train(config, tmp_path / "stopped") == 130
    assert "--resume" in capsys.readouterr().err
    assert train(config, tmp_path / "stopped", "--resume") == 0
    assert begun == 4  # one in the first run, the one that was killed, and two after it
    assert train(config, tmp_path / "whole") == 0
    assert read_model(str(tmp_path / "stopped")).digest == read_model(str(tmp_path / "whole")).digest


def stopped_after_an_epoch(config: Path, output: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("anomaly_daemon.training.build.evaluate", interrupted)
        assert train(config, output, "--set", "training.epochs=1", *more) == 130


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--set", 'stream.numeric=["a"]'], "other fields"),
        (["--set", 'stream.numeric=["b", "a"]'], "other fields"),
        (["--set", 'stream.numeric=["a", {"name": "b", "transform": "log"}]'], "other fields"),
        (["--set", 'stream.numeric=["a", {"name": "b", "direction": "above"}]'], "other fields"),
        (["--set", "detection.adaptation_events=300"], "other detection.adaptation_events"),
        (["--set", "training.validation_share=0.2"], "other cuts"),
        (["--set", "training.learning_rate=0.002"], "other training settings"),
        (["--input", "fewer.jsonl"], "other records (there 7,200 events of 12 streams"),
        (["--input", "odd.jsonl"], "other records: use the same ones"),
        (["--seed", "9"], "other training settings"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused_and_says_in_what(
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    said: str,
) -> None:
    lines = (config.parent / "recorded.jsonl").read_text().splitlines()
    (tmp_path / "fewer.jsonl").write_text("\n".join(lines[:-1]))
    odd = json.loads(lines[77])
    odd["a"] += 1e-9
    (tmp_path / "odd.jsonl").write_text("\n".join([*lines[:77], json.dumps(odd), *lines[78:]]))
    stopped_after_an_epoch(config, tmp_path / "m", monkeypatch)
    words = [str(tmp_path / word) if word.endswith(".jsonl") else word for word in more]
    assert train(config, tmp_path / "m", "--resume", "--set", "training.epochs=1", *words) == ExitCode.CONFIGURATION
    told = capsys.readouterr().err
    assert "m.checkpoint is of another training, with" in told
    assert said in told
    assert (tmp_path / "m.checkpoint").exists()


def test_what_decides_no_training_does_not_keep_it_from_going_on(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped_after_an_epoch(config, tmp_path / "m", monkeypatch)
    capsys.readouterr()
    more = ["--set", "training.epochs=1", "--set", "detection.budget.alarms_per_stream_per_day=3", "--resume"]
    assert train(config, tmp_path / "m", *more) == 0
    assert capsys.readouterr().err == ""


def test_where_nothing_can_be_resumed_it_is_said(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(config, tmp_path / "m", "--resume", "--set", "training.epochs=1") == 0
    assert f"nothing to resume: there is no {tmp_path / 'm.checkpoint'}" in capsys.readouterr().err


def test_a_doubled_input_makes_the_same_model_and_says_what_was_left_out(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded, few = str(config.parent / "recorded.jsonl"), ["--set", "training.epochs=1"]
    assert train(config, tmp_path / "plain", *few, "--input", recorded) == 0
    assert capsys.readouterr().err == ""
    assert train(config, tmp_path / "doubled", *few, "--input", recorded, recorded) == 0
    assert "7,200 of 14,400 events skipped: exact repeats" in capsys.readouterr().err
    assert read_model(str(tmp_path / "plain")).digest == read_model(str(tmp_path / "doubled")).digest


def test_a_range_of_the_topic_is_read_when_asked(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def from_topic(settings: object, topic: str, start: object, end: object, *_: object) -> Iterator[RecordBatch]:
        asked.append((topic, start, end))
        return iter(())

    monkeypatch.setattr(recorded, "from_topic", from_topic)
    more = ["--from-topic", "--start", "2026-01-01", "--end", "500", "--set", "source.topic=readings"]
    assert train(config, tmp_path / "m", *more) == ExitCode.NO_INPUT  # this range holds no record
    assert asked == [("readings", "2026-01-01", 500)]


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--input", "x", "--from-topic"], ExitCode.USAGE, "not both"),
        (["--start", "5"], ExitCode.USAGE, "--from-topic"),
        (["--from-topic"], ExitCode.CONFIGURATION, "source.topic"),
        (["--input", "not-there.jsonl"], ExitCode.NO_INPUT, "not-there.jsonl"),
        (["--set", "stream.time=elsewhere"], ExitCode.INPUT, "could not be read"),
        (["--set", "stream.numeric=[]"], ExitCode.CONFIGURATION, "numeric"),
        (["--set", "training.validation_share=0.01"], ExitCode.CONFIGURATION, "validation_share"),
    ],
)
def test_what_is_wrong_is_told_with_what_to_change(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], code: int, said: str
) -> None:
    assert train(config, tmp_path / "m", *more) == code
    assert said in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("below", ["", "model"])
def test_a_link_to_nothing_is_refused_before_the_training(
    below: str, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    assert train(config, tmp_path / "link" / below) == ExitCode.USAGE
    assert "link is a link to nothing" in capsys.readouterr().err


def test_the_shipped_model_is_not_where_training_writes_by_default() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", "--config", "x.yaml"])
    assert ended.value.code == ExitCode.USAGE
    assert read_model(PRETRAINED).ref.name == "pretrained"


def test_the_curve_is_drawn_from_its_lowest_to_its_highest_point(tmp_path: Path) -> None:
    assert sparkline([one.validation for one in CURVE]) == "█▁▅"
    assert sparkline([1.0, 1.0]) == "▁▁"
    headings, rows = cells(CURVE, best=1)
    assert headings[2] == "validation"
    assert [row[-1] for row in rows] == ["", "best", ""]
    draw(CURVE, 1, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_of_a_long_curve_a_page_is_shown_the_best_and_the_last_among_it() -> None:
    curve = [Epoch(place, 2.0, 1.0 + abs(place - 777) / 1000, 1.0, 0.5) for place in range(1000)]
    line, (_, rows) = sparkline([one.validation for one in curve]), cells(curve, best=777)
    assert (len(line), line[0], line[-1]) == (60, "█", "▃")
    assert len(rows) == 26
    assert (rows[0][0], rows[-1][0], [row[0] for row in rows if row[-1] == "best"]) == ("1", "1000", ["778"])


def test_a_training_that_its_bound_ended_names_the_key_to_raise(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(config, tmp_path / "m", "--set", "training.epochs=2") == 0
    assert "while it was still improving: raise training.epochs, or leave it out" in capsys.readouterr().out
    assert train(config, tmp_path / "n", "--json", "--set", "training.epochs=2") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["summary"]["cut_short"] is True


def test_every_record_of_every_file_is_read_once(config: Path) -> None:
    from anomaly_daemon.configuration import load

    settings = load(config, [])
    path = str(config.parent / "recorded.jsonl")
    batches: Iterable[RecordBatch] = recorded.from_files(settings, [path, path])
    assert sum(len(batch) for batch in batches) == 2 * 7200


def test_the_input_may_be_a_folder_or_a_pattern(config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    lines = (config.parent / "recorded.jsonl").read_text().splitlines(keepends=True)
    for place in range(2):
        (folder / f"{place}.jsonl").write_text("".join(lines[place::2]))
    digests = set()
    for place, named in enumerate((folder, folder / "*.jsonl")):
        output = tmp_path / str(place)
        assert train(config, output, "--input", str(named), "--name", "n", "--set", "training.epochs=1") == 0
        digests.add(read_model(str(output)).digest)
    assert len(digests) == 1


def test_an_input_without_a_record_is_called_one(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    assert train(config, tmp_path / "model", "--input", str(empty)) == ExitCode.NO_INPUT
    assert "there is no record to read" in capsys.readouterr().err


@pytest.mark.parametrize(("network", "warned"), [(0.2, False), (0.5, True), (0.9, True)])
def test_a_network_that_does_not_beat_the_last_value_is_told_of(network: float, warned: bool) -> None:
    found = command._warning({"events": 9, "network": {"nll": network}, "last_value": {"nll": 0.5}})
    assert (found is not None) == warned
    assert command._warning({"network": {"category_nll": 0.1}}) is None


def test_too_little_held_out_is_told_before_any_epoch(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each epoch would leave its checkpoint."""
    few = ["--set", "training.validation_share=0.1", "--set", "detection.grace_events=570"]
    assert train(config, tmp_path / "model", *few) == ExitCode.CONFIGURATION
    assert (
        "too few held-out events to calibrate with: 0 held-out events past a stream's first 570"
        in capsys.readouterr().err
    )
    assert not list(tmp_path.iterdir())


def test_a_field_that_no_event_holds_is_refused_before_the_training(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = ["--set", 'stream.numeric=["a", "bb"]', "--set", 'stream.categorical=["mood"]']
    assert train(config, tmp_path / "model", *fields) == ExitCode.CONFIGURATION
    said = capsys.readouterr().err
    assert "stream.numeric bb, stream.categorical mood: has no value in any of" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("without", "more", "said"),
    [
        (["a"], [], "stream.numeric a: no value to learn from in the training part, the first 5,040 events"),
        (["a", "b"], [], "stream.numeric a, stream.numeric b: no value to learn from"),
        (["mode"], [], "stream.categorical mode: no value"),
        (["a", "b"], ["--set", "training.layout=channel"], "stream.numeric a, stream.numeric b: no value"),
        (["a"], ["--set", "training.layout=channel"], None),  # in this layout fields share weights
    ],
)
def test_a_field_that_the_part_to_train_on_does_not_hold_is_refused_before_the_training(
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    without: list[str],
    more: list[str],
    said: str | None,
) -> None:
    """A few values are not enough, because the first ones of a stream are not normalised."""
    told = [json.loads(line) for line in (config.parent / "recorded.jsonl").read_text().splitlines()]
    late = [one if 3 < one["time"] - 1_700_000_000 < 8 and "mode" not in without else {} for one in told]
    for one, few in zip(told, late, strict=True):
        if one["time"] < 1_700_000_000 + 430:
            one |= {name: few.get(name) for name in without}
    (tmp_path / "late.jsonl").write_text("\n".join(map(json.dumps, told)))
    words = ["--input", str(tmp_path / "late.jsonl"), "--set", "training.epochs=1", *more]
    assert train(config, tmp_path / "model", *words) == (ExitCode.CONFIGURATION if said else ExitCode.OK)
    assert (said or "") in capsys.readouterr().err
    assert (tmp_path / "model").exists() == (said is None)

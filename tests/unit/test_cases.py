"""Labelled alerts as regression cases: they are kept and judged, and never pass because records are missing."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from report_samples import HOUR, START, alert, seen

from anomaly_daemon.cli import main
from anomaly_daemon.commands.gate import cases_of
from anomaly_daemon.detection.alert import Event, Kind
from anomaly_daemon.detection.feedback import Label
from anomaly_daemon.errors import ExitCode, Incompatible
from anomaly_daemon.report.cases import Case, decode, judge, with_new
from anomaly_daemon.report.episodes import EpisodeBook, iso, micros
from anomaly_daemon.transport import alert_codec

CASE = Case("one", Label.TRUE, "press", "pattern", START + HOUR, START + 2 * HOUR)
WHOLE = {"press": (START, START + 9 * HOUR)}


def passed(
    label: Label, *raised: tuple[str, str, int, int | None], spans: dict[str, tuple[int, int]] = WHOLE
) -> object:
    """Return whether a case from hour 1 to hour 2 passes. `raised` gives stream, kind, first and last hour of each
    episode that was found."""
    episodes = [seen(stream, a, kind, None if b is None else b - a) for stream, kind, a, b in raised]
    by_stream = {key: [span] for key, span in spans.items()}
    (verdict,) = judge([msgspec.structs.replace(CASE, label=label)], episodes, by_stream, by_stream)
    return verdict.passed


@pytest.mark.parametrize(
    ("raised", "found"),
    [
        (("press", "pattern", 1, 2), True),
        (("press", "pattern", 0, 1), True),
        (("press", "pattern", 2, 3), True),
        (("press", "pattern", 0, None), True),
        (("press", "pattern", 3, 4), False),
        (("oven", "pattern", 1, 2), False),
        (("press", "silence", 1, 2), False),
    ],
)
def test_a_true_case_has_to_be_met_and_a_false_one_must_not(
    raised: tuple[str, str, int, int | None], found: bool
) -> None:
    assert passed(Label.TRUE, raised) is found
    assert passed(Label.FALSE, raised) is not found


@pytest.mark.parametrize(
    "spans", [{}, {"press": (START + HOUR + 1, START + 9 * HOUR)}, {"press": (START, START + HOUR)}]
)
def test_a_case_whose_stretch_is_not_in_the_records_neither_passes_nor_fails(spans: dict[str, tuple[int, int]]) -> None:
    assert passed(Label.FALSE, spans=spans) is None


def test_a_case_between_two_recordings_of_its_stream_is_not_in_the_records() -> None:
    case = msgspec.structs.replace(CASE, label=Label.FALSE)
    around = {"press": [(START, START + HOUR), (START + 2 * HOUR, START + 9 * HOUR)]}
    within = {"press": [(START - 9 * HOUR, START), (START, START + 9 * HOUR)]}
    assert [judge([case], [], spans, spans)[0].passed for spans in (around, within)] == [None, True]


@pytest.mark.parametrize(
    ("kind", "own", "whole", "told"),
    [
        ("silence", (START, START + HOUR // 2), (START, START + 9 * HOUR), True),  # others go on: it was looked for
        ("silence", (START, START + HOUR // 2), (START, START + HOUR), None),
        ("silence", (START + HOUR + 1, START + 9 * HOUR), (START, START + 9 * HOUR), None),
        ("pattern", (START, START + HOUR // 2), (START, START + 9 * HOUR), None),
    ],
)
def test_a_silence_is_in_the_records_for_as_long_as_other_streams_go_on(
    kind: str, own: tuple[int, int], whole: tuple[int, int], told: bool | None
) -> None:
    case = msgspec.structs.replace(CASE, kind=kind, label=Label.FALSE)
    assert judge([case], [], {"press": [own]}, {"press": [whole]})[0].passed is told


def test_the_gate_finds_the_silence_of_a_stream_that_did_not_come_back(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = config.parent / "records.jsonl"
    stops = (f'{{"t": {START // 1_000_000 + 60 * at}, "k": "oven", "level": {5 + at % 3}}}' for at in range(300))
    lines = records.read_text().splitlines()
    records.write_text("\n".join(line for both in zip(lines, stops, strict=False) for line in both))
    with records.open("a") as more:
        more.write("\n" + "\n".join(lines[300:]))
    case = msgspec.structs.replace(CASE, stream="oven", kind="silence", start=START + 6 * HOUR, end=START + 6 * HOUR)
    cases = config.parent / "cases.jsonl"
    cases.write_bytes(msgspec.json.encode(case) + b"\n")
    assert main(["backtest", "-c", str(config), "--gate", str(cases)]) == ExitCode.OK
    assert "gate: 1 cases passed" in capsys.readouterr().out


def test_labels_make_cases_of_alerts_and_the_last_word_counts() -> None:
    alerts = [replace(seen("press", 4), alert_id=name) for name in ("two", "three", "four")]
    said = {"two": Label.FALSE, "three": Label.EXPECTED, "one": Label.FALSE}
    cases = with_new([CASE], alerts, said)
    assert [(case.alert_id, case.label) for case in cases] == [("one", Label.FALSE), ("two", Label.FALSE)]
    assert with_new(cases, [], {"one": Label.NEW_NORMAL}) == cases[1:]


def test_an_episode_that_was_open_when_it_was_labelled_lasts_until_its_last_message() -> None:
    book = EpisodeBook()
    told, later = alert(Event.OPEN), alert(Event.UPDATE)
    last = micros(later.episode.last) + 5 * HOUR
    book.add(told)
    book.add(replace(later, episode=replace(later.episode, last=iso(last))))
    (case,) = with_new([], book.episodes, {told.alert_id: Label.TRUE})
    assert case.end == last


@pytest.mark.parametrize(
    ("kind", "reason", "until_the_close"),
    [
        (Kind.PATTERN, "back to normal", True),
        (Kind.PATTERN, "new level accepted; level is 9", True),
        (Kind.PATTERN, "the stream has ended", False),
        (Kind.SCHEMA, "the stream was forgotten: limits.streams is reached", False),
        (Kind.SILENCE, "the stream has ended", True),
    ],
)
def test_the_time_for_which_an_ended_stream_is_waited_for_is_not_the_cases_except_for_a_silence(
    kind: Kind, reason: str, until_the_close: bool
) -> None:
    book, closed = EpisodeBook(), replace(alert(Event.CLOSE), kind=kind, reason=reason)
    last = micros(closed.episode.start) + 3 * HOUR
    closed = replace(closed, episode=replace(closed.episode, last=iso(last), end=iso(last + 9 * HOUR)))
    book.add(replace(alert(Event.OPEN), kind=kind))
    book.add(closed)
    (case,) = with_new([], book.episodes, {closed.alert_id: Label.TRUE})
    assert case.end == (last + 9 * HOUR if until_the_close else last)


def test_of_an_ended_stream_whose_close_alone_is_there_nobody_waits_either() -> None:
    book, closed = EpisodeBook(), replace(alert(Event.CLOSE), reason="the stream has ended")
    last = micros(closed.episode.start) + 3 * HOUR
    after = replace(closed.times, event=iso(last + 9 * HOUR))
    book.add(replace(closed, times=after, episode=replace(closed.episode, last=iso(last), end=after.event)))
    (case,) = with_new([], book.episodes, {closed.alert_id: Label.TRUE})
    assert case.end == last


def test_a_case_survives_being_written_and_what_is_none_is_refused() -> None:
    assert decode(msgspec.json.encode(CASE)) == CASE
    with pytest.raises(Incompatible, match="not a case of the gate"):
        decode(b'{"alert_id": "one"}')


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The configuration for twelve hours of a quiet stream, with one reading a minute."""
    lines = (f'{{"t": {START // 1_000_000 + 60 * at}, "k": "press", "level": {5 + at % 3}}}' for at in range(720))
    (tmp_path / "records.jsonl").write_text("\n".join(lines))
    path = tmp_path / "config.yaml"
    path.write_text(
        f"source: {{kind: files, paths: [{tmp_path}/records.jsonl]}}\nsink: {{kind: files}}\n"
        "stream: {key: [k], time: t, numeric: [level]}\n"
    )
    return path


@pytest.mark.parametrize(
    ("label", "stream", "code"),
    [
        (Label.FALSE, "press", ExitCode.OK),
        (Label.TRUE, "press", ExitCode.DIFFERENT),
        (Label.TRUE, "oven", ExitCode.NOT_COMPARABLE),
    ],
)
def test_the_gate_says_by_its_code_what_became_of_the_cases(
    config: Path, capsys: pytest.CaptureFixture[str], label: Label, stream: str, code: ExitCode
) -> None:
    cases = config.parent / "cases.jsonl"
    cases.write_bytes(msgspec.json.encode(msgspec.structs.replace(CASE, label=label, stream=stream)) + b"\n")
    assert main(["backtest", "-c", str(config), "--gate", str(cases)]) == code
    assert "gate: " in capsys.readouterr().out


def test_a_label_that_is_none_is_told_of_before_the_records_are_read(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "said.jsonl").write_text('{"alert_id": "one", "label": "flase"}\n')
    asked = ["--gate", str(tmp_path / "cases.jsonl"), "--feedback", str(tmp_path / "said.jsonl")]
    assert main(["backtest", "-c", str(config), *asked]) == ExitCode.CONFIGURATION
    told = capsys.readouterr()
    assert "said.jsonl, label 1" in told.err
    assert told.out == ""


def test_labelled_alerts_become_cases_that_stay(config: Path, tmp_path: Path) -> None:
    told = alert(Event.OPEN)
    (tmp_path / "alerts.jsonl").write_bytes(
        b'{"digest": true}\n' + (alert_codec.encode(told, "x", "").value or b"") + b"\n"
    )
    (tmp_path / "said.jsonl").write_text(f'{{"alert_id": "{told.alert_id}", "label": "true"}}\n')
    new = ["--alerts", str(tmp_path / "alerts.jsonl"), "--feedback", str(tmp_path / "said.jsonl")]
    cases = tmp_path / "cases.jsonl"
    first = main(["backtest", "-c", str(config), "--gate", str(cases), *new])
    kept = [decode(line) for line in cases.read_bytes().splitlines()]
    assert [(case.alert_id, case.label) for case in kept] == [(told.alert_id, Label.TRUE)]
    assert main(["backtest", "-c", str(config), "--gate", str(cases), "--json"]) == first


def test_cases_are_on_the_disk_before_they_take_the_place_of_those_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases, said = tmp_path / "cases.jsonl", tmp_path / "said.jsonl"
    cases.write_bytes(before := msgspec.json.encode(CASE) + b"\n")
    said.write_text(f'{{"alert_id": "{CASE.alert_id}", "label": "false"}}\n')
    synced: list[tuple[bytes, bool]] = []

    def noted(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        synced.append((path.read_bytes() if path.is_file() else b"its folder", cases.read_bytes() == before))

    monkeypatch.setattr(os, "fsync", noted)
    cases_of(argparse.Namespace(gate=cases, alerts=None, feedback=str(said)))
    assert cases.read_bytes() != before
    assert synced == [(cases.read_bytes(), True), (b"its folder", False)]


def test_labels_of_alerts_that_nobody_holds_are_told_of(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases, said = tmp_path / "cases.jsonl", tmp_path / "said.jsonl"
    cases.write_bytes(msgspec.json.encode(CASE) + b"\n")
    labels = {CASE.alert_id: "false", "lost": "true", "odd": "expected"}
    said.write_text("".join(f'{{"alert_id": "{alert}", "label": "{label}"}}\n' for alert, label in labels.items()))
    main(["backtest", "-c", str(config), "--gate", str(cases), "--feedback", str(said)])
    assert "1 label skipped, as neither CASES nor --alerts holds its alert: lost\n" in (capsys.readouterr().err)


def test_a_link_to_the_cases_stays_one_and_the_cases_are_where_it_points(tmp_path: Path) -> None:
    kept, link, said = tmp_path / "kept.jsonl", tmp_path / "cases.jsonl", tmp_path / "said.jsonl"
    kept.write_bytes(msgspec.json.encode(CASE) + b"\n")
    link.symlink_to(kept)
    said.write_text(f'{{"alert_id": "{CASE.alert_id}", "label": "false"}}\n')
    cases_of(argparse.Namespace(gate=link, alerts=None, feedback=str(said)))
    assert link.is_symlink()
    assert [decode(line).label for line in kept.read_bytes().splitlines()] == [Label.FALSE]

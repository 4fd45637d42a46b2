"""If there are more streams than there is room for, this is reported, and the streams are not called too short."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import CapturingLogger

from anomaly_daemon.cli import main
from anomaly_daemon.daemon.crowding import REPEAT_SECONDS, Crowding
from anomaly_daemon.report.unscored import mostly_unscored
from anomaly_daemon.transport.ports import Partition

ZERO, ONE = Partition("payments", 0), Partition("payments", 1)
CARDS = 40


def test_a_line_an_hour_and_partition_says_how_many_streams_were_forgotten() -> None:
    now, log = [0.0], CapturingLogger()
    told: Any = log
    crowding = Crowding(lambda: now[0], told)
    for seconds, partition, gone in (
        (0, ZERO, 0),
        (1, ZERO, 3),
        (2, ZERO, 4),
        (3, ONE, 5),
        (REPEAT_SECONDS + 1, ZERO, 6),
    ):
        now[0] = float(seconds)
        crowding.note(partition, gone, 100)
    assert [(call.kwargs["partition"], call.kwargs["forgotten"]) for call in log.calls] == [
        ("payments-0", 3),
        ("payments-1", 5),
        ("payments-0", 10),
    ]


def test_streams_that_were_forgotten_are_not_called_too_short() -> None:
    statuses = {"scored": 1, "warming": 9}
    assert "too short" in (mostly_unscored(statuses) or "")
    why = mostly_unscored(statuses, crowded_out=7) or ""
    assert ("too short" in why, "limits.streams is reached: 7 times" in why) == (False, True)
    assert "limits.streams" not in (mostly_unscored({"scored": 1, "late": 9}, crowded_out=7) or "")


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "cards.jsonl"
    path.write_text(
        "".join(f'{{"t": {1772323200 + 60 * n}, "card": "c{n % CARDS}", "a": {n % 7}}}\n' for n in range(30 * CARDS))
    )
    file = tmp_path / "cards.yaml"
    file.write_text(
        f"name: c\nsource: {{kind: files, paths: [{path}]}}\nhttp: {{enabled: false}}\nlog: {{format: json}}\n"
        f"stream: {{key: [card], time: t, time_unit: s, numeric: [a]}}\ndetection: {{grace_events: 10}}\n"
        f"sink: {{kind: files, path: {tmp_path}/alerts.jsonl}}\nlimits: {{streams: 20}}\n"
    )
    return str(file)


def test_the_service_says_so_while_it_runs_and_at_its_end(config: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--config", config]) == 0
    log = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    (line,) = [one for one in log if one["event"].startswith("limits.streams is reached")]
    assert line["forgotten"] > 0
    (line,) = [one for one in log if one["event"] == "mostly unscored"]
    assert "limits.streams is reached" in line["why"]


def test_a_backtest_says_so(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backtest", "--config", config]) == 0
    assert "limits.streams is reached" in capsys.readouterr().out
    assert main(["backtest", "--config", config, "--set", "limits.streams=4000"]) == 0
    assert "limits.streams" not in capsys.readouterr().out

"""The NAB benchmark on Apache Kafka: its files are published to a topic, the daemon reads them as its own process, and
its alerts are compared with NAB's windows.

The files are generated in NAB's layout. Where NAB's own files lie beside the checkout (../shared/data/nab), a few of
them are used too; they are not part of the project.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "data" / "nab"
START = datetime(2014, 4, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("nab_over_kafka", ROOT / "benchmarks" / "nab_over_kafka.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def write_series(folder: Path, name: str, values: Sequence[float], first: datetime) -> None:
    lines = [f"{first + timedelta(minutes=5 * row):%Y-%m-%d %H:%M:%S},{value}" for row, value in enumerate(values)]
    path = folder / "data" / "realAWSCloudwatch" / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["timestamp,value", *lines]) + "\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files of 1,000 readings; the first jumps by many deviations for two hours at reading 800."""
    rng = np.random.default_rng(5)
    jumping, calm = 40 + rng.normal(0, 1, 1000), 10 + rng.normal(0, 0.5, 1000)
    jumping[800:824] += 40
    write_series(tmp_path, "cpu_jumps", jumping.round(3).tolist(), START)
    write_series(tmp_path, "cpu_calm", calm.round(3).tolist(), START + timedelta(hours=10))
    span = [START + timedelta(minutes=5 * row) for row in (790, 850)]
    windows = {"realAWSCloudwatch/cpu_jumps.csv": [[f"{time:%Y-%m-%d %H:%M:%S.000000}" for time in span]]}
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "combined_windows.json").write_text(json.dumps(windows))
    return tmp_path


def figures(path: Path) -> dict[tuple[str, str], Any]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert {row["benchmark"] for row in rows} == {"nab_over_kafka"}
    return {(row["case"], row["metric"]): row["value"] for row in rows}


@pytest.mark.kafka
def test_a_jump_in_a_file_is_an_alert_on_the_topic_within_its_window(
    benchmark: ModuleType, folder: Path, kafka_broker: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    result = folder / "result.jsonl"
    benchmark.main(["--data", str(folder), "--bootstrap-servers", kafka_broker.bootstrap, "--json", str(result)])
    found = figures(result)
    assert (found["cpu_jumps", "windows"], found["cpu_jumps", "found"]) == (1, 1)
    assert 10 <= found["cpu_jumps", "median_delay_events"] <= 34, "it jumps ten readings after the window's start"
    assert found["cpu_calm", "windows"] == 0
    assert found["all", "false_episodes"] <= 2
    assert "2,000 records read" in capsys.readouterr().out


@pytest.mark.kafka
@pytest.mark.skipif(not REAL.is_dir(), reason="NAB's files are not beside the checkout (../shared/data/nab)")
def test_nab_s_own_files_go_through(benchmark: ModuleType, tmp_path: Path, kafka_broker: Any) -> None:
    names = ["ec2_cpu_utilization_5f5533", "ec2_network_in_257a54", "rds_cpu_utilization_cc0c53"]
    result = tmp_path / "result.jsonl"
    command = ["--data", str(REAL), "--bootstrap-servers", kafka_broker.bootstrap, "--json", str(result)]
    benchmark.main([*command, "--files", *names])
    found = figures(result)
    assert found["all", "windows"] == 5
    assert found["all", "stream_days"] == pytest.approx(3 * 14 * 0.85, abs=3)


def test_records_of_all_files_are_merged_by_time_and_keyed_by_file(benchmark: ModuleType, folder: Path) -> None:
    series = benchmark.read_series(folder)
    records = benchmark.in_order(series)
    times = [record.value[:19] for record in records]
    assert times == sorted(times)
    assert {record.key for record in records} == {b"cpu_calm", b"cpu_jumps"}
    assert len(records) == 2000


def test_the_probationary_period_is_the_first_share_of_a_file_with_a_bound(benchmark: ModuleType) -> None:
    short = benchmark.Series("a", (b"",) * 1000, tuple(range(1000)))
    long = benchmark.Series("a", (b"",) * 10_000, tuple(range(10_000)))
    assert (short.counts_from, long.counts_from) == (150, 750)

"""The size of a deployment: each input, and each cost, changes the results that it should."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anomaly_daemon import cli
from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.configuration import load
from anomaly_daemon.detection.network import Layout, NetworkConfig
from anomaly_daemon.detection.order import TOGETHER
from anomaly_daemon.planning import measure
from anomaly_daemon.planning.costs import Costs, assumed
from anomaly_daemon.planning.plan import UTILISATION, Demand, plan
from anomaly_daemon.transport.codec import Decoder

COSTS = Costs(
    round_seconds=1e-3,
    event_seconds=9e-6,
    bytes_per_stream=2000.0,
    snapshot_bytes_per_stream=1000.0,
    restore_seconds_per_stream=1e-5,
    process_bytes=5e8,
)
ASKED = Demand(
    events_per_second=30_000.0, streams=1000, poll_records=10_000, snapshot_seconds=60.0, partition_streams=1_000_000
)


def test_one_event_costs_itself_and_its_part_of_a_round() -> None:
    found = plan(COSTS, replace(ASKED, streams=500))
    assert found.event_seconds == pytest.approx(9e-6 + 1e-3 / 500)
    assert found.events_per_second_a_core == pytest.approx(1e6 / 11)
    assert (found.processes, found.partitions) == (1, 1)
    assert found.utilisation == pytest.approx(0.33)


def test_there_are_partitions_enough_for_every_stream_to_be_kept() -> None:
    assert plan(COSTS, replace(ASKED, streams=1_000_000)).partitions == 1
    found = plan(COSTS, replace(ASKED, streams=1_000_001))
    assert (found.processes, found.partitions) == (1, 2)
    assert plan(COSTS, replace(ASKED, partition_streams=100)).partitions == 10


def test_a_round_has_no_more_streams_than_are_taken_together() -> None:
    found = plan(COSTS, ASKED)
    assert found.event_seconds == pytest.approx(9e-6 + 1e-3 / TOGETHER)
    assert plan(COSTS, replace(ASKED, streams=100_000)).event_seconds == found.event_seconds


def test_more_events_take_more_processes_until_none_is_too_busy() -> None:
    found = plan(COSTS, replace(ASKED, events_per_second=1_000_000.0, streams=100_000))
    assert found.utilisation <= UTILISATION
    assert found.processes == found.partitions == 19


def test_few_streams_make_small_rounds_which_cost_more() -> None:
    slow = replace(ASKED, events_per_second=3_000.0)
    assert plan(COSTS, replace(slow, streams=10)).event_seconds == pytest.approx(9e-6 + 1e-3 / 10)
    assert plan(COSTS, replace(slow, poll_records=100)).event_seconds == pytest.approx(9e-6 + 1e-3 / 100)


def test_a_stream_that_is_too_fast_for_one_core_is_too_fast_for_many() -> None:
    found = plan(COSTS, replace(ASKED, streams=1))
    assert not found.reachable
    assert found.processes == 1, "it says so rather than naming processes that have nothing to do"
    assert found.utilisation == pytest.approx(30_000 * (9e-6 + 1e-3))
    assert found.events_per_second_a_stream == pytest.approx(UTILISATION / (9e-6 + 1e-3))


def test_up_to_that_pace_any_number_of_streams_is_shared_out() -> None:
    most = plan(COSTS, ASKED).events_per_second_a_stream
    for streams in (1, 10, 1000, 100_000):
        found = plan(COSTS, replace(ASKED, streams=streams, events_per_second=0.999 * most * streams))
        assert found.reachable
        assert found.utilisation <= UTILISATION
    assert not plan(COSTS, replace(ASKED, streams=10, events_per_second=10.01 * most)).reachable


def test_more_processes_divide_the_events_but_not_the_rounds_that_a_stream_takes() -> None:
    costs = replace(COSTS, event_seconds=1e-4)
    one = plan(costs, replace(ASKED, streams=100, events_per_second=5_000.0))
    two = plan(costs, replace(ASKED, streams=200, events_per_second=10_000.0))
    rounds = 50 * 1e-3
    assert (one.processes, two.processes) == (1, 2)
    assert one.utilisation == two.utilisation == pytest.approx(5_000 * 1e-4 + rounds)


@pytest.mark.parametrize("streams", [1_000, 10_000, 1_000_000])
def test_the_same_events_of_more_streams_take_no_more_cores_but_more_memory(streams: int) -> None:
    few, many = (plan(COSTS, replace(ASKED, events_per_second=1e6, streams=count)) for count in (streams, 2 * streams))
    assert many.processes <= few.processes
    assert (
        many.memory_bytes - many.processes * COSTS.process_bytes
        > few.memory_bytes - few.processes * COSTS.process_bytes
    )


def test_memory_and_snapshots_grow_with_the_streams() -> None:
    few, many = plan(COSTS, ASKED), plan(COSTS, replace(ASKED, streams=101_000))
    assert many.memory_bytes - few.memory_bytes == pytest.approx(100_000 * 1.5 * 2000)
    assert many.snapshot_topic_bytes - few.snapshot_topic_bytes == pytest.approx(100_000 * 1.5 * 1000)
    assert few.snapshot_bytes_per_second == pytest.approx(1000 * 1000 / 60)
    assert plan(COSTS, replace(ASKED, snapshot_seconds=30.0)).snapshot_bytes_per_second == pytest.approx(1e6 / 30)


def test_a_restore_reads_the_state_and_replays_a_snapshot_period() -> None:
    assert plan(COSTS, ASKED).restore_seconds == pytest.approx(1000 * 1e-5 + 60 * 30_000 * (9e-6 + 1e-3 / TOGETHER))
    assert plan(COSTS, replace(ASKED, snapshot_seconds=0.0)).restore_seconds == pytest.approx(1000 * 1e-5)


def test_what_is_assumed_grows_with_fields_and_units() -> None:
    channel, joint = NetworkConfig(layout=Layout.CHANNEL), NetworkConfig(layout=Layout.JOINT)
    one, eight = (assumed(channel, fields, 2000).event_seconds for fields in (1, 8))
    assert one < assumed(joint, 8, 2000).event_seconds < eight
    assert assumed(replace(channel, hidden=128), 8, 2000).event_seconds > eight
    assert assumed(replace(channel, layers=2), 8, 2000).event_seconds > eight


def test_fields_that_are_held_against_each_other_cost_by_their_pairs() -> None:
    """Relations are kept for two to 64 fields. The cost of one more field grows, and falls where no relations are kept."""
    joint = NetworkConfig(layout=Layout.JOINT)
    one, two, eight, most, more = (assumed(joint, fields, 2000).event_seconds for fields in (1, 2, 8, 64, 65))
    assert eight - two > 6 * (two - one)
    assert more < most


def test_a_larger_network_costs_as_often_as_it_has_rows() -> None:
    def larger(layout: Layout) -> float:
        small, large = (assumed(NetworkConfig(layout=layout, hidden=units), 8, 2000) for units in (64, 128))
        return large.event_seconds - small.event_seconds

    assert larger(Layout.CHANNEL) == pytest.approx(8 * larger(Layout.JOINT))


def test_what_is_assumed_of_a_restore_grows_with_the_state() -> None:
    few, many = (assumed(NetworkConfig(), 1, size).restore_seconds_per_stream for size in (1000, 2000))
    assert many == pytest.approx(2 * few)


CONFIG = """
source: {kind: kafka, topic: in}
stream: {numeric: [a, b], categorical: [kind], key: [id], time: t}
"""


@pytest.mark.parametrize("how", [[], ["--measure"]])
def test_the_command_says_what_a_configuration_takes(
    how: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    asked = ["plan", "-c", str(tmp_path / "config.yaml"), "--events-per-second", "50000", "--streams", "20000", *how]
    assert cli.main([*asked, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["measured"] is bool(how)
    assert all(cost > 0 for cost in told["costs"].values())
    assert told["plan"]["processes"] >= 1
    assert cli.main(asked) == 0
    assert "input and snapshot partitions" in capsys.readouterr().out


def test_states_are_written_no_more_often_than_commits_are_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With snapshot.seconds 0 each commit writes all that has changed: that is much, and not nothing."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    asked = [
        "plan",
        "-c",
        str(tmp_path / "config.yaml"),
        "--events-per-second",
        "50000",
        "--streams",
        "20000",
        "--json",
    ]

    def planned(*more: str) -> dict[str, float]:
        assert cli.main([*asked, *more]) == 0
        plan: dict[str, float] = json.loads(capsys.readouterr().out)["plan"]
        return plan

    always, often = (planned("--set", f"snapshot.seconds={seconds}") for seconds in ("0", "0.5"))
    assert always == often
    assert always["snapshot_bytes_per_second"] == pytest.approx(120 * planned()["snapshot_bytes_per_second"])


def test_the_command_says_what_is_out_of_reach(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    told = ["plan", "-c", str(tmp_path / "config.yaml"), "--events-per-second", "1e6", "--streams", "2"]
    assert cli.main(told) == 0
    assert "Out of reach: each stream is handled by one process" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [["--streams", "0"], ["--events-per-second", "0"], ["--streams", "many"]])
def test_what_cannot_be_asked_is_a_usage_error(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["plan", "--events-per-second", "1", "--streams", "1", *wrong])
    assert ended.value.code == 64


@pytest.mark.parametrize(("given", "code"), [("1e5", 0), ("100000", 0), ("1.5", 64), ("many", 64), ("0", 64)])
def test_numbers_may_be_written_with_an_exponent_and_others_are_told_of(
    given: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("source: {topic: a}\nstream: {numeric: [a]}\n")
    asked = ["plan", "-c", str(config), "--events-per-second", "1e3", "--streams", given, "--json"]
    if code == 0:
        assert cli.main(asked) == 0
        return
    with pytest.raises(SystemExit) as ended:
        cli.main(asked)
    assert ended.value.code == code
    assert f"above 0 is expected, not '{given}'" in capsys.readouterr().err


@pytest.mark.parametrize("stream", [{"time_format": "%d.%m.%Y"}, {"magnitude_limit": 10.0}, {"decimal": ","}])
def test_what_is_measured_are_records_that_are_read_whatever_the_configuration_says(
    stream: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "STREAMS", 20)
    settings = load(None, ["source.topic=in", 'stream.numeric=["a"]'], {})
    settings = settings.model_copy(update={"stream": settings.stream.model_copy(update=stream)})
    decoded = Decoder(measure._wide(settings), settings.limits).decode(measure._batch(settings))
    assert len(decoded.observations) == 20 * measure.TURNS
    assert np.isfinite(decoded.observations.values_ND).all()


def test_what_is_measured_is_the_same_whatever_streams_a_partition_holds_or_mutes() -> None:
    """The records are of a thousand streams, and stand for as many as are asked for."""
    given = ["source.topic=in", 'stream.numeric=["a"]']
    mute = json.dumps([{"name": "always", "start": "2000-01-01T00:00:00Z", "end": "2100-01-01T00:00:00Z"}])
    hindering = ["limits.streams=50", "limits.idle_stream_seconds=60", f"detection.mute={mute}"]
    free, hindered = load(None, given, {}), load(None, [*given, *hindering], {})
    model = read_model("pretrained")
    sizes = [measure.measured(one, model).snapshot_bytes_per_stream for one in (free, hindered)]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.01)

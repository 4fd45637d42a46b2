"""Mute windows in a running daemon: what is published, what is counted, and a restart in the middle of a window."""

from __future__ import annotations

import itertools
import json
from typing import Any

from structlog.testing import capture_logs
from test_bootstrap import configured, over_memory, records

from anomaly_daemon.daemon.totals import by_status
from anomaly_daemon.report.unscored import mostly_unscored
from anomaly_daemon.transport.memory import MemoryBroker

SINCE = "2023-11-15T03:03:20Z"
"""The time of record 290."""
UNTIL = "2023-11-15T03:53:20Z"
"""The time of record 340."""


def window(**more: Any) -> str:
    return "detection.mute=" + json.dumps([{"name": "w", "start": SINCE, "end": UNTIL, **more}])


def told(broker: MemoryBroker) -> list[tuple[str, str]]:
    alerts = [json.loads(record.value or b"") for record in broker.records("anomaly-alerts")]
    return [(one["kind"], one["event"]) for one in alerts]


def run(*overrides: str, cuts: tuple[int, ...] = ()) -> tuple[list[tuple[str, str]], list[dict[str, int]]]:
    """Return what is published of a sensor that jumps in the window, and each daemon's count of events by status. A
    daemon reads up to each cut, and then another goes on."""
    broker, counted, settings = MemoryBroker(), [], configured(*overrides)
    (partition,) = broker.create("readings")
    edges = [0, *cuts, 460]
    for start, stop in itertools.pairwise(edges):
        broker.produce(partition, records(460, jump_at=300)[start:stop])
        worker = over_memory(settings, broker, max_records=37)
        worker.run()
        counted.append(by_status(worker.metrics))
    return told(broker), counted


def test_what_lies_in_a_window_raises_nothing_and_is_counted_as_muted() -> None:
    alerts, (counted,) = run(window())
    assert ("pattern", "open") in run()[0]
    assert (alerts, counted["muted"], sum(counted.values())) == ([], 50, 460)


def test_the_log_names_the_windows() -> None:
    with capture_logs() as log:
        run(window(streams=["s2"]))
        run()
    assert [one["names"] for one in log if one["event"] == "mute windows are configured"] == [["w"]]


def test_one_that_is_longer_than_a_stream_is_remembered_is_warned_of() -> None:
    with capture_logs() as log:
        run(window(end="2023-12-15T00:00:00Z"))
        run(window())
    (told,) = [one for one in log if one["event"] == "questionable mute window"]
    assert told["log_level"] == "warning"
    assert told["reason"].startswith("w covers 7 days or more")


def test_a_window_that_teaches_counts_nothing_as_muted() -> None:
    alerts, (counted,) = run(window(learn=True))
    assert (alerts, counted["muted"]) == ([], 0)


def test_a_window_of_other_streams_mutes_nobody() -> None:
    assert run(window(streams=["s2"])) == run()


def test_a_restart_in_the_middle_of_a_window_changes_nothing() -> None:
    end = window(end="2023-11-15T03:14:20Z")  # of record 301: the rest of the jump is reported
    whole, parts = run(end), run(end, cuts=(295, 300, 303))
    assert whole[0] == parts[0] != []
    assert [one["muted"] for one in parts[1]] == [5, 5, 1, 0]


def test_where_most_is_muted_it_is_said() -> None:
    assert "windows of detection.mute" in (mostly_unscored({"scored": 4, "muted": 6}) or "")
    assert mostly_unscored({"scored": 6, "muted": 4}) is None

#!/usr/bin/env python3
"""What exactly-once delivery costs on Apache Kafka: throughput, latency, take-over, snapshots and rebalances.

    python benchmarks/exactly_once.py --json figures.json
    python benchmarks/exactly_once.py --only latency takeover --streams 100000

Starts its own broker on loopback, and daemons as separate processes with the shipped network. Nothing else should run
on the machine, because broker, producer, daemon and subscriber share it. The results are rows {benchmark, case, metric,
value}.

* throughput: one member reads a backlog, exactly once.
* latency: at half of that throughput, the time from a record's append until a subscriber that reads committed records
  has its alert.
* takeover: many streams, after a clean stop and after a kill; the time from the assignment to being ready, and the bytes
  of stored state.
* snapshots: the same many streams while they are active; bytes of state written a second, compared with those of a
  changelog record per event.
* rebalance: a member joins, leaves or is killed; the longest stop of the partitions that are not reassigned.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import NamedTuple

from daemons import Broker, Deployment, local_broker, quantiles, subscriber

PACE_SECONDS = 0.01
STAGES = (
    ("append to alert", 0, 3),
    ("append to detection", 0, 1),
    ("detection to commit begun", 1, 2),
    ("commit begun to alert", 2, 3),
)


class Row(NamedTuple):
    benchmark: str
    case: str
    metric: str
    value: float


class Sizes(NamedTuple):
    """The size of each benchmark: events of the backlog, streams of take-over and snapshots, seconds and streams of
    latency."""

    events: int
    streams: int
    seconds: float
    latency_streams: int = 1000


def reading(stream: int, time_s: int, value: float) -> bytes:
    """Return one reading as JSON, of about 60 bytes."""
    return json.dumps({"id": f"s{stream}", "time": time_s, "v": round(value, 3)}).encode()


def wave(stream: int, at: int) -> float:
    return 20.0 + (stream * 7 + at * 13) % 11 / 10.0


def throughput(broker: Broker, folder: Path, sizes: Sizes) -> Iterator[Row]:
    one, streams = Deployment(broker, folder, partitions=2), sizes.latency_streams
    records = [(at % 2, reading(at % streams, 1_700_000_000 + 60 * (at // streams), wave(at % streams, at // streams)))
               for at in range(sizes.events)]  # fmt: skip
    one.produce(records)
    with one.daemon() as daemon:
        daemon.wait("partition taken over")
        began, before = time.monotonic(), sum(one.committed())
        while (done := sum(one.committed())) < sizes.events:
            time.sleep(0.05)
        seconds = time.monotonic() - began
        yield Row("throughput", f"{streams} streams", "events_per_second", (done - before) / seconds)
        yield Row("throughput", f"{streams} streams", "events_per_cpu_second", done / daemon.cpu_seconds())
        yield from commits(daemon.metrics(), "throughput")


def commits(metrics: str, benchmark: str) -> Iterator[Row]:
    for name, seconds in quantiles(metrics, "anomaly_daemon_commit_seconds", (0.5, 0.99)).items():
        yield Row(benchmark, "commit", f"{name}_ms", 1000 * seconds)


def latency(broker: Broker, folder: Path, sizes: Sizes, rate: float) -> Iterator[Row]:
    """Yield the quantiles of the time from append to alert, and of its stages, at `rate` events a second. About one
    record in a thousand is far off, in a stream that has been calm, so each such record opens an episode of its own."""
    one, streams = Deployment(broker, folder, "detection.budget.alarms_per_stream_per_day=50", partitions=2), 1000
    warm = [(stream % 2, reading(stream, 1_700_000_000 + 60 * at, wave(stream, at))) for at in range(60)
            for stream in range(streams)]  # fmt: skip
    one.produce(warm)
    with one.daemon() as daemon, subscriber(one) as heard:
        one.wait_committed(len(warm))
        sent, began = 0, time.monotonic()
        with one.producer() as send:
            while (elapsed := time.monotonic() - began) < sizes.seconds:
                while sent < elapsed * rate:
                    stream, at = sent % streams, 60 + sent // streams
                    far = 100.0 * (sent % 1009 == 0)
                    send(stream % 2, reading(stream, 1_700_000_000 + 60 * at, wave(stream, at) + far))
                    sent += 1
                time.sleep(PACE_SECONDS)
        one.wait_committed(len(warm) + sent)
        time.sleep(1.0)
        moments = heard(since=time.time() - (time.monotonic() - began))
        yield Row("latency", "offered", "events_per_second", rate)
        yield Row("latency", "append to alert", "alerts", len(moments))
        for case, first, last in STAGES:
            delays = sorted(one[last] - one[first] for one in moments)
            for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
                yield Row("latency", case, f"{name}_ms", 1000 * delays[max(0, ceil(share * len(delays)) - 1)])
        yield from commits(daemon.metrics(), "latency")


def takeover(broker: Broker, folder: Path, sizes: Sizes) -> Iterator[Row]:
    one = Deployment(broker, folder, partitions=4)
    everyone = range(sizes.streams)
    one.produce([(s % 4, reading(s, 1_700_000_000 + 60 * at, wave(s, at))) for at in range(2) for s in everyone])
    with one.daemon() as daemon:
        one.wait_committed(2 * sizes.streams)
        daemon.stop()
    yield Row("takeover", f"{sizes.streams} streams", "stored_bytes", one.stored_bytes())
    with one.daemon() as daemon:
        yield Row("takeover", "after a clean stop", "seconds", daemon.take_over_seconds(4))
        yield Row("takeover", "after a clean stop", "records_replayed", daemon.replayed())
        one.produce([(s % 4, reading(s, 1_700_000_120, wave(s, 2))) for s in everyone])
        one.wait_committed(3 * sizes.streams)
        daemon.kill()
    with one.daemon() as daemon:
        yield Row("takeover", "after a kill", "seconds", daemon.take_over_seconds(4))
        yield Row("takeover", "after a kill", "records_replayed", daemon.replayed())


def snapshots(broker: Broker, folder: Path, sizes: Sizes) -> Iterator[Row]:
    """Yield the bytes of state that are written a second. Every stream has one event in every period. The first period
    only creates the streams, and is not measured."""
    one, period, streams = Deployment(broker, folder, partitions=4), 60.0, sizes.streams
    with one.daemon() as daemon:
        sent, began, marks = 0, time.monotonic(), []
        with one.producer() as send:
            while (elapsed := time.monotonic() - began) < 2.2 * period:
                while sent < elapsed * streams / period:
                    stream, at = sent % streams, sent // streams
                    send(stream % 4, reading(stream, 1_700_000_000 + 60 * at, wave(stream, at)))
                    sent += 1
                if elapsed > 1.1 * period:
                    marks.append((time.monotonic(), daemon.metric("anomaly_daemon_snapshot_bytes_total")))
                time.sleep(PACE_SECONDS)
        (first, low), (last, high) = marks[0], marks[-1]
        case = f"{streams} streams, T = {period:g} s"
        yield Row("snapshots", case, "bytes_per_second", (high - low) / (last - first))
        per_stream = one.stored_bytes_of_buckets() / streams
        yield Row("snapshots", "a changelog record per event", "bytes_per_second", per_stream * streams / period)
        yield Row("snapshots", "a stream", "bytes", per_stream)


def rebalance(broker: Broker, folder: Path, sizes: Sizes) -> Iterator[Row]:
    """Yield the longest stop of the partitions that are not reassigned, in each case. The committed offsets are read
    about every 10 ms; a stop is an interval in which a partition's committed offset does not move."""
    one = Deployment(broker, folder, "commit.seconds=0.1", partitions=6)

    def row(case: str, seconds: float) -> Row:
        return Row("rebalance", case, "longest_stop_ms", 1000 * seconds)

    with one.daemon("kafka.group_instance_id=a") as first, one.flow(rate=600) as flow:
        first.wait("partition taken over")
        flow.settle()
        yield row("nothing happens", flow.longest([first], flow.after(5.0)))
        with one.daemon("kafka.group_instance_id=b") as second:
            yield row("a member joins", flow.longest([first, second], lambda: second.logged("partition taken over", 3)))
            flow.settle()
            second.stop()
            yield row("a member leaves", flow.longest([first, second], flow.after(10.0)))
        flow.settle()
        with one.daemon("kafka.group_instance_id=c") as third:
            third.wait("partition taken over", 3)
            flow.settle()
            third.kill()
            yield row("a member is killed", flow.longest([first], flow.after(14.0)))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ("throughput", "latency", "takeover", "snapshots", "rebalance")
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--events", type=int, default=200_000, help="of the backlog (default: %(default)s)")
    parser.add_argument("--streams", type=int, default=100_000, help="to be taken over (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of the latency run (default: %(default)s)")
    parser.add_argument("--rate", type=float, help="events a second of the latency run (default: half the throughput)")
    parser.add_argument("--json", type=Path, help="write the rows here")
    chosen = parser.parse_args(arguments)
    sizes, rows = Sizes(chosen.events, chosen.streams, chosen.seconds), list[Row]()
    with local_broker() as broker, tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if "throughput" in chosen.only:
            rows += shown(throughput(broker, place, sizes))
        measured = next((row.value for row in rows if row.metric == "events_per_second"), 0.0)
        runs: dict[str, Callable[[], Iterator[Row]]] = {
            "latency": lambda: latency(broker, place, sizes, chosen.rate or measured / 2 or 5000.0),
            "takeover": lambda: takeover(broker, place, sizes),
            "snapshots": lambda: snapshots(broker, place, sizes),
            "rebalance": lambda: rebalance(broker, place, sizes),
        }
        for name, run in runs.items():
            if name in chosen.only:
                rows += shown(run())
    if chosen.json:
        chosen.json.write_text(json.dumps([row._asdict() for row in rows], indent=1) + "\n", encoding="utf-8")
    return 0


def shown(rows: Iterator[Row]) -> Iterator[Row]:
    for row in rows:
        print(f"{row.benchmark:12} {row.case:32} {row.metric:22} {row.value:>14,.1f}", flush=True)
        yield row


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""NAB's AWS CloudWatch files, sent through Apache Kafka to the daemon as a separate process.

    python benchmarks/nab_over_kafka.py --data ../shared/data/nab
    python benchmarks/nab_over_kafka.py --data nab --json result.jsonl --bootstrap-servers localhost:9092

Every line of every file becomes one record, keyed by the file's name. The records are written as fast as possible, in
order of time across all files. `anomaly-daemon run` reads them with the shipped network, and a plain consumer of
committed records reads the alerts. A window is hit when an episode opened inside it. An episode outside every window is
false. As in NAB, the first 15% of a file (at most 750 lines) do not count. Detection of silence is switched off,
because the files are of different months, and each of them ends.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from uuid import uuid4

from kafka import KafkaConsumer, TopicPartition

from anomaly_daemon.report.episodes import EpisodeBook, Seen, micros
from anomaly_daemon.report.labels import for_streams, read_labels
from anomaly_daemon.report.matching import Matched, Window, match
from anomaly_daemon.settings import KafkaSettings
from anomaly_daemon.transport import alert_codec
from anomaly_daemon.transport.kafka.publish import create_topic, publish
from anomaly_daemon.transport.kafka.sockets import PROXY_URL
from anomaly_daemon.transport.ports import Outgoing

FOLDER = "realAWSCloudwatch"
PROBATION_SHARE, PROBATION_MOST = 0.15, 750
DEADLINE_SECONDS = 900.0
"""The longest time that the daemon may take to read everything."""
BROKER_SCRIPT = Path(__file__).parents[1] / "deploy" / "local-kafka" / "broker.py"

CONFIGURATION = """\
name: nab
kafka: {{bootstrap_servers: "{bootstrap}", group_id: {name}, max_poll_records: 1000}}
source: {{topic: {name}}}
stream:
  format: csv
  csv: {{columns: [timestamp, value]}}
  time: timestamp
  numeric: [value]
detection:
  budget: {{alarms_per_stream_per_day: {budget}}}
  silence: {{enabled: false}}
sink: {{alerts_topic: {name}-alerts, dead_letter_topic: {name}-dead-letters, create_topics: true}}
snapshot: {{topic: {name}-snapshots}}
limits: {{alerts_per_minute: 1000000}}
http: {{enabled: false}}
log: {{level: warning}}
"""


@dataclass(frozen=True)
class Series:
    """One file: its stream key, its lines, and their times in epoch microseconds."""

    key: str
    lines: tuple[bytes, ...]
    times: tuple[int, ...]

    @property
    def counts_from(self) -> int:
        """The time of the first line after NAB's probationary period."""
        return self.times[min(int(PROBATION_SHARE * len(self.times)), PROBATION_MOST)]


@dataclass(frozen=True)
class Outcome:
    """The result for one file: its labelled windows matched with its episodes."""

    series: Series
    matched: Matched[Window]

    def delay_events(self, place: int) -> int | None:
        """The number of lines from the start of window number `place` to the alarm; None if the window was missed."""
        hit = self.matched.hits[place]
        if hit.episode is None:
            return None
        return bisect_left(self.series.times, hit.episode.opened) - bisect_left(self.series.times, hit.window.start)

    @property
    def delays(self) -> list[tuple[int, float]]:
        """(events, minutes) from the start of the window to the alarm, for every window that was hit."""
        events = ((self.delay_events(place), hit.delay) for place, hit in enumerate(self.matched.hits))
        return [(lines, delay / 60e6) for lines, delay in events if lines is not None and delay is not None]


def read_series(folder: Path, only: Sequence[str] = ()) -> list[Series]:
    """Read every file of NAB's CloudWatch folder, or only those named."""
    return [_series(path) for path in sorted((folder / "data" / FOLDER).glob("*.csv")) if not only or path.stem in only]


def _series(path: Path) -> Series:
    lines = tuple(path.read_bytes().split(b"\n")[1:])
    lines = tuple(line.rstrip(b"\r") for line in lines if line.strip())
    return Series(path.stem, lines, tuple(micros(line.split(b",")[0].decode()) for line in lines))


def in_order(series: Sequence[Series]) -> list[Outgoing]:
    """Return the records of all files in order of time, as one source would send them."""
    rows = sorted((time, one.key, line) for one in series for time, line in zip(one.times, one.lines, strict=True))
    return [Outgoing(key.encode(), line) for _, key, line in rows]


def run_over_kafka(bootstrap: str, records: Sequence[Outgoing], budget: float) -> tuple[list[Seen], float]:
    """Return the episodes that the daemon published for these records, and the seconds it took to read the records."""
    name = f"nab-{uuid4().hex[:8]}"
    kafka = KafkaSettings(bootstrap_servers=bootstrap)
    create_topic(kafka, name, 1)
    publish(kafka, name, records)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "nab.yaml"
        config.write_text(CONFIGURATION.format(bootstrap=bootstrap, name=name, budget=budget))
        with daemon(config) as process:
            seconds = wait_for_commit(bootstrap, name, len(records), process)
    return read_episodes(bootstrap, f"{name}-alerts"), seconds


@contextmanager
def daemon(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `anomaly-daemon run` as a process of its own, and stop it as systemd would: SIGTERM, SIGKILL after 40 s."""
    process = subprocess.Popen([sys.executable, "-m", "anomaly_daemon.cli", "run", "--config", str(config)])
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_commit(bootstrap: str, group: str, records: int, process: subprocess.Popen[bytes]) -> float:
    """Return the seconds until the daemon has committed that many records. Raises RuntimeError when it ends or is too
    slow."""
    consumer = KafkaConsumer(proxy_url=PROXY_URL, bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    began = time.monotonic()
    try:
        while (consumer.committed(TopicPartition(group, 0)) or 0) < records:
            if process.poll() is not None:
                raise RuntimeError(f"the daemon ended with code {process.returncode}")
            if time.monotonic() - began > DEADLINE_SECONDS:
                raise RuntimeError(f"the daemon has not read {records} records in {DEADLINE_SECONDS:.0f} s")
            time.sleep(0.2)
        return time.monotonic() - began
    finally:
        consumer.close()


def read_episodes(bootstrap: str, topic: str) -> list[Seen]:
    """Return every committed alert of the topic, assembled into episodes."""
    consumer = KafkaConsumer(
        proxy_url=PROXY_URL, bootstrap_servers=bootstrap, isolation_level="read_committed", enable_auto_commit=False
    )
    book = EpisodeBook()
    try:
        places = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        ends = consumer.end_offsets(places)
        while any(consumer.position(place) < ends[place] for place in places):
            for records in consumer.poll(timeout_ms=500).values():
                for record in records:
                    book.add(alert_codec.decode(record.value))
    finally:
        consumer.close()
    return list(book.episodes)


def judge(series: Sequence[Series], windows: Sequence[Window], episodes: Sequence[Seen]) -> list[Outcome]:
    """Match each file's windows with its episodes, from the end of the file's probationary period on."""
    own, _ = for_streams(windows, [one.key for one in series])
    outcomes = []
    for one in series:
        counted = [seen for seen in episodes if seen.stream == one.key and seen.opened >= one.counts_from]
        outcomes.append(Outcome(one, match([window for window in own if window.stream == one.key], counted)))
    return outcomes


def table(outcomes: Sequence[Outcome]) -> str:
    """Return a table with one line a file, followed by the totals."""
    lines = [f"{'file':<42} {'hit':>7} {'delay, events':>16} {'minutes':>18} {'false':>6}"]
    for one in outcomes:
        found = f"{one.matched.found} of {len(one.matched.hits)}"
        events = ", ".join(str(count) for count, _ in one.delays) or "–"
        minutes = ", ".join(f"{count:.0f}" for _, count in one.delays) or "–"
        lines.append(f"{one.series.key:<42} {found:>7} {events:>16} {minutes:>18} {len(one.matched.false_alarms):>6}")
    whole = totals(outcomes)
    delay = "–" if whole["median_delay_events"] is None else f"{whole['median_delay_events']:.0f}"
    lines.append(
        f"{'all':<42} {whole['found']:.0f} of {whole['windows']:.0f}, median delay {delay} events, "
        f"{whole['false_episodes']:.0f} false episodes in {whole['stream_days']:.0f} stream days"
    )
    return "\n".join(lines)


def totals(outcomes: Sequence[Outcome]) -> dict[str, float | None]:
    """Return the totals over these files. `stream_days` are the days after the probationary periods."""
    delays = [events for one in outcomes for events, _ in one.delays]
    return {
        "windows": sum(len(one.matched.hits) for one in outcomes),
        "found": sum(one.matched.found for one in outcomes),
        "false_episodes": sum(len(one.matched.false_alarms) for one in outcomes),
        "median_delay_events": median(delays) if delays else None,
        "stream_days": sum((one.series.times[-1] - one.series.counts_from) / 86_400e6 for one in outcomes),
    }


def rows(outcomes: Sequence[Outcome], seconds: float) -> Iterator[dict[str, object]]:
    """Yield one {benchmark, case, metric, value} a figure."""
    cases: list[tuple[str, dict[str, float | None]]] = [(one.series.key, totals([one])) for one in outcomes]
    events = sum(len(one.series.lines) for one in outcomes)
    cases.append(("all", totals(outcomes) | {"events_per_second": events / seconds, "seconds": seconds}))
    for case, metrics in cases:
        for metric, value in metrics.items():
            yield {"benchmark": "nab_over_kafka", "case": case, "metric": metric, "value": value}


@contextmanager
def local_broker() -> Iterator[str]:
    """Start Apache Kafka for this run, and yield its bootstrap address. Exits where Java or Maven is missing."""
    sys.path.append(str(BROKER_SCRIPT.parent))
    script = importlib.import_module("broker")
    if lack := script.missing():
        sys.exit(f"{lack}; or name a broker by --bootstrap-servers")
    with script.Broker() as broker:
        yield broker.bootstrap


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="NAB: holds data/ and labels/")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure as a JSON line")
    parser.add_argument("--bootstrap-servers", metavar="HOST:PORT", help="a broker; none: one is started here")
    parser.add_argument("--alarms-per-day", type=float, default=0.1, help="the budget of a stream (default: 0.1)")
    parser.add_argument("--files", nargs="*", default=[], metavar="NAME", help="only these, without .csv")
    chosen = parser.parse_args(arguments)
    series = read_series(chosen.data, chosen.files)
    if not series:
        sys.exit(f"no CSV file in {chosen.data / 'data' / FOLDER}")
    windows = read_labels(chosen.data / "labels" / "combined_windows.json")
    with ExitStack() as stack:
        bootstrap = chosen.bootstrap_servers or stack.enter_context(local_broker())
        episodes, seconds = run_over_kafka(bootstrap, in_order(series), chosen.alarms_per_day)
    outcomes = judge(series, windows, episodes)
    print(table(outcomes))
    print(f"{sum(len(one.lines) for one in series):,} records read in {seconds:.1f} s, the daemon's start included")
    if chosen.json:
        chosen.json.write_text("".join(json.dumps(row) + "\n" for row in rows(outcomes, seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

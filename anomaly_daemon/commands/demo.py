"""`demo`: runs generated streams with known faults through the real detector, without Kafka."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from anomaly_daemon.commands import common
from anomaly_daemon.commands.numbers import natural, positive, whole
from anomaly_daemon.commands.outputs import refuse_undrawable

if TYPE_CHECKING:
    from anomaly_daemon.demo.play import Played
    from anomaly_daemon.detection.alert import Alert
    from anomaly_daemon.report.trace import Tracer

HELP = "run the detector on generated sensors and card payments with known faults; needs no Kafka"
EXAMPLE = """\
  anomaly-daemon demo
  anomaly-daemon demo --seed 7 --picture found.png
  anomaly-daemon demo --json | tail -n 1
  anomaly-daemon demo --publish --bootstrap-servers localhost:9092 --topic machine-sensors --rate 500"""

STARTED = time.perf_counter()
"""When this module was imported, by the performance counter. It is the fallback where the system does not report when
the process began."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seed", type=natural, default=0, help="the seed of the generated streams and faults (default: 0)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line: episodes, then the summary")
    parser.add_argument(
        "--picture",
        type=Path,
        default=Path("anomaly-daemon-demo.png"),
        metavar="FILE",
        help="where to write the picture of one stream (default: anomaly-daemon-demo.png)",
    )
    kafka = parser.add_argument_group("write the generated records to Kafka instead, for a daemon to read")
    kafka.add_argument("--publish", action="store_true", help="write the records to a topic, without detection")
    kafka.add_argument("--bootstrap-servers", default="localhost:9092", metavar="HOST:PORT")
    kafka.add_argument("--deployment", choices=("sensors", "transactions"), default="sensors")
    kafka.add_argument("--topic", help="default: machine-sensors or card-transactions")
    kafka.add_argument(
        "--partitions", type=whole, default=4, help="partitions of the topic, if it has to be created (default: 4)"
    )
    kafka.add_argument("--rate", type=positive, default=1000.0, help="records a second, at most (default: 1000)")


def run(args: argparse.Namespace) -> int:
    from anomaly_daemon.daemon import logs

    logs.configure("auto", "warning", sys.stderr)
    if args.publish:
        return _publish(args)
    from anomaly_daemon.demo import show

    refuse_undrawable("--picture", args.picture)
    screen = _Screen(args.json)
    played, tracers = _play(args.seed, screen)
    picture = _picture(args.picture, played["sensors"], tracers["sensors"])
    if args.json:
        common.print_json({"summary": show.summary(played, screen.first_alert_seconds)})
        return 0
    print(f"\n{show.summary_text(played, screen.first_alert_seconds)}")
    if picture:
        print(f"\npicture: {picture}")
    return 0


class _Screen:
    """Prints every episode as it opens and closes, and records when the first alert was seen."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self.first_alert_seconds: float | None = None

    def __call__(self, alert: Alert) -> None:
        from anomaly_daemon.report.lines import alert_json, line

        if self.first_alert_seconds is None:
            self.first_alert_seconds = round(process_age(), 2)
        if (text := line(alert)) is None:
            return
        if self._as_json:
            common.print_json({"episode": alert_json(alert)})
        else:
            print(common.printable(text), flush=True)


def _play(seed: int, screen: _Screen) -> tuple[dict[str, Played], dict[str, Tracer]]:
    from anomaly_daemon.demo.deployments import SENSORS, TRANSACTIONS
    from anomaly_daemon.demo.generator import sensor_records, transaction_records
    from anomaly_daemon.demo.play import play
    from anomaly_daemon.report.trace import Tracer

    played, tracers = {}, {}
    for name, settings, generate in (
        ("sensors", SENSORS, sensor_records),
        ("transactions", TRANSACTIONS, transaction_records),
    ):
        generated = generate(seed)
        tracers[name] = Tracer(points=5000)
        with common.progress(name, len(generated.records)) as advance:
            played[name] = play(settings, generated, screen, [tracers[name]], advance)
    return played, tracers


def _picture(path: Path, played: Played, tracer: Tracer) -> Path | None:
    """Draw the stream of one fault that was found and return the path; None when none was found."""
    from anomaly_daemon.demo.picture import chosen, draw
    from anomaly_daemon.demo.sensors import METRICS

    traces = tracer.traces()
    hit = chosen(played.outcome.matched.hits, traces)
    if hit is None:
        return None
    draw(path, hit, traces[hit.window.stream], METRICS, played.book.episodes)
    return path


def _publish(args: argparse.Namespace) -> int:
    from anomaly_daemon.demo.live import live_records
    from anomaly_daemon.settings import KafkaSettings
    from anomaly_daemon.transport.kafka.publish import create_topic, publish

    kafka = KafkaSettings(bootstrap_servers=args.bootstrap_servers, client_id="anomaly-daemon-demo")
    topic, records = live_records(args.deployment, args.seed)
    topic = args.topic or topic
    create_topic(kafka, topic, args.partitions)
    print(f"writing {args.deployment} to {topic} on {args.bootstrap_servers}; Ctrl-C ends it", flush=True)
    print(f"{publish(kafka, topic, records, rate=args.rate):,} records written")
    return 0


def process_age() -> float:
    """Return the seconds since this process began, from /proc (Linux), or else since this module was imported."""
    try:
        started_ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return time.perf_counter() - STARTED

"""`plan`: estimates how many cores, partitions and bytes a deployment needs."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from anomaly_daemon.commands.common import add_config_arguments, load, print_json, table
from anomaly_daemon.commands.numbers import positive, whole
from anomaly_daemon.errors import ExitCode

if TYPE_CHECKING:
    from anomaly_daemon.planning.costs import Costs
    from anomaly_daemon.planning.plan import Plan
    from anomaly_daemon.settings import Settings

HELP = "estimate the cores, partitions, memory and disk that a load needs"
EXAMPLE = """  anomaly-daemon plan --config configs/sensors.yaml --events-per-second 200000 --streams 100000
  anomaly-daemon plan --config configs/sensors.yaml --events-per-second 200000 --streams 100000 --measure --json"""


def arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser)
    parser.add_argument(
        "--events-per-second", type=positive, required=True, metavar="N", help="the load, over all partitions"
    )
    kept = "streams in memory at the same time: the active ones, and those that ended within limits.idle_stream_seconds"
    parser.add_argument("--streams", type=whole, required=True, metavar="M", help=kept)
    parser.add_argument("--measure", action="store_true", help="measure this machine first; a few seconds on one core")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    from anomaly_daemon.planning.plan import Demand, plan

    settings = load(args)
    costs = _costs(settings, measure=args.measure)
    snapshot_seconds = max(settings.snapshot.seconds, settings.commit.seconds)  # no stream is written twice in a commit
    configured = (settings.kafka.max_poll_records, snapshot_seconds, settings.limits.streams)
    asked = Demand(args.events_per_second, args.streams, *configured)
    found = plan(costs, asked)
    if args.json:
        print_json({"measured": args.measure, "costs": asdict(costs), "plan": asdict(found)})
    else:
        print(table(("of this deployment", ""), _rows(found)))
        how = "measured on this machine" if args.measure else "assumed: --measure measures this machine"
        print(f"\n{_cost_line(costs)} ({how})")
        if not found.reachable:
            most = found.events_per_second_a_stream
            print(f"Out of reach: each stream is handled by one process, and may send {most:,.0f} events/s at most.")
    return ExitCode.OK


def _costs(settings: Settings, *, measure: bool) -> Costs:
    from anomaly_daemon.bootstrap import replay_detector
    from anomaly_daemon.planning.costs import assumed
    from anomaly_daemon.planning.measure import PARTITION, bytes_per_stream, measured
    from anomaly_daemon.registry.reference import read_model

    model = read_model(settings.model.path)
    detector = replay_detector(settings, model, PARTITION)
    if measure:
        return measured(settings, model)
    return assumed(model.network.config, len(settings.stream.numeric), bytes_per_stream(detector))


def _rows(found: Plan) -> list[tuple[str, str]]:
    return [
        ("processes (one core each)", f"{found.processes}"),
        ("input and snapshot partitions", f"at least {found.partitions}"),
        ("busy share of each core", f"{found.utilisation:.0%}"),
        ("most events/s of one core", f"{found.events_per_second_a_core:,.0f}"),
        ("memory, all processes", f"{found.memory_bytes / 1e9:,.2f} GB"),
        ("snapshot topic", f"{found.snapshot_topic_bytes / 1e9:,.2f} GB, written at most "
                           f"{found.snapshot_bytes_per_second / 1e6:,.2f} MB/s"),
        ("recovered after a crash within", f"{found.restore_seconds:,.1f} s and the session timeout"),
    ]  # fmt: skip


def _cost_line(costs: Costs) -> str:
    micro, milli = 1e6 * costs.event_seconds, 1e3 * costs.round_seconds
    return f"an event {micro:.1f} µs, a round {milli:.1f} ms, a stream {costs.bytes_per_stream / 1e3:.1f} KB"

"""The crash suite at full length: kills members and brokers at random, and checks that no alert is lost or doubled.

    PYTHONPATH=tests python -m chaos --seed 1 --kills 200

Needs Java 17 and Maven. The last line of output is one JSON object. The exit code is 1 if any message was lost or
doubled, if any state differs, or if a member ended unexpectedly.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: results are the same to the last bit
LOCAL_KAFKA = Path(__file__).parents[2] / "deploy" / "local-kafka"
sys.path.append(str(LOCAL_KAFKA))
FIRST_SHOWN = 20
WIDEST = 400


def main() -> int:
    chosen = _arguments()
    from broker import missing

    if lack := missing():
        print(f"the crash suite needs Java 17 and Maven; {lack}", file=sys.stderr)
        return 69
    folder = Path(tempfile.mkdtemp(prefix="anomaly-daemon-chaos-"))
    _say(f"the members' logs are in {folder}")
    started = time.monotonic()
    with _brokers(chosen.brokers) as brokers:
        kills, verdict, surprises = _run(chosen, brokers, folder)
    for text in [*surprises, *verdict.first][:FIRST_SHOWN]:
        _say(text if len(text) < WIDEST else f"{text[:WIDEST]}...")
    if clean := verdict.clean and not surprises:
        shutil.rmtree(folder)
    figures = {"kills": kills, "lost": verdict.lost, "doubled": verdict.doubled}
    figures |= {"state_differences": verdict.state_differences, "seconds": round(time.monotonic() - started)}
    print(json.dumps(figures))
    return 0 if clean else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="of the records and of who dies when (default: %(default)s)"
    )
    parser.add_argument("--kills", type=int, default=200, help="of members (default: %(default)s)")
    parser.add_argument("--brokers", type=int, default=1, choices=(1, 3), help="nodes of Kafka (default: %(default)s)")
    parser.add_argument("--members", type=int, default=3, help="of the group (default: %(default)s)")
    parser.add_argument("--events", type=int, default=200_000, help="records (default: %(default)s)")
    parser.add_argument("--streams", type=int, default=500, help="among which they are shared (default: %(default)s)")
    parser.add_argument("--pace", type=float, default=6.0, help="seconds between two strikes (default: %(default)s)")
    return parser.parse_args()


def _brokers(count: int) -> Any:
    from broker import Broker, Cluster

    from chaos.deployment import BROKER_PROPERTIES

    return Broker(properties=BROKER_PROPERTIES) if count == 1 else Cluster(count, properties=BROKER_PROPERTIES)


def _run(chosen: argparse.Namespace, brokers: Any, folder: Path) -> tuple[int, Any, list[str]]:
    from anomaly_daemon.daemon import logs
    from chaos.campaign import Campaign, Fates, Strikes, drawn
    from chaos.deployment import Deployment
    from chaos.group import Group
    from chaos.outcome import uninterrupted
    from chaos.records import Plan

    logs.configure("console", "error", sys.stderr)
    plan = Plan(chosen.seed, chosen.events, chosen.streams)
    deployment = Deployment(brokers.bootstrap, "chaos", plan.partitions)
    records = plan.records()
    expected = uninterrupted(deployment, records)
    _say(f"{len(records)} records of {plan.streams} streams; uninterrupted, {expected.count} messages come of them")
    deployment.create_input()
    chance = random.Random(chosen.seed)
    fates, strikes = Fates(drawn(chance)), Strikes(chosen.kills, chosen.pace)
    with closing(Group(deployment, chosen.members, folder, fates)) as group:
        nodes = getattr(brokers, "nodes", [brokers])
        campaign = Campaign(deployment, records, group, nodes, fates, strikes, chance, _say)
        verdict = campaign.run(expected)
        _say("deaths at a place: " + ", ".join(f"{place} {count}" for place, count in sorted(group.places.items())))
        return group.kills, verdict, group.surprises


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())

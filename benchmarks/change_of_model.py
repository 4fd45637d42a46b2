"""How long one partition waits for a change of model and for its rollback, and how much more the next event of each
stream costs after the change.

Example: python benchmarks/change_of_model.py --streams 100000 --fields 1
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace

import numpy as np
import torch

from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.detection.detector import Detector
from anomaly_daemon.detection.network import Network
from anomaly_daemon.detection.observation import Numeric, Observations, Schema
from anomaly_daemon.detection.rules import Rules

MINUTE = 60_000_000
EVENTS = 18
"""Past events of each stream: more than the recent window holds."""


def events(streams: int, fields: int, turn: int) -> Observations:
    """Return one event of every stream, at minute `turn` + 1."""
    zeros = np.zeros(streams, np.int32)
    offset_N, time_N = np.arange(streams) + turn * streams, np.full(streams, (turn + 1) * MINUTE)
    values_ND = np.random.default_rng(turn).normal(size=(streams, fields))
    presence_ND, codes_NC = np.zeros((streams, fields), np.uint8), np.zeros((streams, 0), np.int64)
    keys = tuple(f"plant/{place}" for place in range(streams))
    at_N = np.arange(streams, dtype=np.int32)
    return Observations("t", 0, keys, at_N, offset_N, zeros, time_N, time_N, values_ND, presence_ND, codes_NC, {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=100_000)
    parser.add_argument("--fields", type=int, default=1)
    parser.add_argument("--units", type=int, default=64, help="of the other network; the shipped one has 64")
    args = parser.parse_args()
    torch.set_num_threads(1)
    shipped = read_model("pretrained")
    config = replace(shipped.manifest.network, hidden=args.units)
    network = shipped.network if args.units == 64 else Network(config, torch.Generator().manual_seed(0)).eval()
    other = replace(shipped, manifest=replace(shipped.manifest, version="other", network=config), network=network)
    schema = Schema(tuple(Numeric(f"field-{place}") for place in range(args.fields)))
    former, new = (Detector(model, schema, Rules(), "t", 0) for model in (shipped, other))
    for turn in range(EVENTS):
        former.step(events(args.streams, args.fields, turn))
    beside = Detector(other, schema, Rules(), "t", 0)
    following = time.perf_counter()
    beside.follow(former)
    followed = time.perf_counter()
    del beside
    began = time.perf_counter()
    new.adopt(former)
    changed = time.perf_counter()
    new.step(events(args.streams, args.fields, EVENTS))
    stepped = time.perf_counter()
    new.step(events(args.streams, args.fields, EVENTS + 1))
    again = time.perf_counter()
    back = Detector(shipped, schema, Rules(), "t", 0)
    returning = time.perf_counter()
    back.adopt(new)
    returned = time.perf_counter()
    figures = {
        "pause": changed - began,
        "pause_of_a_shadow": followed - following,
        "pause_of_rollback": returned - returning,
        "rebuilding": (stepped - changed) - (again - stepped),
    }
    seconds = {f"{name}_seconds": round(one, 2) for name, one in figures.items()}
    print(json.dumps({"streams": args.streams, "fields": args.fields, "units": args.units, **seconds}))


if __name__ == "__main__":
    main()

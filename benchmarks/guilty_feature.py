"""Does an alert name the field that is at fault? Measured on generated streams of several fields, with a fault in one
known field.

    python -m benchmarks.guilty_feature --streams 200 --fields 6

Each stream has one fault in one field, late in its past. The first pattern alert that opens during the fault, or up to
12 events after it, decides: the fault counts as named if the field with the largest share is the guilty one. Prints a
table by kind of fault, and with --json writes it to a file.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anomaly_daemon.detection.alert import Event, Kind
from anomaly_daemon.report.episodes import micros
from anomaly_daemon.training.generated import PARTS, SECOND, Rhythm
from benchmarks.quality import ours
from benchmarks.quality.series import Float64

EVENTS, CADENCE, START = 3000, 300.0, 1_704_067_200
FIRST_FAULT = 2200
AFTERWARDS = 12
"""Number of events after a fault in which an alert that opens still counts as caused by the fault."""

Random = np.random.Generator


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of this kind in field number `field`, in `length` events from event `first` on."""

    kind: str
    field: int
    first: int
    length: int


def spike(random: Random, x_T: Float64, unit: float) -> Float64:
    return x_T + random.choice([-1, 1]) * 12 * unit


def shift(random: Random, x_T: Float64, unit: float) -> Float64:
    return x_T + random.choice([-1, 1]) * 5 * unit


def flutter(random: Random, x_T: Float64, unit: float) -> Float64:
    return x_T + random.normal(0.0, 4 * unit, len(x_T))


def drift(random: Random, x_T: Float64, unit: float) -> Float64:
    return x_T + random.choice([-1, 1]) * np.linspace(0, 8 * unit, len(x_T))


FAULTS: dict[str, tuple[int, Callable[[Random, Float64, float], Float64]]] = {
    "spike": (3, spike),
    "level shift": (48, shift),
    "flutter": (24, flutter),
    "drift": (96, drift),
}


def stream(random: Random, fields: int, kind: str) -> tuple[Float64, Fault]:
    """Return the values [T, D] of a stream with one fault, and the fault."""
    rhythm = Rhythm(START + CADENCE * np.arange(EVENTS), CADENCE)
    values_TD = np.empty((EVENTS, fields))
    for field in range(fields):
        part = list(PARTS)[int(random.integers(len(PARTS)))]
        values_TD[:, field] = part(random, rhythm) + random.normal(0.0, 0.1, EVENTS)
    length, broken = FAULTS[kind]
    fault = Fault(kind, int(random.integers(fields)), int(random.integers(FIRST_FAULT, EVENTS - 200)), length)
    guilty_T = values_TD[:, fault.field]
    within = slice(fault.first, fault.first + length)
    guilty_T[within] = broken(random, guilty_T[within], float(guilty_T[:FIRST_FAULT].std()))
    return values_TD, fault


def run(streams: int, fields: int, per_day: float, seed: int) -> list[dict[str, object]]:
    """Return one row for each kind of fault: how many faults there are, how many were found and how many named."""
    random, kinds = np.random.default_rng(seed), list(FAULTS)
    made = [stream(random, fields, kinds[number % len(kinds)]) for number in range(streams)]
    time_N = np.repeat((START + CADENCE * np.arange(EVENTS)).astype(np.int64) * SECOND, streams)
    keys = tuple(f"s{number}" for number in range(streams))
    values_ND = np.stack([values for values, _ in made], axis=1).reshape(-1, fields)
    batch = ours.observed(keys, np.tile(np.arange(streams, dtype=np.int32), EVENTS), time_N, values_ND)
    _, alerts = ours.stepped(batch, ours.settings_of(fields, per_day))
    found, named = Counter[str](), Counter[str]()
    for number, (_, fault) in enumerate(made):
        begins, ends = (START + CADENCE * at for at in (fault.first, fault.first + fault.length + AFTERWARDS))
        opened = [
            alert
            for alert in alerts
            if alert.stream.key == keys[number] and alert.event is Event.OPEN and alert.kind is Kind.PATTERN
            if begins * SECOND <= micros(alert.times.event) < ends * SECOND
        ]
        if opened:
            found[fault.kind] += 1
            named[fault.kind] += opened[0].features[0].name == f"field_{fault.field}"
    faults = Counter(fault.kind for _, fault in made)
    return [{"fault": kind, "faults": faults[kind], "found": found[kind], "named": named[kind]} for kind in kinds]


def main() -> None:
    """Print the table, and write the file if one was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--fields", type=int, default=6)
    parser.add_argument("--budget", type=float, default=1.0, help="alarms a stream and day (1)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    asked = parser.parse_args()
    rows = run(asked.streams, asked.fields, asked.budget, asked.seed)
    print(f"{'fault':<14}{'faults':>8}{'found':>8}{'named':>8}{'share named':>14}")
    total = {name: sum(int(str(row[name])) for row in rows) for name in ("faults", "found", "named")}
    for row in [*rows, {"fault": "all", **total}]:
        share = int(str(row["named"])) / max(int(str(row["found"])), 1)
        print(f"{row['fault']:<14}{row['faults']:>8}{row['found']:>8}{row['named']:>8}{share:>14.1%}")
    if asked.json:
        asked.json.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()

"""The faults a demo injects, and the plan of where they go. Pure: randomness is a generator passed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

MICROSECONDS = 1_000_000
HOUR = 3600 * MICROSECONDS
DAY = 24 * HOUR


class FaultKind(StrEnum):
    """What goes wrong, in the words of those who operate the machines or the cards."""

    SPIKE = "spike"
    """Three readings of one metric are far off."""
    LEVEL_SHIFT = "level shift"
    """One metric is higher or lower for hours."""
    DRIFT = "drift"
    """One metric moves away slowly."""
    STUCK = "stuck sensor"
    """One metric repeats its last value."""
    SILENCE = "silence"
    """The machine sends nothing."""
    UNIT_CHANGE = "unit change"
    """Pressure arrives in kilopascal instead of bar."""
    VANISHED_FIELD = "vanished field"
    """One metric is no longer in the record."""
    CORRELATION_BREAK = "correlation break"
    """Current moves against the load, within its own range."""
    AMOUNT_BURST = "amount burst"
    """Many payments are made in a short time, each many times the card's usual amount."""
    FOREIGN_CATEGORY = "foreign category run"
    """A run of ordinary amounts in categories the card has never used."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One injected fault; `start` and `end` are epoch microseconds of event time, `end` excluded."""

    stream: str
    kind: FaultKind
    start: int
    end: int


def plan(
    streams: Sequence[str],
    hours: Mapping[FaultKind, tuple[float, float]],
    count: int,
    span: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[Fault, ...]:
    """Return `count` faults over `span` (epoch microseconds). Kinds and streams are taken in turn, and the starts are
    spread evenly.

    `hours` gives the shortest and longest duration of each kind. No stream gets its second fault before every other has
    had its first. Raises ValueError where two faults of one stream overlap.
    """
    kinds = list(hours)
    order = [streams[row] for _ in range(-(-count // len(streams))) for row in rng.permutation(len(streams))]
    edges = np.linspace(span[0], span[1], count + 1)
    faults = []
    for place in range(count):
        kind = kinds[place % len(kinds)]
        start = int(rng.uniform(edges[place], edges[place + 1]))
        faults.append(Fault(order[place], kind, start, start + int(rng.uniform(*hours[kind]) * HOUR)))
    _refuse_overlaps(faults)
    return tuple(faults)


def _refuse_overlaps(faults: Sequence[Fault]) -> None:
    busy_until: dict[str, int] = {}
    for fault in faults:
        if fault.start < busy_until.get(fault.stream, 0):
            raise ValueError(f"two faults of {fault.stream} overlap: spread fewer faults over a longer span")
        busy_until[fault.stream] = fault.end

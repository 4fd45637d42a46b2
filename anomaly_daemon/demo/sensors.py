"""Generated factory sensors: machines whose metrics follow one load, with a daily cycle, noise and gaps.

Shapes: M machines, T readings in time order, 4 metrics (`METRICS`). Pure: randomness is a generator passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anomaly_daemon.demo.faults import DAY, HOUR, MICROSECONDS, Fault, FaultKind

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

METRICS = ("temperature", "vibration", "pressure", "current")
PRESSURE, CURRENT = 2, 3

BASE = np.array([58.0, 2.2, 6.5, 14.0])
"""The values of a resting machine: degrees Celsius, mm/s, bar, ampere."""
GAIN = np.array([14.0, 1.6, -0.9, 22.0])
"""What full load adds to each metric."""
NOISE = np.array([0.5, 0.12, 0.06, 0.7])

FAULT_HOURS = {
    FaultKind.SPIKE: (0.25, 0.25),
    FaultKind.LEVEL_SHIFT: (6.0, 12.0),
    FaultKind.STUCK: (3.0, 6.0),
    FaultKind.SILENCE: (2.0, 4.0),
    FaultKind.UNIT_CHANGE: (3.0, 6.0),
    FaultKind.VANISHED_FIELD: (3.0, 6.0),
    FaultKind.DRIFT: (12.0, 18.0),
    FaultKind.CORRELATION_BREAK: (8.0, 12.0),
}
"""The shortest and longest duration of each kind, in hours."""

SPIKE_SIZE, SHIFT_SIZE, DRIFT_SIZE = (6.0, 10.0), (3.0, 5.0), (4.0, 6.0)
"""Sizes of a fault, in standard deviations of the metric's own variation, daily cycle included."""
BAR_TO_KILOPASCAL = 100.0


@dataclass(frozen=True, slots=True)
class Plant:
    """The number of machines, and for how long they run. `start` is in epoch microseconds, at midnight UTC."""

    start: int
    machines: int = 48
    days: float = 8.0
    cadence_seconds: int = 300
    missing_share: float = 0.004
    """Share of values that are null, one at a time."""
    gap_share: float = 0.001
    """Share of readings after which one to three more are lost."""

    @property
    def readings(self) -> int:
        return int(self.days * DAY) // (self.cadence_seconds * MICROSECONDS)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"press-{number + 1:02d}" for number in range(self.machines))


@dataclass(frozen=True, slots=True)
class Readings:
    """What the machines would send. A value is `present` or null; a reading is `sent` or lost."""

    time_MT: npt.NDArray[np.int64]
    values_MTD: Float64
    present_MTD: Bool
    sent_MT: Bool


def healthy(plant: Plant, rng: np.random.Generator) -> Readings:
    """Return readings without a fault, with the small losses that every plant has."""
    shape = (plant.machines, plant.readings)
    phase_M = rng.integers(0, plant.cadence_seconds, plant.machines) * MICROSECONDS
    time_T = plant.start + np.arange(plant.readings, dtype=np.int64) * plant.cadence_seconds * MICROSECONDS
    time_MT = time_T + phase_M[:, None]
    load_MT = _load(time_MT, rng)
    base_MD = BASE * rng.uniform(0.85, 1.15, (plant.machines, 4))
    gain_MD = GAIN * rng.uniform(0.7, 1.3, (plant.machines, 4))
    noise_MTD = np.stack([_autoregressive(shape, 0.6, rng) for _ in METRICS], axis=-1) * NOISE
    values_MTD = base_MD[:, None] + gain_MD[:, None] * load_MT[..., None] + noise_MTD
    present_MTD = rng.random((*shape, 4)) >= plant.missing_share
    return Readings(time_MT, values_MTD, present_MTD, _sent(plant, rng))


def _load(time_MT: npt.NDArray[np.int64], rng: np.random.Generator) -> Float64:
    """Return each machine's load, about 0 to 1: a shift pattern over the day, less at the weekend, and slow noise."""
    machines = len(time_MT)
    hour_MT = (time_MT % DAY) / HOUR
    weekend_MT = (time_MT // DAY + 3) % 7 >= 5  # day 0 of the epoch was a Thursday
    peak_M1 = rng.uniform(12.0, 15.0, (machines, 1))
    swing_M1 = rng.uniform(0.22, 0.34, (machines, 1))
    cycle_MT = 0.5 + swing_M1 * np.cos(2 * np.pi * (hour_MT - peak_M1) / 24)
    return cycle_MT * np.where(weekend_MT, 0.8, 1.0) + 0.05 * _autoregressive(time_MT.shape, 0.95, rng)


def _autoregressive(shape: tuple[int, ...], memory: float, rng: np.random.Generator) -> Float64:
    """Return AR(1) noise of standard deviation 1 along the last axis."""
    noise = rng.standard_normal(shape)
    noise[:, 1:] *= np.sqrt(1 - memory**2)
    for step in range(1, shape[1]):
        noise[:, step] += memory * noise[:, step - 1]
    return noise


def _sent(plant: Plant, rng: np.random.Generator) -> Bool:
    sent_MT = np.ones((plant.machines, plant.readings), bool)
    for machine, step in np.argwhere(rng.random(sent_MT.shape) < plant.gap_share):
        sent_MT[machine, step + 1 : step + 1 + rng.integers(1, 4)] = False
    return sent_MT


@dataclass(frozen=True, slots=True)
class Block:
    """The part of one machine's readings that a fault covers, as views into which the fault is written."""

    values_ND: Float64
    present_ND: Bool
    sent_N: Bool
    spread_D: Float64
    """Standard deviation of each metric over the machine's whole healthy series."""
    centre_D: Float64
    before_D: Float64
    """The reading just before the fault."""


def injected(plant: Plant, readings: Readings, faults: tuple[Fault, ...], rng: np.random.Generator) -> Readings:
    """Return the same readings with the faults in them."""
    changed = Readings(
        readings.time_MT, readings.values_MTD.copy(), readings.present_MTD.copy(), readings.sent_MT.copy()
    )
    for fault in faults:
        row = plant.names.index(fault.stream)
        first, last = np.searchsorted(readings.time_MT[row], [fault.start, fault.end])
        healthy_TD = readings.values_MTD[row]
        block = Block(
            changed.values_MTD[row, first:last],
            changed.present_MTD[row, first:last],
            changed.sent_MT[row, first:last],
            healthy_TD.std(axis=0),
            healthy_TD.mean(axis=0),
            healthy_TD[max(first - 1, 0)],
        )
        _FAULTS[fault.kind](block, rng)
    return changed


def _offset(size: tuple[float, float], block: Block, rng: np.random.Generator) -> tuple[int, float]:
    """Choose a metric, and how far to move it up or down."""
    metric = int(rng.integers(len(METRICS)))
    return metric, float(rng.choice([-1, 1]) * rng.uniform(*size) * block.spread_D[metric])


def _spike(block: Block, rng: np.random.Generator) -> None:
    metric, offset = _offset(SPIKE_SIZE, block, rng)
    block.values_ND[:, metric] += offset


def _level_shift(block: Block, rng: np.random.Generator) -> None:
    metric, offset = _offset(SHIFT_SIZE, block, rng)
    block.values_ND[:, metric] += offset


def _drift(block: Block, rng: np.random.Generator) -> None:
    metric, offset = _offset(DRIFT_SIZE, block, rng)
    block.values_ND[:, metric] += np.linspace(0, offset, len(block.values_ND))


def _stuck(block: Block, rng: np.random.Generator) -> None:
    metric = int(rng.integers(len(METRICS)))
    block.values_ND[:, metric] = block.before_D[metric]


def _silence(block: Block, rng: np.random.Generator) -> None:
    block.sent_N[:] = False


def _unit_change(block: Block, rng: np.random.Generator) -> None:
    block.values_ND[:, PRESSURE] *= BAR_TO_KILOPASCAL


def _vanished_field(block: Block, rng: np.random.Generator) -> None:
    block.present_ND[:, int(rng.integers(len(METRICS)))] = False


def _correlation_break(block: Block, rng: np.random.Generator) -> None:
    """Mirror the current at its mean. The change is faded in over the first quarter, as a jump at its start would be a
    level shift."""
    mirrored = 2 * block.centre_D[CURRENT] - block.values_ND[:, CURRENT]
    share = np.minimum(np.linspace(0, 4, len(mirrored)), 1.0)
    block.values_ND[:, CURRENT] += share * (mirrored - block.values_ND[:, CURRENT])


_FAULTS: dict[FaultKind, Callable[[Block, np.random.Generator], None]] = {
    FaultKind.SPIKE: _spike,
    FaultKind.LEVEL_SHIFT: _level_shift,
    FaultKind.DRIFT: _drift,
    FaultKind.STUCK: _stuck,
    FaultKind.SILENCE: _silence,
    FaultKind.UNIT_CHANGE: _unit_change,
    FaultKind.VANISHED_FIELD: _vanished_field,
    FaultKind.CORRELATION_BREAK: _correlation_break,
}

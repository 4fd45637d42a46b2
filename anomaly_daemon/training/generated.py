"""Generated streams of many kinds, all of them normal, from which the shipped network learned.

A stream is a rhythm (when its events come) and a sum of one to three parts (`PARTS`), sometimes followed by a final
transformation: quantised, bounded, cut at zero or exponentiated. Every number is drawn from the generator passed in, so
a seed defines a data set. Shapes: T events.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from anomaly_daemon.detection.observation import Float64
from anomaly_daemon.training.dataset import Series

SECOND = 1_000_000
DAY = 86_400.0
CADENCES = (1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 300.0, 600.0, 900.0, 3600.0)
"""Seconds between events. Five minutes is listed twice because most monitoring uses it."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """The times of a stream's events, as passed to a part."""

    seconds_T: Float64
    """Epoch seconds, UTC."""
    cadence: float

    def __len__(self) -> int:
        return len(self.seconds_T)


Random = np.random.Generator
Part = Callable[[Random, Rhythm], Float64]


def daily(random: Random, rhythm: Rhythm) -> Float64:
    """A daily profile of a few harmonics, weaker at weekends in some streams."""
    angle = 2 * np.pi * (rhythm.seconds_T % DAY) / DAY
    wave = _harmonics(random, angle, int(random.integers(1, 5)))
    weekend = ((rhythm.seconds_T / DAY + 3) % 7) >= 5
    return wave * np.where(weekend, _one_of(random, 1.0, random.uniform(0.1, 0.9)), 1.0)


def weekly(random: Random, rhythm: Rhythm) -> Float64:
    """A weekly profile with a daily one added to it."""
    angle = 2 * np.pi * (rhythm.seconds_T % (7 * DAY)) / (7 * DAY)
    return _harmonics(random, angle, 3) + random.uniform(0.2, 1.0) * daily(random, rhythm)


def hourly_job(random: Random, rhythm: Rhythm) -> Float64:
    """A job that runs at a fixed time of every hour, six hours or day, for a few minutes or hours."""
    period = _one_of(random, 3600.0, 6 * 3600.0, DAY)
    length = max(random.uniform(0.02, 0.2) * period, 2 * rhythm.cadence)
    running = ((rhythm.seconds_T + random.uniform(0, period)) % period) < length
    return running * random.lognormal(1.0, 0.4) + 0.3 * autoregressive(random, rhythm)


def process_cycle(random: Random, rhythm: Rhythm) -> Float64:
    """A machine's cycle: a fixed wave form of 8 to 200 events, whose period varies a little."""
    period = np.exp(random.uniform(np.log(8.0), np.log(200.0)))
    speed = 1.0 + random.uniform(0.0, 0.03) * _autoregressive(random, len(rhythm), 0.95)
    return _harmonics(random, 2 * np.pi * np.cumsum(speed) / period, int(random.integers(1, 7)))


def saw_tooth(random: Random, rhythm: Rhythm) -> Float64:
    """A quantity that fills up and is emptied, or the reverse: memory between collections, a tank, a disk."""
    period = random.uniform(10.0, 300.0)
    phase = np.cumsum(1.0 + 0.2 * random.standard_normal(len(rhythm))) / period
    return (phase % 1.0) * _one_of(random, -1.0, 1.0)


def duty_cycle(random: Random, rhythm: Rhythm) -> Float64:
    """A signal that switches on and off, for times that are nearly regular or widely random."""
    mean = np.exp(random.uniform(np.log(5.0), np.log(150.0), 2))
    spread = _one_of(random, 0.05, 0.3, 1.0)
    return _alternating(random, len(rhythm), mean, spread)


def autoregressive(random: Random, rhythm: Rhythm) -> Float64:
    """First-order autoregressive noise."""
    return _autoregressive(random, len(rhythm), random.uniform(0.0, 0.98))


def oscillation(random: Random, rhythm: Rhythm) -> Float64:
    """Noise with a dominant frequency: an AR(2) process."""
    radius, angle = random.uniform(0.8, 0.99), random.uniform(0.05, 1.5)
    noise, out = random.standard_normal(len(rhythm) + 100), np.zeros(len(rhythm) + 100)
    for t in range(2, len(out)):
        out[t] = 2 * radius * np.cos(angle) * out[t - 1] - radius**2 * out[t - 2] + noise[t]
    return np.asarray(out[100:] / out.std())


def random_walk(random: Random, rhythm: Rhythm) -> Float64:
    """A random walk."""
    return np.cumsum(random.standard_normal(len(rhythm))) * random.uniform(0.005, 0.1)


def trend(random: Random, rhythm: Rhythm) -> Float64:
    """A slow linear rise or fall."""
    return random.normal(0.0, 2.0) * np.linspace(0.0, 1.0, len(rhythm))


def level_shifts(random: Random, rhythm: Rhythm) -> Float64:
    """Levels that are held for a while, as after a deployment, a change of product or a change of load."""
    levels = random.normal(0.0, random.uniform(0.5, 3.0), int(random.integers(2, 12)))
    changes = random.random(len(rhythm)) < 1.0 / random.uniform(80.0, 800.0)
    return np.asarray(levels[np.cumsum(changes) % len(levels)])


def bursts(random: Random, rhythm: Rhythm) -> Float64:
    """Spikes that decay: part of the normal behaviour of many metrics."""
    hits = random.random(len(rhythm)) < random.uniform(0.002, 0.05)
    sizes = hits * random.lognormal(0.5, random.uniform(0.2, 0.8), len(rhythm))
    return _decaying(sizes, random.uniform(0.0, 0.9))


def counts(random: Random, rhythm: Rhythm) -> Float64:
    """Events counted per interval, at a rate that follows the day in some streams."""
    rate = np.exp(random.uniform(-1.5, 4.0)) * np.exp(_one_of(random, 0.0, 0.7) * daily(random, rhythm))
    clumping = _one_of(random, 1.0, 1.0, 4.0)
    drawn = random.poisson(np.minimum(rate * random.gamma(1 / clumping, clumping, len(rhythm)), 1e6))
    return np.asarray(drawn / max(float(drawn.std()), 0.5))


def amounts(random: Random, rhythm: Rhythm) -> Float64:
    """Payments and sizes: heavy-tailed and independent, of one or two sorts."""
    center, spread = random.normal(0.0, 1.0, 2), random.uniform(0.2, 1.1, 2)
    sort = (random.random(len(rhythm)) < _one_of(random, 0.0, 0.2, 0.5)).astype(np.int64)
    return np.exp(center[sort] + spread[sort] * random.standard_normal(len(rhythm)))


def steady(random: Random, rhythm: Rhythm) -> Float64:
    """A constant, or hardly more than sensor noise."""
    return random.standard_normal(len(rhythm)) * _one_of(random, 0.0, 1e-3, 0.1, 1.0)


def heavy_noise(random: Random, rhythm: Rhythm) -> Float64:
    """Noise with occasional large values (Student's t)."""
    return random.standard_t(random.uniform(2.5, 8.0), len(rhythm))


PARTS: tuple[Part, ...] = (
    daily,
    weekly,
    hourly_job,
    process_cycle,
    saw_tooth,
    duty_cycle,
    autoregressive,
    oscillation,
    random_walk,
    trend,
    level_shifts,
    bursts,
    counts,
    amounts,
    steady,
    heavy_noise,
)


def stream(random: Random, key: str, events: int, start: float) -> Series:
    """Return one stream of `events` events that begins within a week after `start` (epoch seconds)."""
    rhythm = _rhythm(random, events, start)
    values_T = _parts(random, rhythm) * np.exp(random.normal(0.0, 2.0))
    values_T = _finish(random, values_T + _one_of(random, 0.0, random.normal(0.0, 5.0)) * float(values_T.std()))
    lost = random.random(events) < _one_of(random, 0.0, 0.0, 0.005, 0.03)
    values_T[lost] = np.nan
    time_T = (rhythm.seconds_T * SECOND).astype(np.int64)
    return Series(key, time_T, values_T[:, None], np.zeros((events, 0), np.int64))


def _parts(random: Random, rhythm: Rhythm) -> Float64:
    chosen = random.choice(len(PARTS), size=int(_one_of(random, 1, 2, 2, 3)), replace=False)
    total = np.zeros(len(rhythm))
    for place in chosen:
        total += random.lognormal(0.0, 0.7) * PARTS[place](random, rhythm)
    noise = _one_of(random, 0.0, 0.02, 0.1, 0.3) * float(total.std())
    return total + noise * random.standard_normal(len(rhythm))


def _rhythm(random: Random, events: int, start: float) -> Rhythm:
    """Return regular, jittered or irregular event times. In some streams a few gaps are 2 to 29 times as long, as where
    events are lost."""
    cadence = _one_of(random, *CADENCES)
    kind = random.choice(["regular", "regular", "jittered", "irregular"])
    gaps = np.full(events, cadence)
    if kind == "jittered":
        gaps *= random.uniform(0.8, 1.2, events)
    if kind == "irregular":
        gaps *= random.exponential(1.0, events)
    gaps *= np.where(random.random(events) < _one_of(random, 0.0, 0.0, 0.002, 0.02), random.integers(2, 30, events), 1)
    return Rhythm(start + random.uniform(0, 7 * DAY) + np.cumsum(np.maximum(gaps, 1e-3)), cadence)


def _finish(random: Random, values_T: Float64) -> Float64:
    spread = max(float(values_T.std()), 1e-9)
    kind = random.choice(["plain", "plain", "plain", "quantised", "bounded", "positive", "skewed"])
    if kind == "quantised":
        return np.round(values_T / (spread * random.uniform(0.05, 0.7))) * spread
    if kind == "bounded":
        low, high = np.quantile(values_T, [random.uniform(0.0, 0.2), random.uniform(0.8, 1.0)])
        return np.clip(values_T, low, high)
    if kind == "positive":
        return np.maximum(values_T, 0.0)
    if kind == "skewed":
        return np.asarray(
            np.exp(np.clip((values_T - values_T.mean()) / spread * random.uniform(0.2, 1.0), -20.0, 20.0))
        )
    return values_T


def _one_of(random: Random, *values: float) -> float:
    return values[int(random.integers(len(values)))]


def _harmonics(random: Random, angle_T: Float64, count: int) -> Float64:
    wave = np.zeros_like(angle_T)
    for order in range(1, count + 1):
        wave += random.normal(0.0, 1.0 / order) * np.sin(order * angle_T + random.uniform(0, 2 * np.pi))
    return wave


def _autoregressive(random: Random, events: int, keep: float) -> Float64:
    return _decaying(random.standard_normal(events) * np.sqrt(1.0 - keep**2), keep)


def _decaying(added_T: Float64, keep: float) -> Float64:
    out, level = np.empty_like(added_T), 0.0
    for t, added in enumerate(added_T.tolist()):
        level = keep * level + added
        out[t] = level
    return out


def _alternating(random: Random, events: int, mean_2: Float64, spread: float) -> Float64:
    out, t, on = np.zeros(events), 0, False
    while t < events:
        held = max(int(mean_2[int(on)] * np.exp(spread * random.standard_normal())), 1)
        out[t : t + held] = float(on)
        t, on = t + held, not on
    return out


def streams(seed: int, count: int, start: float, events: tuple[int, int]) -> list[Series]:
    """Return `count` streams that start near `start` (epoch seconds). Their lengths are drawn between the two numbers
    `events`, uniformly on a log scale."""
    out = []
    for place in range(count):
        random = np.random.default_rng((seed, place))
        length = int(np.exp(random.uniform(*np.log(events))))
        out.append(stream(random, f"generated-{seed}-{place}", length, start))
    return out

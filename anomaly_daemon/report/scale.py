"""Axes: the mapping from values to pixels, and the places of the ticks. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

STEP_SECONDS = (60, 300, 900, 3600, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 2_419_200, 7_257_600, 31_536_000)
"""Distances between time ticks that are easy to read, in seconds: one minute to a year."""


MOST_LETTERS = 10
"""Most characters of a tick's text: the margin of a plot has room for no more."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear mapping from values [low, high] to pixels [start, end]."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, values: npt.ArrayLike) -> Float64:
        share = (np.asarray(values, float) - self.low) / (self.high - self.low)
        return np.asarray(self.start + share * (self.end - self.start))


def bounds(*columns: npt.ArrayLike) -> tuple[float, float]:
    """Return a range that covers the columns' finite values with a margin; 0 to 1 where there are none."""
    values = np.concatenate([np.ravel(np.asarray(column, float)) for column in columns])
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    margin = 0.06 * (high - low) or max(abs(high), 1.0) * 0.05
    return low - margin, high + margin


def ticks(low: float, high: float, about: int = 3) -> list[float]:
    """Return round numbers inside [low, high], at most `about` + 2 of them."""
    step = _step(low, high, about)
    return [float(value) for value in np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step]


def _step(low: float, high: float, about: int) -> float:
    rough = (high - low) / about
    power = float(10.0 ** np.floor(np.log10(rough)))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)


def value_ticks(low: float, high: float, about: int = 3) -> list[tuple[float, str]]:
    """Return `ticks` with their texts: with the digits that distinguish them, or as powers of ten where there is no
    room."""
    values, step = ticks(low, high, about), _step(low, high, about)
    place = math.floor(math.log10(step) + 1e-9)
    plain = [f"{value + 0.0:,.{max(-place, 0)}f}" for value in values]
    if all(len(text) <= MOST_LETTERS for text in plain):
        return list(zip(values, plain, strict=True))
    most = max(map(abs, values))
    places = max(math.floor(math.log10(most) + 1e-9) - place, 0) if most else 0
    return [(value, _with_power(value, places) if abs(value) > step / 2 else "0") for value in values]


def _with_power(value: float, places: int) -> str:
    digits, power = f"{value:.{places}e}".split("e")
    return f"{digits.rstrip('0').rstrip('.') if '.' in digits else digits}e{int(power)}"


def number(value: float | None) -> str:
    """Return a number as a person writes it: four significant digits, and no exponent where none is needed."""
    if value is None or not np.isfinite(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 9_999.5 else f"{value + 0.0:.4g}"  # + 0.0: never "-0"


def time_ticks(start: int, end: int, about: int = 8) -> list[tuple[int, str]]:
    """Return (epoch microseconds, text) of round UTC times between `start` and `end`."""
    seconds = (end - start) / 1e6
    step = next((step for step in STEP_SECONDS if seconds / step <= about), STEP_SECONDS[-1])
    first = -(-start // (step * 1_000_000))
    places = range(first, int(end // (step * 1_000_000)) + 1)
    shape = (
        "%H:%M" if seconds < 86_400 else "%d %b %H:%M" if step < 86_400 else "%d %b" if step < 7_257_600 else "%b %Y"
    )
    return [(place * step * 1_000_000, datetime.fromtimestamp(place * step, UTC).strftime(shape)) for place in places]

"""Tests whether streams have drifted away from their model, by its loss over time and by its alarms against the budget.

*Loss.* The range is cut into blocks of equal time; the first third defines what is usual. A one-sided CUSUM (Page 1954,
"Continuous inspection schemes", Biometrika 41) sums by how much the later blocks exceed that. A lasting rise adds up, a
single bad hour does not. A rise below `LEAST_RISE` is no drift, however significant it is.

*Alarms.* The exact upper tail of the Poisson distribution (Przyborowski and Wilenski 1940, Biometrika 31) gives the
probability, under the budget, of at least as many pattern episodes as there were over the last third of the range, in
the streams that are tested.

Shapes: K blocks, B lanes, T events.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from anomaly_daemon.detection.network import Network
from anomaly_daemon.detection.observation import Float64, Int64
from anomaly_daemon.training.chunks import Lane, Run, collate, schedule
from anomaly_daemon.training.loop import MEASURE_BATCH, carried
from anomaly_daemon.training.loss import student_nll
from anomaly_daemon.training.promotion import Reason
from anomaly_daemon.training.rows import Row

BLOCKS = 48
USUAL = BLOCKS // 3
"""Number of blocks in a third: the first ones define the usual loss, and alarms are counted over the last ones."""
SLACK, LIMIT = 1.0, 8.0
"""In standard deviations of a usual block's loss. Mean and standard deviation are estimated from sixteen blocks, so
both figures are wider than k = 0.5 and h = 5, the usual choice where they are known."""
LEAST_DEVIATION = 0.01
"""The least standard deviation used, in nats a value. The usual blocks of a very regular stream differ by less, and any
change would be a drift."""
LEAST_RISE = 0.05
"""The least rise of the last third's loss above the first's, in nats a value."""
RARE = 1e-3
"""A count of alarms is beyond the budget if its probability is below this."""
TIMES_BUDGET = 2.0
"""The count must also be at least this many times the budget. A rate only a little above the budget is a matter for the
calibration."""


@dataclass(frozen=True, slots=True)
class Alarms:
    """What was published over the last third: the number of pattern episodes, and the days of event time summed over
    streams."""

    count: int
    stream_days: float


def drifted(loss_K: Float64, alarms: Alarms | None, budget: float) -> tuple[Reason, ...]:
    """Return the result of each test; `passed` means that it found a drift. Blocks without a value are NaN in `loss_K`.
    `alarms` is None where nobody knows what was published. `budget` is in alarms a stream and day."""
    return _loss(loss_K), _alarms(alarms, budget)


def edges(rows: Sequence[Row]) -> Int64:
    """Return the K + 1 instants between blocks, epoch microseconds. They are whole numbers of any size: from the year
    2255 on, a float has no place for the last event's microsecond, and the last block would end before it."""
    first, end = min(int(row.time_T[0]) for row in rows), max(int(row.time_T[-1]) for row in rows) + 1
    return np.array([first + (end - first) * block // BLOCKS for block in range(BLOCKS + 1)], np.int64)


def block_losses(network: Network, rows: Sequence[Row], window: int) -> Float64:
    """Return the prediction loss of each block of time in nats a value, [K]; NaN where a block has no value. The state
    of each stream is carried through the whole range."""
    bounds, sums_2K = edges(rows), np.zeros((2, BLOCKS))
    state = network.initial_state(0)
    runs = [Run(place, 0, len(row)) for place, row in enumerate(rows)]
    with torch.no_grad():
        for lanes in schedule(runs, MEASURE_BATCH, window, window):
            chunk = collate(rows, lanes, window, network.config.reconstruct)
            predicted, _, state = network(chunk.inputs, carried(state, chunk.previous), chunk.past_values[:, -1])
            values, mask = chunk.inputs.values, chunk.inputs.mask
            nll_BT = (student_nll(values, predicted.location, predicted.log_scale) * mask).sum(-1).numpy()
            for place, lane in enumerate(lanes):
                block_T = np.searchsorted(bounds, _times(rows, lane, window), side="right") - 1
                np.add.at(sums_2K[0], block_T, nll_BT[place, : len(block_T)])
                np.add.at(sums_2K[1], block_T, mask[place, : len(block_T)].sum(-1).numpy())
    return np.where(sums_2K[1] > 0, sums_2K[0] / np.maximum(sums_2K[1], 1), np.nan)


def _times(rows: Sequence[Row], lane: Lane, window: int) -> Int64:
    return rows[lane.run.row].time_T[lane.position : min(lane.position + window, lane.run.stop)]


def _loss(loss_K: Float64) -> Reason:
    usual, later = loss_K[:USUAL], loss_K[USUAL:]
    usual, later = usual[np.isfinite(usual)], later[np.isfinite(later)]
    if len(usual) < USUAL // 2 or not len(later):
        return Reason("loss", False, "too few blocks of time hold a value")
    center, deviation = float(usual.mean()), max(float(usual.std(ddof=1)), LEAST_DEVIATION)
    reached = highest = 0.0
    for loss in later.tolist():
        reached = max(0.0, reached + (loss - center) / deviation - SLACK)
        highest = max(highest, reached)
    rise = float(later[-USUAL:].mean()) - center
    text = f"CUSUM {highest:.1f}, limit {LIMIT:g}; {rise:+.3f} nats a value, least {LEAST_RISE:g}"
    return Reason("loss", highest > LIMIT and rise >= LEAST_RISE, text)


def _alarms(alarms: Alarms | None, budget: float) -> Reason:
    if alarms is None:
        return Reason("alarms", False, "not tested: no published alerts to count; name them with --alerts")
    expected = budget * alarms.stream_days
    chance = poisson_tail(alarms.count, expected)
    text = f"{alarms.count} alarms where the budget is {expected:.1f}: a chance of {chance:.2g}, limit {RARE:g}"
    return Reason("alarms", chance < RARE and alarms.count >= TIMES_BUDGET * expected, text)


def poisson_tail(count: int, expected: float) -> float:
    """Return P(at least `count`) for a Poisson distribution with mean `expected`."""
    if count == 0:
        return 1.0
    if expected <= 0:
        return 0.0
    below = sum(math.exp(n * math.log(expected) - expected - math.lgamma(n + 1)) for n in range(count))
    return max(0.0, 1.0 - below)

"""Card transactions, and the features that a fraud team computes for each of them from those before it.

Shapes: N transactions in order of time, F features.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.quality.series import DAY, Bool, Float64, Int64, Series

LEARN_DAYS = 30
"""Days at the beginning whose transactions may be learned from, and are not scored."""

WINDOWS_DAYS = (1, 7, 30)


@dataclass(frozen=True, slots=True)
class Transactions:
    """The columns of all transactions, in order of time."""

    seconds_N: Float64
    customer_N: Int64
    terminal_N: Int64
    amount_N: Float64
    fraud_N: Bool

    def __len__(self) -> int:
        return len(self.seconds_N)

    @property
    def day_N(self) -> Int64:
        """The day of each transaction, counted from the day of the first one."""
        return (self.seconds_N // DAY - self.seconds_N[0] // DAY).astype(np.int64)

    @property
    def start(self) -> int:
        """The index of the first transaction that counts."""
        return int(np.searchsorted(self.day_N, LEARN_DAYS))

    def series(self) -> Series:
        """Return all transactions as one series of amounts."""
        time_N = np.round(self.seconds_N * 1e6).astype(np.int64)
        return Series("transactions", self.amount_N[:, None], time_N, self.fraud_N, self.start)


def read_transactions(path: Path, limit: int | None = None) -> Transactions:
    """Read the transactions of a file in order of time, or only the first `limit` of them."""
    with np.load(path) as file:
        first = np.argsort(file["ts"], kind="stable")[:limit]
        seconds, customer, terminal, amount, fraud = (
            file[name][first] for name in ("ts", "customer", "terminal", "amount", "fraud")
        )
    return Transactions(
        seconds.astype(float), customer.astype(np.int64), terminal.astype(np.int64), amount.astype(float), fraud == 1
    )


def features(told: Transactions) -> Float64:
    """Return [N, F]: the amount, its logarithm, night, weekend; and for each of the last 1, 7 and 30 days: the
    customer's count and mean amount, the amount over that mean, and the terminal's count. As in the Fraud Detection
    Handbook, but without labels."""
    hour_N = told.seconds_N % DAY / 3600
    weekday_N = (told.seconds_N // DAY + 3) % 7  # the epoch began on a Thursday
    columns = [told.amount_N, np.log1p(told.amount_N), (hour_N < 7).astype(float), (weekday_N >= 5).astype(float)]
    for days in WINDOWS_DAYS:
        count_N, total_N = lately(told.customer_N, told.seconds_N, told.amount_N, days * DAY)
        columns += [count_N, total_N / count_N, told.amount_N * count_N / np.maximum(total_N, 0.01)]
        columns.append(lately(told.terminal_N, told.seconds_N, told.amount_N, days * DAY)[0])
    return np.stack(columns, axis=1)


def lately(key_N: Int64, seconds_N: Float64, value_N: Float64, window: float) -> tuple[Float64, Float64]:
    """Return the count and the sum of a key's values over the last `window` seconds, this value included."""
    order = np.argsort(key_N, kind="stable")
    apart = float(np.ptp(seconds_N)) + window + 1.0  # the times of each key lie beyond all times of the key before it
    rank_N = np.unique(key_N, return_inverse=True)[1]  # a float does not hold a card number times seconds
    place_N = (seconds_N - seconds_N[0] + rank_N * apart)[order]
    first_N = np.searchsorted(place_N, place_N - window, side="right")
    total_N = np.concatenate([[0.0], np.cumsum(value_N[order])])
    here_N = np.arange(len(order))
    count, total = np.empty(len(order)), np.empty(len(order))
    count[order], total[order] = here_N + 1 - first_N, total_N[here_N + 1] - total_N[first_N]
    return count, total

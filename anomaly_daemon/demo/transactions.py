"""Generated card transactions: every card has its own pace, amounts, categories and channels.

Pure: randomness is a generator passed in. The columns hold N transactions in time order. A category or channel is an
index into `CATEGORIES` or `CHANNELS`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anomaly_daemon.demo.faults import DAY, HOUR, Fault, FaultKind

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

CATEGORIES = (
    "groceries",
    "fuel",
    "restaurant",
    "transport",
    "pharmacy",
    "clothing",
    "electronics",
    "travel",
    "entertainment",
    "utilities",
    "jewellery",
    "money_transfer",
)
TYPICAL_AMOUNT = np.array([45.0, 55.0, 32.0, 12.0, 20.0, 60.0, 140.0, 220.0, 25.0, 80.0, 300.0, 200.0])
COMMON = 10
"""Number of categories from which habits are drawn: the first ten. The last two are foreign to every card."""
CHANNELS = ("contactless", "chip", "online")

FAULT_HOURS = {FaultKind.AMOUNT_BURST: (1.0, 3.0), FaultKind.FOREIGN_CATEGORY: (6.0, 12.0)}
"""The shortest and longest duration of each kind, in hours."""

BURST_RATIO = (8.0, 15.0)
"""The amount of a payment in a burst, as a multiple of what the card usually pays in that category."""
RUN_LENGTH = (6, 12)
"""The smallest and largest number of transactions in a burst or a run."""

HOUR_WEIGHT = np.array([1, 1, 1, 1, 1, 2, 6, 10, 14, 16, 18, 22, 26, 24, 20, 18, 20, 24, 26, 22, 16, 10, 6, 3], float)


@dataclass(frozen=True, slots=True)
class Bank:
    """The number of cards, and for how long they are used. `start` is in epoch microseconds, at midnight UTC."""

    start: int
    cards: int = 120
    days: float = 28.0
    per_day: tuple[float, float] = (5.0, 12.0)
    """Transactions a day of the slowest and of the busiest card."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"card-{number + 1:04d}" for number in range(self.cards))


@dataclass(frozen=True, slots=True)
class Habit:
    """The usual behaviour of one card."""

    per_day: float
    amount: float
    """A multiple of the category's typical amount."""
    category_share: Float64
    channel_share: Float64


@dataclass(frozen=True, slots=True)
class Transactions:
    """Columns of N transactions."""

    card_N: Int64
    time_N: Int64
    amount_N: Float64
    category_N: Int64
    channel_N: Int64


def transactions(bank: Bank, faults: tuple[Fault, ...], rng: np.random.Generator) -> Transactions:
    """Return every card's transactions with the faults in them, in time order."""
    parts = []
    for card, name in enumerate(bank.names):
        habit = _habit(bank, rng)
        parts.append(_usual(bank, card, habit, rng))
        parts += [_faulty(fault, card, habit, rng) for fault in faults if fault.stream == name]
    order = np.argsort(np.concatenate([part.time_N for part in parts]), kind="stable")
    return Transactions(
        *(
            np.concatenate([getattr(part, column) for part in parts])[order]
            for column in ("card_N", "time_N", "amount_N", "category_N", "channel_N")
        )
    )


def _habit(bank: Bank, rng: np.random.Generator) -> Habit:
    share = np.zeros(len(CATEGORIES))
    liked = rng.choice(COMMON, size=int(rng.integers(3, 6)), replace=False)
    share[liked] = rng.dirichlet(np.full(len(liked), 2.0))
    channel = rng.dirichlet([4.0, 3.0, 2.0])
    return Habit(rng.uniform(*bank.per_day), rng.lognormal(0, 0.3), share, channel)


def _usual(bank: Bank, card: int, habit: Habit, rng: np.random.Generator) -> Transactions:
    count = rng.poisson(habit.per_day * bank.days)
    day = rng.integers(0, max(int(bank.days), 1), count)
    hour = rng.choice(24, count, p=HOUR_WEIGHT / HOUR_WEIGHT.sum())
    time_N = bank.start + day * DAY + hour * HOUR + rng.integers(0, HOUR, count)
    category_N = rng.choice(len(CATEGORIES), count, p=habit.category_share)
    return _priced(card, time_N, category_N, habit, rng)


def _faulty(fault: Fault, card: int, habit: Habit, rng: np.random.Generator) -> Transactions:
    count = int(rng.integers(*RUN_LENGTH, endpoint=True))
    time_N = np.sort(rng.integers(fault.start, fault.end, count))
    if fault.kind is FaultKind.FOREIGN_CATEGORY:
        return _priced(
            card, time_N, rng.integers(COMMON, len(CATEGORIES), count), habit, rng, typical_N=np.full(count, 45.0)
        )
    bought = _priced(card, time_N, rng.choice(len(CATEGORIES), count, p=habit.category_share), habit, rng)
    return Transactions(
        bought.card_N,
        bought.time_N,
        bought.amount_N * rng.uniform(*BURST_RATIO, count),
        bought.category_N,
        bought.channel_N,
    )


def _priced(
    card: int,
    time_N: Int64,
    category_N: Int64,
    habit: Habit,
    rng: np.random.Generator,
    typical_N: Float64 | None = None,
) -> Transactions:
    """Return transactions at these times in these categories, with the card's own amounts and channels."""
    count = len(time_N)
    typical_N = TYPICAL_AMOUNT[category_N] if typical_N is None else typical_N
    amount_N = typical_N * habit.amount * rng.lognormal(0, 0.4, count)
    channel_N = rng.choice(len(CHANNELS), count, p=habit.channel_share)
    return Transactions(np.full(count, card), time_N, amount_N, category_N, channel_N)

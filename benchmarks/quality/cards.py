"""Card payments through the daemon's own detection, configured as in configs/transactions.yaml but without its text
fields.

Run once as a team begins, with the network that ships, and once as the file says to go on, with a network trained on
the days before. Each payment is read twice: in the stream of its card, and in the stream of a branch, which many cards
share. In production this takes two daemons over one topic, each with a model of its own. Their p-values are joined as
the daemon joins kinds of evidence.

Shapes: N transactions, K streams of each transaction (card and branch).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from anomaly_daemon.configuration import load
from anomaly_daemon.detection.combination import joined
from anomaly_daemon.detection.observation import Observations
from anomaly_daemon.training.build import build
from benchmarks.quality import ours
from benchmarks.quality.series import Float64, Int64
from benchmarks.quality.transactions import Transactions

CONFIG = Path(__file__).parents[2] / "configs" / "transactions.yaml"

BRANCHES = 64
"""Number of branches: each is shared by a 64th of the cards."""

NO_TEXTS = "stream.categorical=[]"
TRAINED = ('detection.evidence=["point", "level", "burst"]', "detection.shared_events=3000")
"""The settings that the file names for a model trained on these cards."""


def shipped(told: Transactions) -> Float64:
    """Return the surprise of each amount with the network that ships."""
    settings = load(CONFIG, [NO_TEXTS], {})
    return _joined(told, lambda batch: ours.stepped(batch, settings)[0])


def trained(told: Transactions) -> Float64:
    """Return the surprise of each amount with networks trained on everything before the first payment that counts."""
    settings = load(CONFIG, [NO_TEXTS, *TRAINED], {})

    def p_value(batch: Observations) -> Float64:
        model = build(settings, [batch.take(slice(told.start))], name="cards")
        return ours.stepped(batch, settings, model)[0]

    return _joined(told, p_value)


def _joined(told: Transactions, p_value: Callable[[Observations], Float64]) -> Float64:
    """Return the surprise of card and branch together: that of the harmonic mean of their p-values, which is close to
    the smaller of them."""
    keys = told.customer_N, told.customer_N % BRANCHES
    p_NK = np.stack([p_value(keyed(told, key_N)) for key_N in keys], axis=1)
    return ours.surprise(joined(p_NK, np.ones(len(keys)), np.ones_like(p_NK)).p)


def keyed(told: Transactions, key_N: Int64) -> Observations:
    """Return the amounts as observations, in one stream for each value of the key."""
    keys, stream_N = np.unique(key_N, return_inverse=True)
    amounts = told.series()
    return ours.observed(tuple(str(key) for key in keys), stream_N.astype(np.int32), amounts.time_N, amounts.values_ND)

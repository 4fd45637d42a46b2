"""Card payments in the quality benchmark: the input of the daemon, and the simple rules that a fraud team begins with."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from anomaly_daemon.configuration import load
from benchmarks.quality import cards, fraud
from benchmarks.quality.transactions import DAY, Transactions, lately, read_transactions

FIRST = 1_522_540_800.0


def payments(cards_: int = 40, days: int = 45, a_day: int = 8, seed: int = 0) -> Transactions:
    """Return payments of cards that each have a usual amount. From day 32 on, one in 50 is six times the card's usual
    amount."""
    random = np.random.default_rng(seed)
    count = cards_ * days * a_day
    seconds_N = np.sort(FIRST + days * DAY * random.random(count))
    customer_N = random.integers(0, cards_, count)
    usual_N = np.geomspace(5, 80, cards_)[customer_N]
    fraud_N = (seconds_N > FIRST + 32 * DAY) & (random.random(count) < 0.02)
    amount_N = usual_N * random.lognormal(0, 0.3, count) * np.where(fraud_N, 6.0, 1.0)
    return Transactions(seconds_N, customer_N, random.integers(0, 100, count), amount_N, fraud_N)


@pytest.fixture(scope="module")
def told() -> Transactions:
    return payments()


@pytest.fixture(scope="module")
def figures(told: Transactions) -> dict[str, dict[str, float]]:
    names = ("anomaly-daemon", "anomaly-daemon-shipped", "random", "amount", "amount-ratio")
    return {name: fraud.measure(told, fraud.detect(told, name)[0]) for name in names}


def test_what_is_set_for_a_trained_model_stands_in_the_configuration() -> None:
    said = re.findall(r"^  # (\w+): (.*)$", cards.CONFIG.read_text(encoding="utf-8"), re.MULTILINE)
    assert [f"detection.{key}={value}" for key, value in said if key in ("evidence", "shared_events")] == list(
        cards.TRAINED
    )


def test_the_daemon_is_configured_as_shipped_but_for_the_texts() -> None:
    shipped, here = load(cards.CONFIG, [], {}), load(cards.CONFIG, [cards.NO_TEXTS], {})
    assert here.stream.categorical == []
    assert here.detection == shipped.detection
    assert here.limits == shipped.limits


def test_the_daemon_reads_every_payment_once_in_its_cards_stream(told: Transactions) -> None:
    batch = cards.keyed(told, told.customer_N)
    assert [batch.keys[place] for place in batch.stream_N] == [str(card) for card in told.customer_N]
    assert np.array_equal(batch.values_ND[:, 0], told.amount_N)
    assert np.array_equal(batch.time_N, told.series().time_N)


def test_an_amount_that_is_large_for_its_card_alone_is_found_by_its_cards_past(
    figures: dict[str, dict[str, float]],
) -> None:
    by_name = {name: one["auc_pr"] for name, one in figures.items()}
    assert min(by_name[name] for name in ("anomaly-daemon", "anomaly-daemon-shipped", "amount-ratio")) > 0.9
    assert 0.9 > by_name["amount"] > by_name["random"]


def test_no_score_knows_what_comes_later(told: Transactions) -> None:
    """All amounts are multiplied from the 40th day on. Scores of the days before must not change."""
    cut = int(np.searchsorted(told.day_N, 40))
    other = Transactions(
        told.seconds_N,
        told.customer_N,
        told.terminal_N,
        np.where(np.arange(len(told)) < cut, told.amount_N, 7 * told.amount_N),
        told.fraud_N,
    )
    for name in ("anomaly-daemon-shipped", "amount-ratio"):
        first, second = (fraud.DETECTORS[name](one) for one in (told, other))
        assert np.allclose(first[:cut], second[:cut], rtol=1e-9, equal_nan=True), name  # sums of all cards are rounded
        assert not np.allclose(first[cut:], second[cut:], rtol=1e-2, equal_nan=True), name


def test_the_ratio_is_to_what_the_card_paid_in_thirty_days(told: Transactions) -> None:
    place = len(told) - 1
    own = (told.customer_N == told.customer_N[place]) & (told.seconds_N > told.seconds_N[place] - 30 * DAY)
    assert fraud.ratio(told)[place] == pytest.approx(told.amount_N[place] / told.amount_N[own].mean())


def test_transactions_that_end_before_any_counts_have_figures_that_are_not_known() -> None:
    told = payments(days=10)
    (found,) = fraud.detect(told, "amount")
    figures = fraud.measure(told, found)
    assert all(np.isnan(figures[name]) for name in ("auc_pr", "precision_at_100_a_day", "recall_at_100_a_day"))


def test_what_a_customer_did_lately_does_not_depend_on_how_customers_are_numbered() -> None:
    told = payments(days=20)
    numbers_N = 4_000_000_000_000_000 + told.customer_N
    few, many = (lately(key_N, told.seconds_N, told.amount_N, DAY) for key_N in (told.customer_N, numbers_N))
    np.testing.assert_allclose(few, many)


def test_transactions_are_read_in_the_order_of_their_times(tmp_path: Path) -> None:
    names = ("customer", "terminal", "amount", "fraud")
    np.savez(tmp_path / "transactions.npz", ts=[30.0, 10.0, 20.0], **{name: [3, 1, 2] for name in names})
    told = read_transactions(tmp_path / "transactions.npz", 2)
    assert (told.seconds_N.tolist(), told.customer_N.tolist()) == ([10, 20], [1, 2])
    assert told.fraud_N.tolist() == [True, False]

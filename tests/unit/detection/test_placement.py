"""The network on another device. With `apart` the CPU takes every step that a GPU would take, except that the device is
the CPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from streams import model, schema, wave

from anomaly_daemon.detection.detector import Detector, Scores
from anomaly_daemon.detection.network import Cell, Layout
from anomaly_daemon.detection.observation import category_code
from anomaly_daemon.detection.placement import Placement
from anomaly_daemon.detection.rules import Rules

APART = Placement("cpu", apart=True)
DEVICES = [
    APART,
    pytest.param(Placement.of("cuda"), marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")),
]
FIELDS = schema(categorical=("kind",))
COLUMNS = [name for name in Scores.__dataclass_fields__ if name != "status_N"]


def scores(placement: Placement, layout: Layout, cell: Cell = Cell.LSTM, batch: int = 10_000) -> dict[str, np.ndarray]:
    events = wave(streams=5, events=40)
    kinds = np.array([category_code("a"), category_code("b")])[np.arange(len(events)) % 2]
    events = replace(events, categories_NC=kinds[:, None])
    made = Detector(model(layout, cell, FIELDS), FIELDS, Rules(), "in", 0, placement=placement)
    steps = [made.step(events.take(slice(at, at + batch))).scores for at in range(0, len(events), batch)]
    return {name: np.concatenate([getattr(one, name) for one in steps]) for name in COLUMNS}


@pytest.mark.parametrize("placement", DEVICES)
@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("cell", Cell)
def test_it_says_the_same_elsewhere_but_for_the_last_digits(placement: Placement, layout: Layout, cell: Cell) -> None:
    here, there = scores(Placement(), layout, cell), scores(placement, layout, cell)
    for name in COLUMNS:
        np.testing.assert_allclose(there[name], here[name], rtol=1e-4, atol=1e-5, err_msg=name)
    assert np.isfinite(there["score_N"][-1])


@pytest.mark.parametrize("placement", DEVICES)
@pytest.mark.parametrize("layout", Layout)
def test_the_bits_are_the_same_for_any_batch_there_too(placement: Placement, layout: Layout) -> None:
    whole, parts = scores(placement, layout), scores(placement, layout, batch=7)
    for name in COLUMNS:
        assert np.array_equal(whole[name], parts[name], equal_nan=True), name


def test_the_network_that_was_given_stays_where_it_is() -> None:
    given = model(Layout.CHANNEL, Cell.LSTM, FIELDS)
    made = Detector(given, FIELDS, Rules(), "in", 0, placement=APART)
    assert made.scorer.recurrence.network is not given.network
    assert Detector(given, FIELDS, Rules(), "in", 0).scorer.recurrence.network is given.network

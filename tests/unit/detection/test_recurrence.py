"""The network's part in an event as the daemon runs it, compared with the trained network and with itself in batches of
other sizes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch

from anomaly_daemon.detection.categories import Categories
from anomaly_daemon.detection.network import Cell, Inputs, Layout, Network, NetworkConfig, State
from anomaly_daemon.detection.observation import category_code
from anomaly_daemon.detection.passage import Moment, Passed
from anomaly_daemon.detection.placement import Placement
from anomaly_daemon.detection.recurrence import Recurrence
from anomaly_daemon.detection.state import Rows, StateLayout

FIELDS, TEXTS = ("colour", "kind"), ("a", "b", "c")
PLACEMENTS = [Placement(), Placement("cpu", apart=True)]
MINUTE = 60_000_000


class Given(NamedTuple):
    rows: Rows
    moment: Moment
    y_BD: np.ndarray
    mask_BD: np.ndarray

    def part(self, which: slice) -> Given:
        rows = Rows(self.rows.layout, self.rows.carried_BP[which].copy(), self.rows.statistics_BQ[which].copy())
        return Given(rows, Moment(*(each[which] for each in self.moment)), self.y_BD[which], self.mask_BD[which])


class Bound(NamedTuple):
    network: Network
    recurrence: Recurrence
    numeric: int

    def drawn(self, rows: int) -> Given:
        """Return some state and some events, of which some values are missing."""
        random = np.random.default_rng(0)
        given = StateLayout(*self.recurrence.columns()).blank(rows)
        for name in ("hidden", "cell") if self.network.config.cell is Cell.LSTM else ("hidden",):
            given[name] = 0.5 * random.normal(size=given[name].shape)
        given["window"][:, 0] = random.normal(size=(rows, self.numeric))
        there_BD = random.random((rows, self.numeric)) < 0.8
        y_BD = np.where(there_BD, random.normal(size=there_BD.shape), 0.0).astype(np.float32)
        codes = np.array([category_code(text) for text in TEXTS])
        codes_BC = codes[random.integers(0, 3, (rows, len(self.network.config.classes)))]
        time_B = 1_700_000_000_000_000 + MINUTE * random.integers(0, 9999, rows)
        gap_B = random.uniform(0.5, 2.0, rows) * MINUTE
        values_BD = np.where(there_BD, y_BD, np.nan)
        usual_B, apart_B = np.full(rows, float(MINUTE)), np.zeros(rows, bool)
        moment = Moment(time_B, gap_B, usual_B, values_BD, codes_BC, np.ones(rows), apart_B)
        return Given(given, moment, y_BD, there_BD.astype(np.float32))

    def stepped(self, given: Given) -> tuple[Passed, Rows]:
        now = given.part(slice(None))
        return self.recurrence.step(now.rows, now.moment, now.y_BD, now.mask_BD), now.rows


def bound(layout: Layout, cell: Cell, layers: int, classes: int, placement: Placement) -> Bound:
    numeric, joint = 3, layout is Layout.JOINT
    config = NetworkConfig(
        layout=layout,
        cell=cell,
        layers=layers,
        hidden=50,
        head=(30,),
        values=numeric if joint else 1,
        classes=(4,) * classes,
    )
    network = Network(config, torch.Generator().manual_seed(1)).eval()
    with torch.no_grad():
        for seed, weight in enumerate(network.parameters()):
            weight.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed)))
    categories = Categories(FIELDS[:classes], dict.fromkeys(FIELDS, TEXTS), not joint, 100.0)
    return Bound(network, Recurrence(network, categories, "UTC", numeric, placement), numeric)


CASES = [(Layout.CHANNEL, 0), (Layout.JOINT, 0), (Layout.JOINT, 2)]


@pytest.mark.parametrize("placement", PLACEMENTS, ids=["here", "apart"])
@pytest.mark.parametrize("cell", Cell)
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize(("layout", "classes"), CASES)
def test_it_says_what_the_network_that_was_trained_says(
    layout: Layout, classes: int, layers: int, cell: Cell, placement: Placement
) -> None:
    made = bound(layout, cell, layers, classes, placement)
    given, config = made.drawn(40), made.network.config
    passed, rows = made.stepped(given)
    entering = made.recurrence._entering(given.rows.carried("window")[:, 0], given.moment, given.y_BD, given.mask_BD)
    groups, values = made.recurrence.groups, config.values
    by_row = (torch.from_numpy(each.reshape(-1, values)) for each in (given.y_BD, given.mask_BD, entering.latest_BD))
    y_MV, mask_MV, latest_MV = by_row
    context_MX = torch.from_numpy(np.repeat(entering.context_BX, groups, axis=0))
    inputs = Inputs(y_MV, mask_MV, context_MX, torch.from_numpy(entering.classes_BC))
    names = ("hidden", "cell") if cell is Cell.LSTM else ("hidden", "hidden")
    parts = [torch.from_numpy(given.rows.carried(name).copy()).flatten(0, 1).transpose(0, 1) for name in names]
    with torch.no_grad():
        predicted = made.network.predict(parts[0][-1], context_MX, latest_MV)
        after = made.network.step(made.network.embed(inputs), State(parts[0].contiguous(), parts[1].contiguous()))
        rebuilt = made.network.reconstruct(after.hidden[-1])
    close = {"atol": 5e-6, "rtol": 0}
    np.testing.assert_allclose(passed.location_BD.reshape(-1, values), predicted.location, **close)
    np.testing.assert_allclose(passed.log_scale_BD.reshape(-1, values), predicted.log_scale, **close)
    if classes:
        np.testing.assert_allclose(passed.logits_BK, torch.cat(predicted.logits, dim=1), **close)
    told = passed.rebuilt_BRD.reshape(40, config.reconstruct, groups, values).transpose(0, 2, 1, 3)
    np.testing.assert_allclose(told.reshape(rebuilt.shape), rebuilt, **close)
    for name in names if cell is Cell.LSTM else names[:1]:
        expected = getattr(after, name).transpose(0, 1).reshape(40, groups, layers, -1)
        np.testing.assert_allclose(rows.carried(name), expected, **close)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(("layout", "classes"), CASES)
def test_a_row_has_the_same_bits_in_a_batch_of_any_size_and_place(layout: Layout, classes: int, layers: int) -> None:
    made, rows = bound(layout, Cell.LSTM, layers, classes, Placement()), 1100
    given = made.drawn(rows)
    whole, after = made.stepped(given)
    for size in (1, 2, 3, 7, 9, 31, 257, 1000):
        for start in (0, 13, rows - size):
            which = slice(start, start + size)
            said, moved = made.stepped(given.part(which))
            for one, of_all in zip(said, whole.part(which), strict=True):
                np.testing.assert_array_equal(one, of_all)
            np.testing.assert_array_equal(moved.carried_BP, after.carried_BP[which])


def test_a_prediction_does_not_depend_on_the_value_it_is_of() -> None:
    made = bound(Layout.JOINT, Cell.LSTM, 1, 0, Placement())
    given = made.drawn(9)
    other = given._replace(y_BD=given.y_BD + np.float32(100.0))
    (one, _), (two, _) = made.stepped(given), made.stepped(other)
    np.testing.assert_array_equal(one.location_BD, two.location_BD)
    assert (one.rebuilt_BRD != two.rebuilt_BRD).any()

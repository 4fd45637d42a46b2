from __future__ import annotations

import numpy as np
import pytest

from anomaly_daemon.detection import odds, rhythm
from anomaly_daemon.detection.signals import Signal, kinds
from anomaly_daemon.detection.state import StateLayout
from anomaly_daemon.detection.weighed import Weighed

LAYOUT = StateLayout([], rhythm.columns(2))
AT = rhythm.at(LAYOUT)
OTHERS = [kind for kind in range(kinds(2)) if kind != Signal.SEASON]


def weights(*left_D: float, parts: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """Return the factors of all kinds where the clock leaves these shares of the variances of two fields."""
    rows, weighed, weight_BJ = LAYOUT.blank(1), Weighed.blank(1, kinds(2), 2, 2), np.ones((1, kinds(2)))
    rows["rhythm_left"][0], rows["rhythm_count"][0] = left_D, 1e9
    weighed.parts_BJ2F[0, :, 0] = parts
    odds.by_the_clock(rows.statistics_BQ, AT, weighed, weight_BJ)
    return weight_BJ[0]


def test_the_season_is_worth_what_the_clock_explains() -> None:
    assert weights(1.0, 1.0)[Signal.SEASON] == odds.LEAST
    assert weights(0.4, 0.4)[Signal.SEASON] == pytest.approx(0.6)
    assert weights(0.0, 0.0)[Signal.SEASON] == pytest.approx(1.0, abs=1e-5)


def test_the_fields_that_lead_decide() -> None:
    by_first, by_second = (weights(0.1, 0.9, parts=parts)[Signal.SEASON] for parts in ((1.0, 0.0), (0.0, 1.0)))
    assert by_first == pytest.approx(0.9)
    assert by_second == pytest.approx(0.1)
    assert weights(0.1, 0.9, parts=(3.0, 1.0))[Signal.SEASON] == pytest.approx(0.7)


def test_other_kinds_stay_as_they_are() -> None:
    assert (weights(0.3, 0.1)[OTHERS] == 1.0).all()


def test_where_no_field_leads_all_decide() -> None:
    assert weights(0.3, 0.1, parts=(0.0, 0.0))[Signal.SEASON] == pytest.approx(0.8)
    assert weights(1.0, 1.0, parts=(0.0, 0.0))[Signal.SEASON] == odds.LEAST

"""Classes of categorical fields: how they are found in a vocabulary, and how they are counted without one."""

from __future__ import annotations

import numpy as np
import pytest

from anomaly_daemon.detection.categories import BUCKETS, Categories
from anomaly_daemon.detection.observation import MISSING_CATEGORY, category_code
from anomaly_daemon.detection.state import Rows, StateLayout

TEXTS = ("approved", "declined", "online", "pos", "a/b", "ü")


def codes(*texts: str) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.array([[category_code(text)] for text in texts])


def test_a_code_that_was_kept_in_a_float64_column_is_still_found_in_the_vocabulary() -> None:
    known = Categories(["f"], {"f": TEXTS}, counted=False, memory=100.0)
    exact = codes(*TEXTS)
    kept = exact.astype(np.float64).astype(np.int64)
    assert (kept != exact).any()
    assert known.classes(exact).ravel().tolist() == known.classes(kept).ravel().tolist() == [1, 2, 3, 4, 5, 6]
    assert known.classes(codes("never trained on")).item() == 0
    assert np.isnan(known.classes(np.array([[MISSING_CATEGORY]])).item())


@pytest.mark.parametrize("pace", [0.0, 0.2, 1.0])
def test_an_event_that_teaches_less_also_forgets_less(pace: float) -> None:
    counting = Categories(["f"], {}, counted=True, memory=10.0)
    rows = _blank(counting)
    rows["class_counts"][0, 0, :2] = [6.0, 4.0]
    before = rows["class_counts"].copy()
    counting.score(rows, codes("x"), (), np.array([pace]))
    met = category_code("x") % BUCKETS
    expected = before * (1.0 - pace / 10.0)
    expected[0, 0, met] += pace
    np.testing.assert_allclose(rows["class_counts"], expected)
    assert rows["class_counts"].sum() == pytest.approx(10.0)


def _blank(counting: Categories) -> Rows:
    return StateLayout([], counting.columns()).blank(1)

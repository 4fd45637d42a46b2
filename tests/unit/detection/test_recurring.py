"""Evidence that recurs is not rare, however far it reaches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anomaly_daemon.detection.bins import EDGES, share, survival
from anomaly_daemon.detection.calibration import Method, Shared, assumed, begin, columns, judge
from anomaly_daemon.detection.recurring import FIRST
from anomaly_daemon.detection.state import Rows, StateLayout

MEMORY = 2000.0
DAY = 288
COUNTED = EDGES[FIRST:]
"""The edges of the bins in which runs are counted."""


def fresh() -> Rows:
    """Return the row of a stream with one kind of evidence that has had no events yet."""
    rows = StateLayout(*columns(1)).blank(1)
    begin(rows, assumed(1), slice(None))
    return rows


def judged(rows: Rows, u_T: np.ndarray, pace: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the p-values and methods of successive events."""
    tails, found = Shared.of(assumed(1)), []
    for u in u_T:
        one = judge(rows, tails, np.array([[u]]), MEMORY, np.array([pace]))
        found.append((one.p[0, 0], one.method[0, 0]))
    p_T, method_T = zip(*found, strict=True)
    return np.array(p_T), np.array(method_T)


def days(count: int, peak: float) -> np.ndarray:
    """Return quiet evidence with small exceedances now and then, and a peak once a day."""
    random = np.random.default_rng(1)
    quiet = 0.3 * random.uniform(size=(count, DAY)) + 0.9 * (random.uniform(size=(count, DAY)) < 0.03)
    quiet[:, 70:131] = 0.1  # so that the peak is a run of its own
    quiet[:, 100] = peak
    return quiet.ravel()


def test_what_comes_once_a_day_is_one_in_a_day_after_some_of_them() -> None:
    rows, blind = fresh(), fresh()
    p, method = judged(rows, days(20, 4.5))
    assert p[100] < 0.1 / DAY  # it has never been seen before
    assert 0.4 / DAY < p[-DAY + 100] < 1.5 / DAY
    assert method[-DAY + 100] == Method.BODY
    judged(blind, days(19, 4.5))
    blind["recurring_runs"] = 0.0
    assert judged(blind, days(1, 4.5))[0][100] < 0.1 / DAY  # the tail distribution alone


def test_the_runs_before_it_are_counted_less_a_half() -> None:
    rows, peak = fresh(), 4.0  # at the lower edge of a bin every run counts in full
    judged(rows, days(3, peak))
    events = float(rows.carried("cal_levels_reached")[0, 0, 0])
    p, method = judged(rows, np.array([0.1, peak]))
    assert p[-1] == pytest.approx(2.5 / (events + 1), rel=0.04)  # a day forgets one in seventy
    assert method[-1] == Method.BODY


def test_from_where_earlier_runs_came_the_law_goes_on() -> None:
    """A value a little above all before is a little rarer, and not as rare as if nothing like it had come before."""
    rows, blind = fresh(), fresh()
    for one in (rows, blind):
        judged(one, days(12, 3.0))
    blind["recurring_runs"] = 0.0
    events, excess = float(rows.carried("cal_levels_reached")[0, 0, 0]), rows["cal_excess"][0, 0]
    runs = rows.carried("recurring_runs")[0, 0, list(COUNTED).index(3.0)]
    (p, method), (law, _) = (judged(one, np.array([3.4])) for one in (rows, blind))
    assert p[0] == pytest.approx((runs - 0.5) / events * survival(0.4, excess, 0.0), rel=0.02)
    assert p[0] > 5 * law[0]
    assert method[0] == Method.BODY


def test_one_earlier_run_that_reached_less_far_hardly_counts() -> None:
    rows, blind = fresh(), fresh()
    for one in (rows, blind):
        judged(one, days(1, 3.0))
    blind["recurring_runs"] = 0.0
    (p, _), (law, _) = (judged(one, np.array([5.9])) for one in (rows, blind))
    assert law[0] <= p[0] < 2.0 * law[0]


def test_an_event_is_not_held_against_the_run_that_it_is_in() -> None:
    _, method = judged(fresh(), np.array([*np.full(400, 0.1), *np.full(8, 4.5)]))
    assert (method[400:] != Method.BODY).all()


def test_a_run_is_counted_once_up_to_where_it_reached() -> None:
    rows = fresh()
    judged(rows, np.array([*np.full(400, 0.1), 3.0, 5.5, 2.8, 5.4, *np.full(20, 0.1), 3.0]))
    runs = rows.carried("recurring_runs")[0, 0]
    assert runs[COUNTED <= 3.0] == pytest.approx(2.0, abs=0.01)
    assert runs[(COUNTED > 3.0) & (COUNTED <= 5.5)] == pytest.approx(1.0, abs=0.01)
    assert runs[-1] == 0


def test_runs_are_forgotten_and_count_for_less_while_an_episode_is_open() -> None:
    full, slow, none = fresh(), fresh(), fresh()
    for rows, pace in ((full, 1.0), (slow, 0.25), (none, 0.0)):
        judged(rows, days(4, 4.5), pace)
    place = int(np.flatnonzero(COUNTED <= 4.5)[-1])
    known = [rows.carried("recurring_runs")[0, 0, place] for rows in (full, slow, none)]
    assert known == pytest.approx([4.0, 1.0, 0.0], rel=0.1)
    judged(full, np.array([*np.full(int(5 * MEMORY), 0.1), 4.5]))
    assert 1.0 < full.carried("recurring_runs")[0, 0, place] < 0.6 * known[0] + 1.0


def test_kinds_that_begin_anew_forget_their_runs() -> None:
    rows = fresh()
    judged(rows, days(4, 4.5))
    begin(rows, assumed(1), slice(None))
    assert (rows["recurring_runs"] == 0).all()


def test_events_are_shared_out_evenly_within_a_bin() -> None:
    reached_K = np.array([100.0, *np.full(len(EDGES) - 1, 50.0)], np.float32)
    for u, told in ((0.1, 0.75), (0.2, 0.5), (EDGES[-1] + 0.5, 0.25), (EDGES[-1] + 3.0, 0.0)):
        assert share(reached_K, u) == pytest.approx(told)


def test_what_is_not_far_out_is_not_counted() -> None:
    rows = fresh()
    judged(rows, np.tile([*np.full(40, 0.1), COUNTED[0] - 0.05], 40))
    assert (rows["recurring_runs"] == 0).all()


@pytest.mark.parametrize("shape", [0.0, 0.3])
def test_the_wider_the_law_the_less_rare_is_what_goes_further_than_earlier_runs(shape: float) -> None:
    """The mean exceedance and the shape are each changed separately."""
    shared, known = replace(assumed(1), shape_J=np.array([shape])), fresh()
    judged(known, days(12, 3.0))
    plain, wider = (known.take(np.arange(1)) for _ in range(2))
    wider["cal_excess"] *= 1.5
    tails, u = Shared.of(shared), np.array([[3.9]])
    told = [judge(rows, tails, u, MEMORY, np.ones(1)).p[0, 0] for rows in (plain, wider)]
    runs, events = (
        known.carried("recurring_runs")[0, 0, list(COUNTED).index(3.0)],
        known.carried("cal_levels_reached")[0, 0, 0],
    )
    excess = known["cal_excess"][0, 0]
    assert told[0] == pytest.approx((runs - 0.5) / events * survival(0.9, excess, shape), rel=0.02)
    assert told[1] == pytest.approx((runs - 0.5) / events * survival(0.9, 1.5 * excess, shape), rel=0.02)

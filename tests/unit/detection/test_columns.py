"""State that was stored by another release: nothing that both releases have is lost, and no estimate is restored in
part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from streams import detector, model, observations, schema, wave

from anomaly_daemon.detection import calibration
from anomaly_daemon.detection.alert import Event
from anomaly_daemon.detection.beginning import FIRST
from anomaly_daemon.detection.columns import BY_KIND, KINDS_SINCE, begun_anew, converted, table
from anomaly_daemon.detection.detector import Detector, Exported
from anomaly_daemon.detection.network import Cell
from anomaly_daemon.detection.rules import DurationRule, Rules
from anomaly_daemon.detection.state import Column, Rows, StateLayout
from anomaly_daemon.errors import Incompatible

SCHEMA = schema(["x"], ["c"])
BATCH = wave(streams=2, events=300, features=1)
HEAD, TAIL = BATCH.take(slice(0, 400)), BATCH.take(slice(400, 600))
KNOWN = detector().slab.layout
NAMES = list(KNOWN.places)


def stored_by(made: Detector) -> Exported:
    """Return the stored state of every stream."""
    return made.export(0, 1)


def stored_as(exported: Exported, layout: StateLayout, laid: StateLayout) -> Exported:
    """Return the state as a release with the columns of `laid` would have stored it. A column that only that release
    has is 7 throughout."""
    there = Rows(layout, exported.arrays["carried"], exported.arrays["statistics"])  # type: ignore[arg-type]
    rows = laid.blank(len(exported.keys))
    for name, place in laid.places.items():
        known = layout.places.get(name)
        rows[name] = there[name] if known and (known.carried, known.shape) == (place.carried, place.shape) else 7.0
    arrays: dict[str, np.ndarray[Any, Any]] = {"carried": rows.carried_BP, "statistics": rows.statistics_BQ}
    return replace(exported, arrays=arrays, columns=table(laid))


def layout_like(layout: StateLayout, change: Callable[[list[Column]], list[Column]]) -> StateLayout:
    """Return the layout with its columns changed by `change`."""
    blocks = ([Column(name, place.shape) for name, place in layout.block(carried).items()] for carried in (True, False))
    return StateLayout(*(change(block) for block in blocks))


def without(*names: str) -> Callable[[list[Column]], list[Column]]:
    return lambda columns: [one for one in columns if one.name not in names]


def restored(exported: Exported) -> tuple[Detector, tuple[str, ...]]:
    made = detector()
    anew = made.restore(exported)
    return made, anew


@pytest.fixture(scope="module")
def former() -> Detector:
    made = detector()
    made.step(wave(streams=2, events=200))
    return made


@pytest.mark.parametrize("name", NAMES)
def test_a_release_that_keeps_one_column_more_takes_over_all_that_the_last_one_knew(
    name: str, former: Detector
) -> None:
    layout = former.slab.layout
    exported = stored_as(stored_by(former), layout, layout_like(layout, without(name)))
    made, anew = restored(exported)
    assert name in anew
    rows, expected = (one.slab.gather(one.slab.rows(exported.keys)) for one in (made, former))
    for kept in set(NAMES) - set(anew):
        both = slice(KINDS_SINCE.get(name)) if kept.partition("_")[0] in BY_KIND and KNOWN.places[kept].shape else ...
        np.testing.assert_array_equal(rows[kept][:, both], expected[kept][:, both], err_msg=kept)
    for begun in anew:
        long_past = {"beginning_count": FIRST, "beginning_mean": np.nan, "beginning_variance": np.nan}
        blank = long_past[begun] if begun in long_past else layout.blank(2)[begun]
        np.testing.assert_array_equal(rows[begun], blank, err_msg=begun)
    later = wave(streams=2, events=400).take(slice(400, 800))
    made.watermark = former.watermark
    p_value_N = made.step(later).scores.p_value_N
    assert ((p_value_N[-100:] > 0) & (p_value_N[-100:] <= 1)).all(), "it judges again, by numbers"


def test_a_column_that_is_no_more_is_left_out_and_the_order_does_not_matter(former: Detector) -> None:
    layout, exported = former.slab.layout, stored_by(former)
    changes: list[Callable[[list[Column]], list[Column]]] = [
        lambda columns: [Column(f"later_{len(columns)}", (3, 2)), *columns],
        lambda columns: columns[::-1],
    ]
    for change in changes:
        made, anew = restored(stored_as(exported, layout, layout_like(layout, change)))
        again = stored_by(made)
        assert anew == ()
        assert again.keys == exported.keys
        for name, array in exported.arrays.items():
            np.testing.assert_array_equal(again.arrays[name], array)


def test_a_release_that_knew_no_weeks_keeps_its_days(former: Detector) -> None:
    weeks = [name for name in former.slab.layout.places if name.startswith(("week", "rhythm"))]
    laid = layout_like(former.slab.layout, without(*weeks))
    made, anew = restored(stored_as(stored_by(former), former.slab.layout, laid))
    assert set(anew) == set(weeks)
    ours, theirs = (one.slab.gather(one.slab.rows(["s0"])) for one in (made, former))
    for name in ("season", "season_square", "season_count", "season_visit"):
        assert np.array_equal(ours[name], theirs[name], equal_nan=True), name
    assert np.isnan(ours["week"]).all()
    assert (ours["rhythm_count"] == 0).all()


def test_half_an_estimate_is_none() -> None:
    anew = begun_anew(layout_like(KNOWN, without("error_variance")), KNOWN)
    assert set(anew) == {"error_mean", "error_variance", "error_count"}
    distributions = begun_anew(layout_like(KNOWN, without("cal_offset")), KNOWN)
    assert {"cal_levels_reached", "cal_count", "recurring_runs", "recurring_peak"} < set(distributions)
    assert begun_anew(layout_like(KNOWN, without("recurring_runs")), KNOWN) == ("recurring_runs",)


def test_a_kind_of_evidence_more_leaves_what_is_known_of_the_others(former: Detector) -> None:
    layout = former.slab.layout

    def by_kind(one: Column) -> bool:
        return one.name.startswith(("cal_", "recurring_")) and bool(one.shape)

    def fewer(columns: list[Column]) -> list[Column]:
        return [replace(one, shape=(one.shape[0] - 1, *one.shape[1:])) if by_kind(one) else one for one in columns]

    laid = layout_like(layout, fewer)
    exported = stored_as(stored_by(former), layout, laid)
    rows, anew = converted(exported.arrays, 2, exported.columns, layout)
    assert anew == ()
    expected = former.slab.gather(former.slab.rows(exported.keys))
    assert (rows["cal_levels_reached"][:, :-1] == 7.0).all()
    np.testing.assert_array_equal(rows["cal_count"], expected["cal_count"])
    made, _ = restored(exported)
    begun, fresh = made.slab.gather(made.slab.rows(exported.keys)), layout.blank(2)
    calibration.begin(fresh, made.scorer.shared, slice(None), events=made.rules.shared_events)
    for name in ("cal_levels_reached", "cal_excess", "cal_extremal", "recurring_runs"):
        np.testing.assert_array_equal(begun[name][:, -1], fresh[name][:, -1], err_msg="the new one, as in a new stream")


def fewer_kinds(columns: list[Column], unknown: tuple[str, ...], reached: str) -> list[Column]:
    """Return the columns of a release without the `unknown` kinds, which called the column `cal_levels_reached` by the
    name `reached`."""
    kept = [one for one in columns if not one.name.startswith(tuple(f"{kind}_" for kind in unknown))]
    by_kind = [one.name.startswith(("cal_", "recurring_")) and bool(one.shape) for one in kept]
    shaped = [
        replace(one, shape=(one.shape[0] - len(unknown), *one.shape[1:])) if of else one
        for one, of in zip(kept, by_kind, strict=True)
    ]
    return [replace(one, name=reached) if one.name == "cal_levels_reached" else one for one in shaped]


def eight_kinds(columns: list[Column]) -> list[Column]:
    """The columns of a release with eight kinds, of which relation was the seventh."""
    return fewer_kinds(columns, ("quiet", "autoregression"), "cal_reached")


def eleven_kinds(columns: list[Column]) -> list[Column]:
    """The columns of a release with eleven kinds, of which relation was the tenth."""
    return fewer_kinds(columns, ("burst",), "cal_bins_reached")


@pytest.mark.parametrize(
    ("of", "unknown", "first"), [(eight_kinds, {"quiet", "autoregression"}, 6), (eleven_kinds, {"burst"}, 9)]
)
def test_of_a_release_with_fewer_kinds_those_before_the_new_ones_stay_known(
    of: Callable[[list[Column]], list[Column]], unknown: set[str], first: int, former: Detector
) -> None:
    layout = former.slab.layout
    laid = layout_like(layout, of)
    exported = stored_as(stored_by(former), layout, laid)
    made, anew = restored(exported)
    assert {name.partition("_")[0] for name in anew} == unknown
    rows, fresh = made.slab.gather(made.slab.rows(exported.keys)), layout.blank(2)
    calibration.begin(fresh, made.scorer.shared, slice(None), events=made.rules.shared_events)
    for name in ("cal_levels_reached", "cal_excess", "recurring_runs"):
        assert (rows[name][:, :first] == 7.0).all(), name
        np.testing.assert_array_equal(rows[name][:, first:], fresh[name][:, first:], err_msg="as in a new stream")


@pytest.mark.parametrize(("of", "reached"), [(eight_kinds, "cal_reached"), (eleven_kinds, "cal_bins_reached")])
def test_a_release_with_fewer_kinds_takes_none_of_ours_for_its_own(
    of: Callable[[list[Column]], list[Column]], reached: str
) -> None:
    """Such a release matches columns by name, and kinds by their place."""
    anew = begun_anew(KNOWN, layout_like(KNOWN, of))
    assert {reached, "cal_excess", "cal_count", "recurring_runs"} < set(anew)


def test_an_estimate_of_another_shape_begins_anew_and_is_no_error(former: Detector) -> None:
    layout = former.slab.layout

    def flat(columns: list[Column]) -> list[Column]:
        return [replace(one, shape=(one.shape[0], 20)) if one.name == "cal_levels_reached" else one for one in columns]

    _, anew = restored(stored_as(stored_by(former), layout, layout_like(layout, flat)))
    assert "cal_levels_reached" in anew
    assert "recurring_runs" in anew
    assert "level_mean" not in anew


def test_recent_events_in_another_number_are_as_many_as_both_have(former: Detector) -> None:
    layout = former.slab.layout

    def shorter(columns: list[Column]) -> list[Column]:
        return [replace(one, shape=(5, *one.shape[1:])) if one.name.startswith("window") else one for one in columns]

    laid = layout_like(layout, shorter)
    exported = stored_as(stored_by(former), layout, laid)
    rows, anew = converted(exported.arrays, 2, exported.columns, layout)
    assert anew == ()
    assert (rows["window"][:, :5] == 7.0).all()
    assert np.isnan(rows["window"][:, 5:]).all()


def test_a_state_of_the_network_that_was_not_stored_is_rebuilt_from_recent_events(former: Detector) -> None:
    layout = former.slab.layout
    made, _ = restored(stored_as(stored_by(former), layout, layout_like(layout, without("cell"))))
    assert made.slab.stale_S[made.slab.live()].all()
    again = stored_by(made)
    assert np.abs(made.slab.gather(made.slab.rows(again.keys)).carried("cell")).max() > 0.01


def test_an_open_episode_stays_open_whatever_begins_anew() -> None:
    of, rules = schema(["x"]), Rules(stuck=DurationRule(minimum=3))
    values = [float(at % 3) for at in range(60)] + [7.0] * 40 + [1.0, 2.0, 0.0] * 10
    batch = observations(["s"] * 130, list(range(130)), [[value] for value in values])
    first, second = detector(of, rules), detector(of, rules)
    (opened,) = [one for one in first.step(batch.take(slice(0, 100))).alerts if one.event is Event.OPEN]
    layout = first.slab.layout
    lacking = layout_like(layout, without("norm_count", "cal_excess", "error_mean", "episode_told_time", "run_longest"))
    second.restore(stored_as(stored_by(first), layout, lacking))
    second.watermark = first.watermark
    (closed,) = [one for one in second.step(batch.take(slice(100, 130))).alerts if one.event is Event.CLOSE]
    assert closed.alert_id == opened.alert_id


def test_rows_without_a_table_have_to_be_of_this_layout(former: Detector) -> None:
    exported = replace(stored_by(former), columns={})
    assert restored(exported)[1] == ()
    narrow = {**exported.arrays, "statistics": exported.arrays["statistics"][:, 1:]}
    with pytest.raises(Incompatible, match="columns of this model and schema"):
        restored(replace(exported, arrays=narrow))


@pytest.mark.parametrize(
    "columns",
    [
        {"carried": {"hidden": [1]}},
        {"carried": {"hidden": [2**62, 2**62]}, "statistics": {}},
        {"statistics": {"seen": []}},
        {"elsewhere": {"seen": []}},
        {"carried": {}},
    ],
)
def test_a_table_that_the_arrays_do_not_bear_out_is_refused(columns: dict[str, Any], former: Detector) -> None:
    with pytest.raises(Incompatible, match="columns"):
        restored(replace(stored_by(former), columns=columns))


def test_a_network_of_another_cell_has_other_columns() -> None:
    assert begun_anew(detector(made=model(cell=Cell.GRU)).slab.layout, KNOWN) == ("cell",)

"""The detector as a whole: what a score may depend on (law L5), and each kind of anomaly."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import detector, model, observations, schema, wave

from anomaly_daemon.detection import acceptance, calibration
from anomaly_daemon.detection.alert import Alert, Event, Kind
from anomaly_daemon.detection.combination import LEAST
from anomaly_daemon.detection.detector import Detector, Scores, Status, Step
from anomaly_daemon.detection.network import Cell, Layout
from anomaly_daemon.detection.observation import Direction, Observations, Presence, Schema
from anomaly_daemon.detection.rules import DurationRule, EpisodeRule, Evidence, Rules, SilenceRule
from anomaly_daemon.detection.signals import Signal
from anomaly_daemon.errors import Incompatible

COLUMNS = [name for name in Scores.__dataclass_fields__ if name != "status_N"]
NAN = float("nan")


def joined(steps: list[Step]) -> tuple[dict[str, np.ndarray], list[Alert]]:
    columns = {name: np.concatenate([getattr(s.scores, name) for s in steps]) for name in Scores.__dataclass_fields__}
    return columns, [one for s in steps for one in s.alerts]


def run(
    made: Detector, batch: Observations, cuts: list[int] | None = None
) -> tuple[dict[str, np.ndarray], list[Alert]]:
    edges = [0, *sorted(cuts or []), len(batch)]
    return joined([made.step(batch.take(slice(a, b))) for a, b in itertools.pairwise(edges)])


def faulty() -> Observations:
    """Return waves that contain a spike, a stuck value, a silence and a change of unit."""
    batch = wave(streams=3, events=260)
    values, keep = batch.values_ND.copy(), np.ones(len(batch), bool)
    minute, stream = (batch.time_N - batch.time_N[0]) // 60_000_000, batch.stream_N
    values[(minute > 200) & (minute < 206) & (stream == 0), 0] += 30
    values[(minute > 150) & (minute < 180) & (stream == 1), 1] = 9.5
    values[(minute > 230) & (stream == 1), 0] *= 1000
    keep[(minute > 180) & (minute < 230) & (stream == 2)] = False
    presence = np.where(np.isnan(values), Presence.ABSENT, Presence.PRESENT).astype(np.uint8)
    return replace(batch, values_ND=values, presence_ND=presence).take(np.flatnonzero(keep))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 730), max_size=12))
def test_scores_and_alerts_are_the_same_to_the_bit_however_records_are_batched(cuts: list[int]) -> None:
    batch = faulty()
    whole, alerts = run(detector(), batch)
    parts, alerts_in_parts = run(detector(), batch, [min(cut, len(batch)) for cut in cuts])
    for name in Scores.__dataclass_fields__:
        assert np.array_equal(whole[name], parts[name], equal_nan=True), name
    assert alerts_in_parts == alerts
    assert {one.kind for one in alerts} >= {Kind.STUCK, Kind.SILENCE, Kind.SCHEMA}


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("fields", [1, 8, 19])
def test_however_many_fields_a_stream_alone_scores_as_among_others(layout: Layout, fields: int) -> None:
    """Sums over fields are computed differently where the fields of a row fill a vector, or where a row is the only
    one."""
    of, batch = schema([f"v{place}" for place in range(fields)]), wave(streams=40, events=40)
    values = np.random.default_rng(0).normal(size=(len(batch), fields))
    batch = replace(batch, values_ND=values, presence_ND=np.zeros(values.shape, np.uint8))
    made, mine = model(layout, Cell.LSTM, of), np.flatnonzero(batch.stream_N == 4)
    together, _ = run(detector(of, made=made), batch)
    alone, _ = run(detector(of, made=made), batch.take(mine))
    for name in COLUMNS:
        assert np.array_equal(together[name][mine], alone[name], equal_nan=True), name
    assert np.isfinite(alone["score_N"][-1])


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("cell", Cell)
def test_a_score_does_not_depend_on_what_comes_later(layout: Layout, cell: Cell) -> None:
    of, batch = schema(), wave(streams=2, events=80)
    later = batch.values_ND.copy()
    later[100:] = 1e6
    made = model(layout, cell, of)
    first, _ = run(detector(of, made=made), batch)
    second, _ = run(detector(of, made=made), replace(batch, values_ND=later))
    for name in COLUMNS:
        assert np.array_equal(first[name][:100], second[name][:100], equal_nan=True), name
    assert not np.array_equal(first["score_N"][100:], second["score_N"][100:], equal_nan=True)


def test_a_score_does_not_depend_on_other_streams() -> None:
    batch = wave(streams=9, events=80)
    together, _ = run(detector(), batch)
    mine = np.flatnonzero(batch.stream_N == 4)
    alone, _ = run(detector(), batch.take(mine))
    for name in COLUMNS:
        assert np.array_equal(together[name][mine], alone[name], equal_nan=True), name


def test_a_score_does_not_depend_on_the_order_of_other_streams_records() -> None:
    batch = wave(streams=6, events=60)
    order = np.concatenate([np.random.default_rng(i).permutation(6) + 6 * i for i in range(60)])
    shuffled = replace(batch.take(order), offset_N=batch.offset_N)
    first, _ = run(detector(), batch)
    second, _ = run(detector(), shuffled)
    for name in COLUMNS:
        assert np.array_equal(first[name][order], second[name], equal_nan=True), name


def test_a_feature_is_unknown_then_warming_then_scored() -> None:
    made = detector(schema(["x"]), Rules(grace_events=20))
    columns, _ = run(made, wave(streams=1, events=60, features=1, seed=3))
    score, status = columns["score_N"], columns["status_N"]
    assert np.isnan(score[:8]).all()
    assert set(status[:8].tolist()) <= {Status.WARMING, Status.MISSING}
    assert not np.isnan(score[12:][status[12:] != Status.MISSING]).any()
    assert status[-1] == Status.SCORED


def test_an_observation_without_any_value_is_missing_and_not_normal() -> None:
    values = [[10.0 + i % 3, 5.0] for i in range(40)] + [[NAN, NAN]]
    columns, _ = run(detector(), observations(["s"] * 41, list(range(41)), values))
    assert columns["status_N"][-1] == Status.MISSING
    assert np.isnan(columns["prediction_NF"][-1]).all()


def test_late_and_doubled_records_are_left_out_and_change_nothing() -> None:
    batch = wave(streams=1, events=50)
    late = observations(["s0"], [3], [[99.0, 99.0]], first_offset=50)
    again = replace(batch.take(slice(49, 50)), offset_N=np.array([51]))
    tail = replace(wave(streams=1, events=60).take(slice(50, 60)), offset_N=np.arange(52, 62))
    noisy, clean = detector(), detector()
    steps = [noisy.step(part) for part in (batch, late, again, tail)]
    assert [steps[1].scores.status_N[0], steps[2].scores.status_N[0]] == [Status.LATE, Status.DUPLICATE]
    expected = [clean.step(part) for part in (batch, tail)]
    assert np.array_equal(steps[3].scores.score_N, expected[1].scores.score_N, equal_nan=True)


def test_a_late_record_does_not_take_back_how_far_its_stream_is() -> None:
    made = detector()
    made.step(observations(["s0", "s1", "s0"], [5, 7, 3], [[1.0, 2.0]] * 3))
    five, seven = (int(observations(["s"], [minute], [[1.0, 2.0]]).time_N[0]) for minute in (5, 7))
    assert (made.newest("s0"), made.newest("s1"), made.newest("another")) == (five, seven, None)


def test_a_record_that_comes_twice_is_one_where_a_field_is_missing_too() -> None:
    """This happens in the long input shape, in which every record lacks the other metrics."""
    values = [[10.0, NAN], [NAN, 5.0], [NAN, 5.0], [10.0, 5.0], [10.0, NAN], [10.0, 5.0], [NAN, NAN], [NAN, NAN]]
    step = detector().step(observations(["s"] * 8, [0, 1, 1, 2, 2, 2, 3, 3], values))
    assert np.flatnonzero(step.scores.status_N == Status.DUPLICATE).tolist() == [2, 7]


def test_a_late_record_may_be_accepted_as_if_it_came_just_now() -> None:
    made = detector(rules=Rules(accept_late=True))
    made.step(wave(streams=1, events=50))
    assert made.step(observations(["s0"], [3], [[99.0, 99.0]], first_offset=50)).scores.status_N[0] != Status.LATE


def test_two_different_events_of_one_instant_both_count() -> None:
    made = detector()
    step = made.step(observations(["s", "s"], [0, 0], [[1.0, 2.0], [1.5, 2.0]]))
    assert Status.DUPLICATE not in step.scores.status_N


def kinds(alerts: list[Alert], key: str) -> list[tuple[Kind, Event]]:
    return [(one.kind, one.event) for one in alerts if one.stream.key == key]


def steady(key: str, minutes: range, seed: int = 0) -> Observations:
    values = np.random.default_rng(seed).normal(10, 1, (len(minutes), 2))
    return observations([key] * len(minutes), list(minutes), values.tolist())


def test_a_stream_that_stops_is_told_of_by_the_record_that_proves_it() -> None:
    made = detector()
    made.step(steady("quiet", range(60)))
    others = replace(steady("loud", range(40, 100), seed=1), offset_N=np.arange(60, 120))
    alerts = made.step(others).alerts
    assert kinds(alerts, "quiet") == [(Kind.SILENCE, Event.OPEN)]
    assert alerts[0].provenance.first_offset == 59
    assert others.time_N[alerts[0].provenance.last_offset - 60] >= made.slab.column("last_time")[0] + 5 * 60e6
    back = replace(steady("quiet", range(101, 102)), offset_N=np.array([120]))
    closed = made.step(back).alerts
    assert kinds(closed, "quiet") == [(Kind.SILENCE, Event.CLOSE)]
    assert closed[0].alert_id == alerts[0].alert_id


def test_a_wholly_silent_partition_is_told_of_when_time_is_advanced() -> None:
    made = detector()
    made.step(steady("quiet", range(60)))
    assert made.advance(made.watermark + 60_000_000) == []
    assert [one.kind for one in made.advance(made.watermark + 3_600_000_000)] == [Kind.SILENCE]
    assert made.advance(made.watermark - 1) == []


def stepped(minutes: Sequence[int]) -> Detector:
    """Return a detector that has seen one stream at these times."""
    made, values = detector(), np.random.default_rng(0).normal(10, 1, (len(minutes), 2))
    made.step(observations(["s"] * len(minutes), list(minutes), values.tolist()))
    return made


@pytest.mark.parametrize("before", [[-30 * 1440], [-19_000 * 1440], [*range(-19_000 * 1440, 5 - 19_000 * 1440)]])
def test_a_clock_that_was_not_set_at_first_says_nothing_of_a_streams_cadence(before: list[int]) -> None:
    """Otherwise it would alarm at every twentieth event, as if there were one event a day, and might be silent for
    months."""
    made, plain = stepped([*before, *range(60)]), stepped(range(60))
    for name in ("gap_mean", "gap_longest", "first_time"):
        ours, theirs = made.slab.column(name)[0], plain.slab.column(name)[0]
        assert ours == pytest.approx(theirs, abs=21 * 60e6), name
    silent = made.advance(made.watermark + 3_600_000_000)
    assert kinds(silent, "s") == [(Kind.SILENCE, Event.OPEN)]


@pytest.mark.parametrize(
    "minutes",
    [
        [*range(10), *range(900, 950)],
        [*range(10), *range(2000, 2010), *range(4000, 4040)],
        [*range(25), *range(10_000, 10_040)],
        [0] * 10 + [1440] * 10 + [2880] * 10,
    ],
)
def test_a_long_gap_that_is_of_the_streams_own_stays_known(minutes: list[int]) -> None:
    """The long gap is not so much longer than the others, is one of several, comes after the first gaps, or lies
    between dates without a time of day."""
    made = stepped(minutes)
    assert made.slab.column("gap_count")[0] == len(minutes) - 1
    assert made.slab.column("first_time")[0] == made.slab.column("last_time")[0] - (minutes[-1] - minutes[0]) * 60e6


def test_a_stream_that_ended_closes_its_episodes() -> None:
    made = detector(rules=Rules(episode=EpisodeRule(accept_seconds=600)))
    made.step(steady("quiet", range(60)))
    alerts = made.advance(made.watermark + 100 * 3_600_000_000)
    assert kinds(alerts, "quiet") == [(Kind.SILENCE, Event.OPEN), (Kind.SILENCE, Event.CLOSE)]
    assert {one.p_method for one in alerts} == {"duration"}
    assert sum(made.open_episodes.values()) == 0


def test_a_pattern_that_the_streams_end_closes_has_no_duration() -> None:
    made = detector()
    batch = steady("s", range(300))
    batch.values_ND[-1] += 1e4
    opened = [one for one in made.step(batch).alerts if one.kind is Kind.PATTERN][-1]
    closed = [one for one in made.advance(made.watermark + 1000 * 3_600_000_000) if one.kind is Kind.PATTERN][-1]
    assert (opened.event, closed.event) == (Event.OPEN, Event.CLOSE)
    assert closed.p_method == "body"


def test_dates_without_a_clock_are_no_silence_each_midnight() -> None:
    """With sixty events a day, all at the same time, no gap of the stream is known until the second day."""
    day, values = 24 * 60, np.random.default_rng(0)
    made, told, offset = detector(), list[Alert](), 0
    for number in range(12):
        dated = observations(["dated"] * 60, [number * day] * 60, values.normal(10, 1, (60, 2)).tolist())
        clock = [number * day + minute for minute in range(0, day, 20)]
        other = observations(["clock"] * len(clock), clock, values.normal(10, 1, (len(clock), 2)).tolist())
        for batch in (dated, other):
            told += made.step(replace(batch, offset_N=np.arange(offset, offset + len(batch)))).alerts
            offset += len(batch)
    assert [one for one in told if one.kind is Kind.SILENCE] == []
    assert np.isfinite(made.slab.column("silence_at")).sum() == 2
    stops = made.advance(made.watermark + 60 * day * 60_000_000)
    assert (Kind.SILENCE, Event.OPEN) in kinds(stops, "dated")


def test_silence_may_be_switched_off() -> None:
    made = detector(rules=Rules(silence=SilenceRule(enabled=False)))
    made.step(steady("quiet", range(60)))
    assert made.advance(made.watermark + 3_600_000_000) == []


def test_that_a_stream_of_a_short_life_stops_is_told_nobody_and_others_are_waited_for() -> None:
    lives = [steady(key, range(60)) for key in ("web-5d9f", "web", "db")]
    whole = observations(
        ["web-5d9f", "web", "db"] * 60,
        np.repeat(np.arange(60), 3).tolist(),
        np.stack([one.values_ND for one in lives], axis=1).reshape(180, -1).tolist(),
    )
    after = observations(["db"] * 120, list(range(60, 180)), [[1.0, 2.0]] * 120, first_offset=180)
    pods = Rules(silence=SilenceRule(short_lived=("web-*", "job-*")), stuck=DurationRule(enabled=False))
    for rules, stops in ((pods, ["web"]), (Rules(stuck=DurationRule(enabled=False)), ["web", "web-5d9f"])):
        by_records, by_clock = detector(rules=rules), detector(rules=rules)
        by_clock.step(whole)
        told = [by_records.step(whole).alerts + by_records.step(after).alerts, by_clock.advance(after.time_N[-1])]
        for alerts, also in zip(told, ([], ["db"]), strict=True):
            opened = {one.stream.key for one in alerts if (one.kind, one.event) == (Kind.SILENCE, Event.OPEN)}
            assert opened == {*stops, *also}


def test_a_value_that_stops_varying_is_stuck_until_it_moves() -> None:
    batch = steady("s", range(100))
    batch.values_ND[60:90, 1] = 7.0
    _, alerts = run(detector(), batch)
    stuck = [one for one in alerts if one.kind is Kind.STUCK]
    assert (stuck[0].event, stuck[0].features[0].name, stuck[0].provenance.first_offset) == (Event.OPEN, "y", 69)
    assert (stuck[-1].event, stuck[-1].provenance.last_offset) == (Event.CLOSE, 90)


def test_a_value_that_never_varied_is_not_stuck() -> None:
    batch = steady("s", range(100))
    batch.values_ND[:, 1] = 7.0
    assert not [one for one in run(detector(), batch)[1] if one.kind is Kind.STUCK]


@pytest.mark.parametrize(
    ("fault", "words"),
    [("vanished", "is missing"), ("retyped", "is not a number"), ("rescaled", "times its usual magnitude")],
)
def test_a_field_that_vanishes_or_changes_type_or_scale_is_a_schema_anomaly(fault: str, words: str) -> None:
    batch = steady("s", range(120))
    at = slice(80, 110)
    if fault == "rescaled":
        batch.values_ND[at, 0] *= 1000
    else:
        batch.values_ND[at, 0] = NAN
        batch.presence_ND[at, 0] = Presence.ABSENT if fault == "vanished" else Presence.WRONG_TYPE
    alerts = [one for one in run(detector(), batch)[1] if one.kind is Kind.SCHEMA]
    assert [alerts[0].event, alerts[-1].event] == [Event.OPEN, Event.CLOSE]
    assert alerts[0].features[0].name == "x"
    assert words in alerts[0].reason
    assert alerts[0].provenance.first_offset == (99 if fault == "rescaled" else 84)


def test_bursts_that_go_away_are_a_habit_and_not_a_change_of_unit() -> None:
    batch = steady("s", range(400))
    for start in range(100, 400, 60):
        batch.values_ND[start : start + 25, 0] *= 1000
    opened = [one for one in run(detector(), batch)[1] if one.kind is Kind.SCHEMA and one.event is Event.OPEN]
    assert len(opened) == 1


def test_a_field_now_and_then_missing_is_not_a_schema_anomaly() -> None:
    assert not [one for one in run(detector(), wave(streams=3, events=200))[1] if one.kind is Kind.SCHEMA]


def test_a_pattern_alert_names_its_cause() -> None:
    batch = steady("s", range(300))
    batch.values_ND[250:255, 1] += 60
    _, alerts = run(detector(rules=Rules(alarms_per_day=20)), batch)
    alert = next(one for one in alerts if one.kind is Kind.PATTERN and one.provenance.first_offset == 250)
    top = alert.features[0]
    assert (alert.event, top.name, alert.direction) == (Event.OPEN, "y", "up")
    assert top.actual == batch.values_ND[250, 1]
    assert top.lower is not None
    assert top.upper is not None
    assert isinstance(top.expected, float)
    assert top.lower < top.expected < top.upper < top.actual
    shares = sum(one.prediction_share + one.reconstruction_share for one in alert.features)
    assert shares == pytest.approx(1.0)
    assert alert.p_value is not None
    assert alert.threshold is not None
    assert alert.p_value <= alert.threshold
    assert 50 <= alert.severity <= 100
    assert (alert.phase.name, alert.budget.alarms_per_day, alert.stream.labels) == ("calibrated", 20, {"site": "north"})
    assert alert.config_digest == "digest"
    assert alert.times.append is not None


@pytest.mark.parametrize("layout", Layout)
def test_a_rare_category_is_more_of_an_error_than_a_common_one(layout: Layout) -> None:
    of = schema(["x"], ["shop"])
    values = np.random.default_rng(0).normal(0, 1, (200, 1)).tolist()
    texts: list[list[str | None]] = [["a"]] * 195 + [["a"], ["b"], ["never seen"], [None], ["a"]]
    batch = observations(["s"] * 200, list(range(200)), values, texts)
    columns, _ = run(detector(of, made=model(layout, of=of)), batch)
    common, rare, new, missing = columns["prediction_NF"][195:199, 1]
    assert np.isnan(missing)
    if layout is Layout.CHANNEL:
        assert common < 1 < rare
        assert new > 1


def test_a_level_is_looked_for_in_numeric_features_alone() -> None:
    of, quiet = schema(["x"], ["shop"]), Rules(grace_events=1000)  # an open episode would slow down the learning
    values = np.random.default_rng(0).normal(0, 1, (100, 1)).tolist()
    evidence = [
        run(detector(of, quiet), observations(["s"] * 100, list(range(100)), values, texts))[0]["evidence_NJ"]
        for texts in ([["a"]] * 100, [["a"]] * 80 + [[f"new {i}"] for i in range(20)])
    ]
    assert np.array_equal(evidence[0][:, Signal.LEVEL], evidence[1][:, Signal.LEVEL], equal_nan=True)
    assert evidence[0][80:, 0].mean() < evidence[1][80:, 0].mean()


def test_the_magnitude_floor_silences_small_deviations() -> None:
    batch = steady("s", range(300))
    batch.values_ND[250:255, 1] += 60
    loud, quiet = (
        run(detector(rules=Rules(alarms_per_day=20, episode=EpisodeRule(magnitude_floor=floor))), batch)[1]
        for floor in (0.0, 1e9)
    )
    assert any(one.kind is Kind.PATTERN for one in loud)
    assert not any(one.kind is Kind.PATTERN for one in quiet)


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("spike", [60.0, -60.0])
def test_a_field_is_an_anomaly_on_the_side_that_counts(direction: Direction, spike: float) -> None:
    features = tuple(replace(one, direction=direction) for one in schema().numeric)
    batch = steady("s", range(300))
    batch.values_ND[250:255, 1] += spike
    made = detector(of=Schema(features), rules=Rules(alarms_per_day=20))
    alarmed = any(one.kind is Kind.PATTERN for one in run(made, batch)[1] if one.provenance.first_offset < 255)
    assert alarmed == (direction in (Direction.BOTH, Direction.ABOVE if spike > 0 else Direction.BELOW))


def test_evidence_of_a_kind_that_does_not_count_is_left_out() -> None:
    batch = faulty()
    every, point = (
        run(detector(rules=Rules(evidence=kinds)), batch)[0] for kinds in (tuple(Evidence), (Evidence.POINT,))
    )
    assert np.isnan(point["evidence_NJ"][:, 1:]).all()
    assert np.array_equal(point["evidence_NJ"][:, 0], every["evidence_NJ"][:, 0], equal_nan=True)
    scored = ~np.isnan(every["p_value_N"])
    assert np.array_equal(scored, ~np.isnan(point["p_value_N"]))
    assert not np.array_equal(every["p_value_N"][scored], point["p_value_N"][scored])


def test_where_what_is_shared_weighs_more_a_stream_of_its_own_kind_is_held_against_it_for_longer() -> None:
    """Errors of an untrained network are larger than those of the calibration."""
    batch, beyond = wave(streams=1, events=400), {}
    for events in (30.0, 3000.0):
        made = detector(rules=Rules(shared_events=events, evidence=(Evidence.POINT,)))
        p_value_N = run(made, batch)[0]["p_value_N"]
        beyond[events] = (p_value_N[-200:] < 0.1).mean()
        row = made.slab.gather(made.slab.rows(["s0"]))
        assert row.carried("cal_levels_reached")[0, Signal.POINT, 0] == pytest.approx(events + 392, rel=0.02)
        assert made.scorer._fixed.tails.tail_events == pytest.approx(events * 500 / 30)
    assert beyond[3000.0] > beyond[30.0]


def test_each_kind_of_evidence_has_the_name_that_the_settings_know() -> None:
    assert [one.name.lower() for one in Signal] == [str(one) for one in Evidence]


def test_an_exported_state_goes_on_where_it_stopped() -> None:
    batch = faulty()
    head, tail = batch.take(slice(0, 400)), batch.take(slice(400, len(batch)))
    first = detector()
    first.step(head)
    second = detector()
    for bucket in sorted(first.buckets(8)):
        second.restore(first.export(bucket, 8))
    second.watermark = first.watermark
    expected, got = first.step(tail), second.step(tail)
    assert got.alerts == expected.alerts
    assert np.array_equal(got.scores.p_value_N, expected.scores.p_value_N, equal_nan=True)


def test_records_below_a_buckets_floor_are_not_scored_twice() -> None:
    batch = wave(streams=4, events=60)
    head, tail = batch.take(slice(0, 120)), batch.take(slice(120, 240))
    whole = detector()
    whole.step(head)
    restored = detector()
    for bucket in whole.buckets(4):
        restored.restore(whole.export(bucket, 4))
    restored.floors = np.full(4, 120)
    assert np.isnan(restored.step(head).scores.score_N).all()
    assert set(restored.slab.row_of) == set(whole.slab.row_of)
    assert np.array_equal(restored.step(tail).scores.score_N, whole.step(tail).scores.score_N, equal_nan=True)


def test_a_state_of_another_shape_is_refused() -> None:
    one, other = detector(schema(["x"])), detector(schema(["x", "y"]))
    one.step(wave(streams=1, events=5, features=1))
    with pytest.raises(Incompatible, match="columns"):
        other.restore(one.export(0, 1))


def test_several_readings_of_one_record_have_alerts_of_their_own() -> None:
    batch = steady("s", range(100))
    packed = replace(batch, offset_N=np.arange(100) // 10, index_N=(np.arange(100) % 10).astype(np.int32))
    packed.values_ND[60:90, 1] = 7.0
    packed.values_ND[90:100, 1] = np.arange(10)
    ids = {one.alert_id for one in run(detector(), packed)[1]}
    assert len(ids) >= 1


def test_realised_alarms_are_unknown_until_a_day_was_seen() -> None:
    made = detector()
    made.step(steady("s", range(100)))
    assert made.spent().rate is None
    later = replace(steady("s", range(100, 1600, 5)), offset_N=np.arange(100, 400))
    later.values_ND[[150, 280]] += 1e4
    told = made.step(later).alerts
    opened = [one for one in told if (one.kind, one.event) == (Kind.PATTERN, Event.OPEN)]
    assert len(opened) >= 2
    assert made.spent().opens == pytest.approx(len(opened), rel=0.04), "of a day ago at most, of a month"


def test_an_accepted_pattern_is_learned_afresh_and_what_is_known_of_others_stays() -> None:
    made = detector(rules=Rules(grace_events=40))
    made.step(wave(streams=2, events=300))
    rows = made.slab.gather(made.slab.rows(["s0", "s1"]))
    before = {
        name: rows[name].copy()
        for name in ("cal_levels_reached", "level_count", "cal_count", "error_count", "surprise", "week_count")
    }
    rows["week_count"][0] = rows["rhythm_count"][0] = 400.0  # as after five weeks
    for known in (rows["cal_levels_reached"], before["cal_levels_reached"]):
        known *= 3.0  # as after a thousand events
    rows["cal_since"][0], odd = 30.0, [Signal.POINT, Signal.LEVEL]
    rows["cal_since"][0, odd] = 5.0
    acceptance.forget(rows, 0, Kind.PATTERN, made.rules)
    assert rows["cal_count"][0] == 40
    assert rows["surprise"][0] == 0 < before["surprise"][0]
    assert (np.array([rows[name][0] for name in ("level_count", "week_count", "rhythm_count")]) == 40).all()
    assert np.allclose(rows["cal_levels_reached"][0, odd, 0], calibration.KEPT), "they say that it is odd"
    others = np.delete(np.arange(made.scorer.kinds), odd)
    assert np.array_equal(rows["cal_levels_reached"][0, others], before["cal_levels_reached"][0, others])
    shape = rows["cal_levels_reached"][0] / rows["cal_levels_reached"][0, :, :1]
    assert np.allclose(shape, before["cal_levels_reached"][0] / before["cal_levels_reached"][0, :, :1])
    for name, known in before.items():
        assert np.array_equal(rows[name][1], known[1]), name


def test_the_interval_of_a_stream_whose_errors_are_not_known_yet_is_not_empty() -> None:
    of = schema(["x"])
    values = np.random.default_rng(0).normal(5, 1, (14, 1)).tolist()
    columns, _ = run(detector(of), observations(["s"] * 14, list(range(14)), values))
    told = ~np.isnan(columns["expected_NF"][:, 0])
    assert told[9]
    assert (columns["lower_NF"][told] < columns["expected_NF"][told]).all()
    assert (columns["expected_NF"][told] < columns["upper_NF"][told]).all()


def test_a_score_tells_what_lasts_and_the_episode_ends_when_it_no_longer_does() -> None:
    generous = Rules(alarms_per_day=100.0, grace_events=40)
    made, random, alerts, least = detector(rules=generous), np.random.default_rng(0), [], 0.0
    made.step(steady("s", range(600)))
    wild = np.where(np.arange(300)[:, None] % 3 > 0, random.normal(10, 60, (300, 2)), 10.0)
    values = np.concatenate([wild, random.normal(10, 1, (300, 2))])
    for place in range(600):
        step = made.step(
            observations(["s"], [600 + place], values[place : place + 1].tolist(), first_offset=600 + place)
        )
        alerts += step.alerts
        surprise = float(made.slab.column("surprise")[0])
        if surprise > LEAST:
            least = max(least, float(step.scores.p_value_N[0]))
            assert step.scores.p_value_N[0] <= np.exp(-surprise) * (1 + 1e-9)
    assert least > 0.01  # some of those events are calm in themselves
    assert [one.event for one in alerts][-1] is Event.CLOSE


def opened_and_closed(close_surprise: float) -> list[tuple[Event, float]]:
    """Return the opens and closes of a stream of which every third event is calm in itself, each with the average
    surprise then."""
    episode = EpisodeRule(close_after=1, close_surprise=close_surprise)
    made = detector(rules=Rules(evidence=(Evidence.POINT,), alarms_per_day=100.0, grace_events=40, episode=episode))
    made.step(steady("s", range(600)))
    random, told = np.random.default_rng(0), []
    wild = np.where(np.arange(300)[:, None] % 3 > 0, random.normal(10, 60, (300, 2)), 10.0)
    values = np.concatenate([wild, random.normal(10, 1, (300, 2))])
    for place, row in enumerate(values.tolist(), start=600):
        alerts = made.step(observations(["s"], [place], [row], first_offset=place)).alerts
        told += [(one.event, float(made.slab.column("surprise")[0])) for one in alerts]
    return [one for one in told if one[0] is not Event.UPDATE]


def test_an_episode_is_open_for_as_long_as_the_stream_is_surprising_on_average() -> None:
    told = opened_and_closed(2.0)
    assert all(surprise <= 2.0 for event, surprise in told if event is Event.CLOSE)
    assert len(opened_and_closed(5.0)) > len(told) > 1


@pytest.mark.parametrize("place", [0, 8, 15, 29])
def test_one_absurd_value_among_a_streams_first_does_not_blind_it(place: int) -> None:
    """A shift of twenty standard deviations, two days later, is found."""
    values = 20.0 + 0.5 * np.random.default_rng(0).normal(size=(3020, 1))
    values[3000:] += 10.0
    values[place] = 9e29
    made = detector(schema(["f0"]), Rules(alarms_per_day=1.0))
    step = made.step(observations(["s"] * len(values), list(range(len(values))), values.tolist()))
    opened = [alert.provenance.first_offset for alert in step.alerts if alert.event == "open"]
    assert any(3000 <= offset < 3005 for offset in opened)


@pytest.mark.parametrize("often", [2e12, 1.7e18])
def test_a_stream_that_goes_to_and_fro_between_nothing_and_large_numbers_is_judged(often: float) -> None:
    """Examples are the bytes of a backup once a week, and a time that is 0 until it is set."""
    count, random = 1500, np.random.default_rng(0)
    values = np.where(np.arange(count) % 7 == 6, often * (1.0 + 0.02 * random.normal(size=count)), 0.0)
    values[1400] = 4.5 * often
    made = detector(schema(["f0"]), Rules())
    step = made.step(observations(["s"] * count, list(range(count)), values[:, None].tolist()))
    assert (step.scores.status_N[-500:] == Status.SCORED).all()
    assert any(1400 <= alert.provenance.first_offset < 1405 for alert in step.alerts if alert.event == "open")

"""The change from one detector to the next over the same streams: nothing that belongs to a stream is lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from streams import detector, model, observations, schema, wave

from anomaly_daemon.detection.alert import Event, Kind
from anomaly_daemon.detection.artifact import Model
from anomaly_daemon.detection.calibration import begin
from anomaly_daemon.detection.changeover import change_over, rebuild
from anomaly_daemon.detection.detector import Detector, Status
from anomaly_daemon.detection.network import Cell, Layout, Network, NetworkConfig
from anomaly_daemon.detection.normalizer import NormalizerKind
from anomaly_daemon.detection.observation import category_code
from anomaly_daemon.detection.passage import Moment
from anomaly_daemon.detection.rules import DurationRule, EpisodeRule, Rules, SilenceRule
from anomaly_daemon.detection.signals import NETWORK_SIGNALS, Signal
from anomaly_daemon.detection.state import Rows, bucket_of


def another(one: Model, **changes: object) -> Model:
    """Return a model of the same layout with other weights, and with another network shape if `changes` say so."""
    config = replace(one.manifest.network, **changes)
    return replace(one, manifest=replace(one.manifest, version="2", network=config), network=Network(config).eval())


def rows_of(made: Detector) -> Rows:
    rebuild(made, made.slab.live())
    return made.slab.gather(made.slab.rows(sorted(made.slab.row_of)))


def test_other_rules_change_no_bit_of_the_state() -> None:
    batch = wave(streams=5, events=100)
    former = detector()
    former.step(batch)
    before = rows_of(former)
    new = detector(rules=Rules(alarms_per_day=9.0))
    new.adopt(former)
    after = rows_of(new)
    assert after.carried_BP.tobytes() == before.carried_BP.tobytes()
    assert after.statistics_BQ.tobytes() == before.statistics_BQ.tobytes()
    assert (new.watermark, new.last_offset) == (former.watermark, former.last_offset)
    assert len(new.buckets(64)) == len({bucket_of(key, 64) for key in new.slab.row_of})


def test_another_model_keeps_what_belongs_to_the_stream_and_rebuilds_what_is_the_networks() -> None:
    one = model()
    former, new = detector(made=one), detector(made=another(one, hidden=60))
    former.step(wave(streams=3, events=200))
    before = rows_of(former)
    new.adopt(former)
    after = rows_of(new)
    for name in ("norm_low", "norm_high", "norm_count", "cal_count", "gap_mean", "seen", "last_values", "window_time"):
        assert np.array_equal(after[name], before[name]), name
    assert np.array_equal(after.carried("window"), before.carried("window"), equal_nan=True)
    assert after.carried("hidden").shape == (3, 2, 1, 60)
    assert (np.abs(after.carried("hidden")).max(axis=(1, 2, 3)) > 0.01).all()
    assert (after["error_count"] == 0).all()


def test_evidence_of_another_networks_errors_begins_anew_and_the_other_kinds_go_on() -> None:
    one, rules = model(), Rules(grace_events=30, shared_events=300)
    former, new = detector(made=one, rules=rules), detector(made=another(one), rules=rules)
    batch = wave(streams=3, events=300)
    former.step(batch.take(slice(0, 600)))
    before = rows_of(former).carried("cal_levels_reached").copy()
    new.adopt(former)
    after = rows_of(new).carried("cal_levels_reached")
    blank = new.slab.layout.blank(3)
    begin(blank, new.scorer.shared, slice(None), events=300)
    start = blank.carried("cal_levels_reached")
    others = [signal for signal in Signal if signal not in NETWORK_SIGNALS]
    assert np.array_equal(after[:, NETWORK_SIGNALS], start[:, NETWORK_SIGNALS])
    assert np.array_equal(after[:, others], before[:, others])
    evidence_NJ = new.step(batch.take(slice(600, len(batch)))).scores.evidence_NJ
    assert np.isnan(evidence_NJ[: 3 * 29, NETWORK_SIGNALS]).all()
    assert not np.isnan(evidence_NJ[3 * 31 :, NETWORK_SIGNALS]).any()
    assert not np.isnan(evidence_NJ[:, [Signal.CHANGE, Signal.LEVEL, Signal.DRIFT]]).any()


OTHERS: list[dict[str, object]] = [
    {},
    {"cell": Cell.GRU},
    {"hidden": 60},
    {"layers": 2},
    {"reconstruct": 40},
    {"reconstruct": 8, "hidden": 60},
]


@pytest.mark.parametrize("normalizer", [NormalizerKind.STANDARD, NormalizerKind.ROBUST])
@pytest.mark.parametrize("other", OTHERS, ids=str)
@pytest.mark.parametrize("how", ["follow", "adopt"])
def test_a_slab_laid_out_anew_has_the_bits_of_one_that_was_moved_stream_by_stream(
    how: str, other: dict[str, object], normalizer: NormalizerKind
) -> None:
    one, batch = model(), wave(streams=7, events=200)
    second = another(one, **other)
    second = replace(second, manifest=replace(second.manifest, normalizer=normalizer))
    moved, laid = detector(made=second), detector(made=second)
    moved.scorer = laid.scorer  # with the same weights
    former = detector(made=one)
    former.step(batch.take(slice(0, 1000)))
    former.slab.drop(former.slab.rows(["s3"]))
    former.buckets(64)
    moved._stand_where(former, change_over(former, moved))
    before = rows_of(former).statistics_BQ.tobytes() if how == "follow" else b""
    getattr(laid, how)(former)
    assert laid.buckets(64) == moved.buckets(64)
    assert (laid.slab.due(1e30) >= 0).sum() == (moved.slab.due(1e30) >= 0).sum() == 6
    later = batch.take(slice(1000, len(batch)))
    assert laid.step(later).scores.p_value_N.tobytes() == moved.step(later).scores.p_value_N.tobytes()
    for blocks in zip(*((made.carried_BP, made.statistics_BQ) for made in map(rows_of, (laid, moved))), strict=True):
        assert blocks[0].tobytes() == blocks[1].tobytes()
    blank = laid.slab.layout.blank(int((~laid.slab.used_S).sum()))
    for block, free in ((laid.slab.carried_SP, blank.carried_BP), (laid.slab.statistics_SQ, blank.statistics_BQ)):
        assert np.array_equal(block[~laid.slab.used_S], free, equal_nan=True)
    if how == "follow":
        assert rows_of(former).statistics_BQ.tobytes() == before


@pytest.mark.parametrize("cell", list(Cell))
@pytest.mark.parametrize("layout", list(Layout))
def test_the_state_rebuilt_is_that_of_a_stream_which_began_with_its_recent_events(layout: Layout, cell: Cell) -> None:
    of, events = schema(["x", "y"], ["c"]), 120
    made = model(layout, cell, of)
    former, new = detector(of, made=made), detector(of, made=another(made))
    values = np.random.default_rng(0).normal(size=(events, 2)).tolist()
    texts = [[("a", "b", "z")[at % 3]] for at in range(events)]
    former.step(observations(["s"] * events, list(range(events)), values, texts))
    known, recurrence = rows_of(former), new.scorer.recurrence
    new.adopt(former)
    plain = new.slab.layout.blank(1)
    for place in reversed(range(16)):
        moment = Moment(
            known["window_time"][:, place].astype(np.int64),
            np.array([np.nan if place == 15 else 60e6]),
            known["gap_mean"],
            known["window"][:, place],
            np.array([[category_code(texts[events - 1 - place][0])]]),
            np.ones(1),
            np.zeros(1, bool),
        )
        y_BD = known.carried("window")[:, place]
        recurrence.step(plain, moment, y_BD, np.ones_like(y_BD))
    for name in ("hidden", "cell")[: 2 if cell is Cell.LSTM else 1]:
        np.testing.assert_array_equal(rows_of(new).carried(name), plain.carried(name))


@pytest.mark.parametrize("size", [1, 7, 300])
def test_when_a_state_is_rebuilt_changes_no_bit_of_what_comes_after(size: int) -> None:
    """The state is rebuilt at once, or when the stream is next stepped."""
    one, batch = model(), wave(streams=12, events=100)
    other, later = another(one), batch.take(slice(900, 1200))
    eager, lazy = detector(made=other), detector(made=other)
    for new in (eager, lazy):
        former = detector(made=one)
        former.step(batch.take(slice(0, 900)))
        new.adopt(former)
    rebuild(eager, eager.slab.live())
    parts = [lazy.step(later.take(slice(start, start + size))) for start in range(0, 300, size)]
    np.testing.assert_array_equal(
        np.concatenate([part.scores.score_N for part in parts]), eager.step(later).scores.score_N
    )
    assert rows_of(lazy).carried_BP.tobytes() == rows_of(eager).carried_BP.tobytes()


def test_a_snapshot_taken_right_after_a_change_holds_the_rebuilt_state() -> None:
    one, batch = model(), wave(streams=5, events=100)
    former, new = detector(made=one), detector(made=another(one))
    former.step(batch)
    new.adopt(former)
    kept = [new.export(bucket, 64) for bucket in range(64)]
    again = detector(made=another(one))
    for exported in kept:
        again.restore(exported)
    assert rows_of(again).carried_BP.tobytes() == rows_of(new).carried_BP.tobytes()
    assert np.abs(rows_of(again).carried("hidden")).max() > 0.01


def test_a_change_of_model_before_the_last_one_is_through_loses_no_stream() -> None:
    one, batch = model(), wave(streams=5, events=100)
    last = another(one, hidden=60)
    second, third = detector(made=another(one)), detector(made=last)
    other_rules = detector(rules=Rules(alarms_per_day=9.0), made=last)
    former = detector(made=one)
    former.step(batch)
    second.adopt(former)
    third.adopt(second)
    other_rules.adopt(third)
    assert (np.abs(rows_of(other_rules).carried("hidden")).max(axis=(1, 2, 3)) > 0.01).all()


def test_the_bucket_of_a_stream_that_was_forgotten_before_the_change_has_changed() -> None:
    """Its stored version still has the stream. If it counted as unchanged, a restart would bring the stream back, and
    publish its last alerts again."""
    former = detector(rules=Rules(idle_stream_seconds=3600))
    former.step(observations(["gone", "here"], [0, 0], [[1.0, 2.0]] * 2))
    former.buckets(64)
    former.step(observations(["here"], [1000], [[1.0, 2.0]], first_offset=2))
    assert set(former.slab.row_of) == {"here"}
    new = detector(rules=Rules(alarms_per_day=9.0))
    new.adopt(former)
    assert new.buckets(64) == {bucket_of("gone", 64), bucket_of("here", 64)}


def test_an_open_episode_stays_open_and_the_new_detector_closes_it() -> None:
    rules = Rules(stuck=DurationRule(minimum=3))
    one = model(of=schema(["x"]))
    former = detector(schema(["x"]), rules, one)
    values = [float(at % 3) for at in range(60)] + [7.0] * 40
    told = former.step(observations(["s"] * 100, list(range(100)), [[value] for value in values])).alerts
    opened = next(one for one in told if one.kind is Kind.STUCK)
    new = detector(schema(["x"]), rules, another(one, hidden=60, reconstruct=20))
    new.adopt(former)
    assert new.open_episodes[Kind.STUCK] == 1
    told = new.step(observations(["s"], [100], [[1.0]], first_offset=100)).alerts
    (closed,) = (one for one in told if one.kind is Kind.STUCK)
    assert (closed.event, closed.alert_id) == (Event.CLOSE, opened.alert_id)


def test_a_stream_is_scored_from_the_first_event_on_after_a_change_of_model() -> None:
    one = model()
    former, new = detector(made=one), detector(made=another(one))
    batch = wave(streams=2, events=200)
    former.step(batch.take(slice(0, 300)))
    new.adopt(former)
    assert set(new.step(batch.take(slice(300, 400))).scores.status_N.tolist()) == {Status.SCORED}


def test_a_model_with_another_normaliser_begins_blank_and_episodes_stay_open() -> None:
    rules = Rules(stuck=DurationRule(minimum=3), episode=EpisodeRule(accept_seconds=1e9))
    one = model(of=schema(["x"]))
    robust = replace(one, manifest=replace(one.manifest, version="2", normalizer=NormalizerKind.ROBUST))
    former, new = detector(schema(["x"]), rules, one), detector(schema(["x"]), rules, robust)
    values = [float(at % 3) for at in range(60)] + [7.0] * 40
    former.step(observations(["s"] * 100, list(range(100)), [[value] for value in values]))
    new.adopt(former)
    rows = rows_of(new)
    assert (rows["norm_count"] == 0).all()
    assert (rows.carried("hidden") == 0).all()
    assert np.isnan(rows["window_time"]).all()
    assert new.open_episodes[Kind.STUCK] == 1


def test_streams_the_new_detector_already_has_stay_as_they_are() -> None:
    former, new = detector(), detector(rules=Rules(alarms_per_day=9.0))
    former.step(wave(streams=2, events=50))
    new.step(observations(["later"] * 20, list(range(20)), [[float(at), 1.0] for at in range(20)]))
    before = new.slab.gather(new.slab.rows(["later"])).statistics_BQ.tobytes()
    new.adopt(former)
    assert len(new.slab) == 3
    assert new.slab.gather(new.slab.rows(["later"])).statistics_BQ.tobytes() == before


def test_more_streams_than_are_moved_at_once_all_move(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anomaly_daemon.detection.changeover.TOGETHER", 3)
    one = model()
    former, new, whole = detector(made=one), detector(made=another(one)), detector(made=another(one))
    former.step(wave(streams=8, events=60))
    new.adopt(former)
    assert len(new.slab) == 8
    monkeypatch.undo()
    again = detector(made=one)
    again.step(wave(streams=8, events=60))
    whole.scorer = new.scorer
    whole.adopt(again)
    np.testing.assert_array_equal(rows_of(new).carried_BP, rows_of(whole).carried_BP)


def test_a_network_of_any_size_of_window_reads_what_is_there() -> None:
    assert NetworkConfig(reconstruct=40).reconstruct == 40
    one = model()
    former, new = detector(made=one), detector(made=another(one, reconstruct=40))
    former.step(wave(streams=2, events=60))
    new.adopt(former)
    rows = rows_of(new)
    assert (~np.isnan(rows["window_time"])).sum(axis=1).tolist() == [16, 16]


def test_silences_that_were_waited_for_are_not_told_where_the_new_rules_do_not_look_for_them() -> None:
    off = Rules(silence=SilenceRule(enabled=False))
    former, later = detector(), observations(["other"], [500], [[1.0, 2.0]], first_offset=900)
    former.step(wave(streams=3, events=100))
    assert np.isfinite(former.slab.column("silence_at")).sum() == 3
    new, same = detector(rules=off), detector()
    same.follow(former)
    assert [one.kind for one in same.step(later).alerts] == [Kind.SILENCE] * 3
    new.adopt(former)
    assert new.step(later).alerts == []
    assert not np.isfinite(new.slab.column("silence_at")).any()


def test_a_silence_that_is_open_closes_under_rules_that_look_for_none() -> None:
    former = detector()
    former.step(wave(streams=1, events=100))
    (opened,) = former.advance(former.watermark + 3_600_000_000)
    new = detector(rules=Rules(silence=SilenceRule(enabled=False)))
    new.adopt(former)
    key = opened.stream.key
    (closed,) = new.step(observations([key], [200], [[10.0, 10.0]], first_offset=900)).alerts[:1]
    assert (closed.alert_id, closed.event) == (opened.alert_id, Event.CLOSE)


@pytest.mark.parametrize("together", [True, False])
def test_an_episode_is_closed_where_the_new_rules_forget_its_stream_sooner(together: bool) -> None:
    values = [[float(at % 3), 1.0] for at in range(40)] + [[7.0, 1.0]] * 40
    former = detector(rules=Rules(stuck=DurationRule(minimum=3), silence=SilenceRule(enabled=False)))
    opened = former.step(observations(["old"] * 80, list(range(80)), values)).alerts[0]
    new = detector(rules=Rules(idle_stream_seconds=3600, silence=SilenceRule(enabled=False)))
    new.adopt(former)
    later = observations(["clock", "old"], [200, 201], [[1.0, 1.0]] * 2, first_offset=80)
    parts = [later] if together else [later.take(slice(0, 1)), later.take(slice(1, 2))]
    told = [one for part in parts for one in new.step(part).alerts]
    assert [(one.alert_id, one.event) for one in told] == [(opened.alert_id, Event.CLOSE)]
    assert not any(new.open_episodes.values())


def test_a_bucket_that_lost_its_stream_before_a_change_is_still_to_be_written() -> None:
    former, new = (detector(rules=Rules(idle_stream_seconds=3600)) for _ in range(2))
    former.step(observations(["old", "clock"], [0, 0], [[1.0, 1.0]] * 2))
    former.buckets(64)
    former.step(observations(["clock"], [61], [[1.0, 1.0]], first_offset=2))
    new.adopt(former)
    assert new.buckets(64) == {bucket_of("old", 64), bucket_of("clock", 64)}

"""The calibration is fitted to the evidence that the production scorer finds in held-out events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from training_samples import SCHEMA, SECOND, SMALL, WORDS, observations, rows_and_cuts, series

from anomaly_daemon.detection import calibration
from anomaly_daemon.detection.artifact import Manifest, Model
from anomaly_daemon.detection.context import context
from anomaly_daemon.detection.detector import Detector
from anomaly_daemon.detection.network import Inputs, Layout, Network
from anomaly_daemon.detection.normalizer import Normalizer, initial
from anomaly_daemon.detection.observation import Numeric, Schema, Transform
from anomaly_daemon.detection.passage import Moment
from anomaly_daemon.detection.rules import Evidence, Rules
from anomaly_daemon.detection.scorer import Scored, Scorer
from anomaly_daemon.detection.signals import NAMES, Signal
from anomaly_daemon.detection.state import Rows, StateLayout
from anomaly_daemon.errors import ConfigurationError
from anomaly_daemon.settings import DetectionSettings
from anomaly_daemon.training.build import score_rules
from anomaly_daemon.training.calibrate import calibrate, evenly, evidence_of, refuse_too_little, with_evidence
from anomaly_daemon.training.dataset import Series

NETWORK = Network(SMALL, torch.Generator().manual_seed(0)).eval()
MANIFEST = Manifest("m", "1", SMALL, schema=SCHEMA, vocabulary=WORDS)
MODEL = Model(MANIFEST, NETWORK, calibration.assumed(len(NAMES), NAMES))
RULES = Rules()


class Recorder(Scorer):
    """The production scorer, which also records its results."""

    heard: list[tuple[Moment, Scored]]

    def score(self, rows: Rows, moment: Moment) -> Scored:
        scored = super().score(rows, moment)
        self.heard.append((moment, scored))
        return scored


def test_the_evidence_is_that_of_the_running_detector() -> None:
    one = series("s", 120, start=1_700_000_000)
    detector = Detector(MODEL, SCHEMA, RULES, "topic", 0)
    recorder = Recorder(MODEL, SCHEMA, RULES)
    recorder.heard = []
    detector.scorer = recorder
    detector.step(observations([one]))
    (evidence_TJ,) = evidence_of(Scorer(MODEL, SCHEMA, RULES), [one])
    paces = np.array([moment.pace_B[0] for moment, _ in recorder.heard])
    untaught = int(np.argmax(paces < 1.0)) if (paces < 1.0).any() else len(paces)  # an open episode slows learning
    ran_TJ = np.stack([scored.evidence_BJ[0] for _, scored in recorder.heard])
    assert untaught > 50
    assert np.array_equal(ran_TJ[:untaught], evidence_TJ[:untaught], equal_nan=True)


def test_what_the_network_trained_on_is_what_the_scorer_feeds_it() -> None:
    rows, _ = rows_and_cuts(streams=1)
    one = series("s0", 200)
    detector = Detector(MODEL, SCHEMA, RULES, "topic", 0)
    recorder = Recorder(MODEL, SCHEMA, RULES)
    recorder.heard = []
    detector.scorer = recorder
    detector.step(observations([one]))
    for t, (moment, _) in enumerate(recorder.heard[:60]):
        fed = context(moment.time_B, moment.gap_B, moment.typical_gap_B, SCHEMA.timezone)[0]
        assert np.allclose(fed, rows[0].context_TX[t], atol=1e-6), t


def test_streams_do_not_touch_each_other() -> None:
    streams = [series("a", 90, seed=1), series("b", 60, seed=2), series("c", 75, seed=3)]
    together = evidence_of(Scorer(MODEL, SCHEMA, RULES), streams)
    for one, evidence_TJ in zip(streams, together, strict=True):
        (alone,) = evidence_of(Scorer(MODEL, SCHEMA, RULES), [one])
        assert evidence_TJ.shape == (len(one), len(Signal))
        assert np.allclose(alone, evidence_TJ, equal_nan=True)


def test_only_events_since_the_cut_are_fitted() -> None:
    streams = [series(f"s{place}", 500, seed=place) for place in range(4)]
    fitted = calibrate(NETWORK, MANIFEST, SCHEMA, RULES, streams, 200 * SECOND)
    assert fitted.samples == 4 * 300
    cold = calibrate(NETWORK, MANIFEST, SCHEMA, RULES, streams, 20 * SECOND)
    assert cold.samples == 4 * (500 - RULES.grace_events)


def test_values_before_the_cut_reach_the_fit_through_the_streams_own_statistics_alone() -> None:
    streams = [series(f"s{place}", 500, seed=place) for place in range(4)]
    short = replace(RULES, adaptation_events=100.0)
    beyond_memory = [replace(one, values_TD=one.values_TD.copy()) for one in streams]
    for one in beyond_memory:
        one.values_TD[:90] = 1e9
    first, second = (
        calibrate(NETWORK, MANIFEST, SCHEMA, short, some, 200 * SECOND) for some in (streams, beyond_memory)
    )
    assert np.array_equal(first.reached_JK, second.reached_JK)


def test_the_fit_gives_held_out_events_their_own_frequency() -> None:
    """None of these streams reaches a second day, so there is no season evidence."""
    streams = [series(f"s{place}", 800, seed=place) for place in range(60)]
    fitted = calibrate(NETWORK, MANIFEST, SCHEMA, RULES, streams[:30], 0)
    rows, tails = StateLayout(*calibration.columns(fitted.kinds)).blank(30), calibration.Shared.of(fitted)
    calibration.begin(rows, fitted, slice(None))
    rows["cal_extremal"] = 1.0  # then a p-value is the event's own
    beyond, body = [], []
    for moment in np.stack(evidence_of(Scorer(MODEL, SCHEMA, RULES), streams[30:]), axis=1):
        judged = calibration.judge(rows, tails, moment, RULES.adaptation_events, np.ones(30))
        beyond.append(moment > judged.level)
        body.append(judged.p)
        rows["cal_extremal"] = 1.0
    body_NJ, beyond_NJ = np.concatenate(body[400:]), np.concatenate(beyond[400:])
    steady = [Signal.POINT, Signal.WINDOW, Signal.CHANGE]  # level evidence falls while the long-term level is learned
    assert np.all(np.abs((body_NJ < 0.1).mean(axis=0)[steady] - 0.1) < 0.06)
    assert np.all(beyond_NJ.mean(axis=0) < 2 * calibration.TAIL)


def test_the_tail_is_fitted_to_excesses_as_they_are_measured_where_it_runs() -> None:
    """Where the shared distribution weighs more, a stream's own mean exceedance moves less, so exceedances are other
    multiples of it."""
    streams = [series(f"s{place}", 500, seed=place) for place in range(4)]
    rules = score_rules(DetectionSettings(shared_events=3000))
    light, heavy = (calibrate(NETWORK, MANIFEST, SCHEMA, one, streams, 200 * SECOND) for one in (RULES, rules))
    assert np.array_equal(light.reached_JK, heavy.reached_JK)
    assert not np.array_equal(light.largest_J, heavy.largest_J)


def test_of_very_many_streams_some_are_taken_evenly() -> None:
    assert evenly([1, 2, 3, 4, 5, 6], 3) == [1, 3, 5]
    assert evenly([1, 2], 3) == [1, 2]


def test_too_little_to_calibrate_with_is_an_error_that_says_what_to_change() -> None:
    with pytest.raises(ConfigurationError, match=r"validation_share, or, .* lower detection.grace_events"):
        calibrate(NETWORK, MANIFEST, SCHEMA, RULES, [series("s", 200)], 100 * SECOND)


@pytest.mark.parametrize("layout", [Layout.JOINT, Layout.CHANNEL])
def test_which_events_have_evidence_is_known_before_there_is_a_network(layout: Layout) -> None:
    """Values of fields and categories are missing one by one and for longer times, and the stream begins without any."""
    random = np.random.default_rng(5)
    one = series("s", 400)
    one.values_TD[random.random((400, 2)) < 0.4] = np.nan
    one.categories_TC[random.random(400) < 0.5] = 0
    for gap in (slice(0, 7), slice(60, 90), slice(200, 203), slice(300, 340)):
        one.values_TD[gap], one.categories_TC[gap] = np.nan, 0
    one.categories_TC[70] = one.categories_TC[310] = series("s", 1).categories_TC[0]
    config = SMALL if layout is Layout.JOINT else replace(SMALL, layout=layout, values=1, classes=())
    schema, words = (SCHEMA, WORDS) if layout is Layout.JOINT else (None, {})
    model = Model(
        Manifest("m", "1", config, schema=schema, vocabulary=words), Network(config).eval(), MODEL.calibration
    )
    (evidence_TJ,) = evidence_of(Scorer(model, SCHEMA, RULES), [one])
    there_T = ~np.isnan(evidence_TJ).all(axis=1)
    assert np.array_equal(with_evidence(config, one), there_T)
    assert 10 < (~there_T).sum() < 200


def counted(one: Series) -> Series:
    """Return the stream with a counter, which restarts now and then, as its only field."""
    counter_T = (np.arange(len(one)) % 7).astype(float)
    return replace(one, values_TD=counter_T[:, None], categories_TC=one.categories_TC[:, :0])


def test_of_counters_too_little_is_refused_before_the_training_in_the_same_words() -> None:
    one, schema = counted(series("s", 1200)), Schema((Numeric("total", Transform.RATE),))
    config = replace(SMALL, layout=Layout.CHANNEL, values=1, classes=(), reconstruct=1)
    with pytest.raises(ConfigurationError) as before:
        refuse_too_little(config, schema, RULES, [one], 100 * SECOND)
    with pytest.raises(ConfigurationError) as after:
        calibrate(Network(config).eval(), Manifest("m", "1", config), schema, RULES, [one], 100 * SECOND)
    assert str(before.value) == str(after.value)


@pytest.mark.parametrize(("events", "gap"), [(1150, 0), (1150, 80), (1000, 0), (60, 0)])
def test_what_is_refused_after_the_training_is_refused_before_it_in_the_same_words(events: int, gap: int) -> None:
    one = series("s", events)
    one.values_TD[600 : 600 + gap], one.categories_TC[600 : 600 + gap] = np.nan, 0

    def said(ask: Callable[[int], object]) -> str:
        try:
            ask(since)
        except ConfigurationError as error:
            return str(error)
        return "enough"

    for since in (100 * SECOND, 149 * SECOND, 150 * SECOND, 151 * SECOND, 2000 * SECOND):
        before = said(lambda since: refuse_too_little(SMALL, SCHEMA, RULES, [one], since))
        assert before == said(lambda since: calibrate(NETWORK, MANIFEST, SCHEMA, RULES, [one], since))
    assert "no stream has an event in that part" in before


@pytest.mark.parametrize("kind", list(Evidence))
def test_a_model_is_calibrated_for_all_kinds_of_evidence_whichever_its_operator_lets_count(kind: Evidence) -> None:
    assert score_rules(DetectionSettings(evidence=[kind])).evidence == tuple(Evidence)


def test_the_running_scorer_expects_what_the_network_predicts_in_training() -> None:
    one, row = series("s0", 200), rows_and_cuts(streams=1)[0][0]
    inputs = Inputs(*(torch.from_numpy(a)[None] for a in (row.values_TD, row.mask_TD, row.context_TX, row.classes_TC)))
    with torch.no_grad():
        location_TD = NETWORK(inputs)[0].location[0].double().numpy()
    recorder = Recorder(MODEL, SCHEMA, RULES)
    recorder.heard = []
    evidence_of(recorder, [one])
    normalizer, known = Normalizer(memory=RULES.adaptation_events), initial(1, 2)
    for t, (_, scored) in enumerate(recorder.heard):
        if t:
            assert np.allclose(scored.of.expected, normalizer.denormalise(known, location_TD[t : t + 1]), atol=1e-4), t
        known = normalizer.update(known, one.values_TD[t : t + 1])
    assert len(recorder.heard) == 200

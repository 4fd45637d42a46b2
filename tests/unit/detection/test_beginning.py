from __future__ import annotations

import numpy as np
import pytest
from streams import detector, observations, schema

from anomaly_daemon.detection import beginning
from anomaly_daemon.detection import values as of_values
from anomaly_daemon.detection.beginning import ANEW, ENOUGH, FIRST, OTHERS, STAYS, WIDER
from anomaly_daemon.detection.detector import Detector, Step
from anomaly_daemon.detection.normalizer import Normalizer, NormalizerKind
from anomaly_daemon.detection.observation import Float64
from anomaly_daemon.detection.resolution import AT_REST, least
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.detection.signals import Signal
from anomaly_daemon.detection.state import Column, StateLayout

LAYOUT = StateLayout([], beginning.columns(2))
AT, FIELD = beginning.at(LAYOUT), 1
ACCIDENTS = {
    "the first reading": (0, [65535.0]),
    "a reading": (12, [-9999.0]),
    "warming up": (0, np.linspace(850.0, 20.0, 25).tolist()),
    "another operation": (0, [850.0] * 25),
    "past those that no outlier is told of among": (20, [850.0] * 20),
}


def told(values: Float64) -> list[int]:
    """Return the result of the trial (`STAYS`, `ANEW` or `OTHERS`) for each value of a field that has another field
    beside it."""
    row_Q = LAYOUT.blank(1).statistics_BQ[0]
    return [beginning.meet(row_Q, AT, FIELD, float(value)) for value in values]


def hum(events: int = 1500, seed: int = 0) -> Float64:
    return 20.0 + 0.5 * np.random.default_rng(seed).normal(size=events)


def with_accident(name: str, events: int = 1500) -> Float64:
    values, (place, readings) = hum(events), ACCIDENTS[name]
    values[place : place + len(readings)] = readings
    return values


def stepped(values_ND: Float64, rules: Rules) -> tuple[Detector, Step]:
    values_ND = values_ND.reshape(len(values_ND), -1)
    made = detector(schema([f"f{d}" for d in range(values_ND.shape[1])]), rules)
    return made, made.step(observations(["s"] * len(values_ND), list(range(len(values_ND))), values_ND.tolist()))


@pytest.mark.parametrize("absurd", [9e29, -9e29, 1e300])
@pytest.mark.parametrize("place", [0, 1, 7, 28])
def test_at_a_value_that_cannot_be_of_the_same_kind_all_begins_anew_and_at_the_next_again(
    absurd: float, place: int
) -> None:
    values = hum(400)
    values[place] = absurd
    assert np.flatnonzero(told(values)).tolist() == [place, place + 1][place == 0 :]
    assert set(told(values)) == {STAYS, ANEW}


@pytest.mark.parametrize(
    "readings",
    [
        [0.0, 0.0, 5e9, 0.0],
        [1.7e9, 0.0, 1.7e9],
        [1e-13, 5.0, 1e-13],
        [0.0, 2e12, 0.0, 2e12],
        [1.7e18, 0.0, 1.7e18],
        [0.0, 2.0**64, 0.0],
    ],
)
def test_readings_however_unlike_are_of_one_kind(readings: list[float]) -> None:
    """From nothing to a counter of bytes, a time or the largest counter; and a residue of rounding."""
    assert set(told(np.array(readings))) == {STAYS}


@pytest.mark.parametrize("name", ACCIDENTS)
def test_what_never_came_again_is_forgotten_once_and_the_others_are_known(name: str) -> None:
    values, row_Q = with_accident(name, 5000), LAYOUT.blank(1).statistics_BQ[0]
    for value in values[:ENOUGH]:
        last = beginning.meet(row_Q, AT, FIELD, float(value))
    assert last == OTHERS
    others = values[FIRST:ENOUGH]
    assert beginning.others(row_Q, AT, FIELD) == pytest.approx((others.mean(), others.var(), len(others)))
    assert np.flatnonzero(told(values)).tolist() == [ENOUGH - 1]


def test_a_missing_value_is_none() -> None:
    values = with_accident("a reading")
    assert np.flatnonzero(told(np.insert(values, [5, 40, 500], np.nan))).tolist() == [ENOUGH - 1 + 3]


def test_a_burst_that_comes_again_stays() -> None:
    values = with_accident("another operation")
    values[700] = 850.0
    assert set(told(values)) == {STAYS}


def test_a_field_that_rests_says_nothing_of_how_wide_it_is() -> None:
    moves = 20.0 + 1e-3 * np.arange(ENOUGH)
    at_rest = np.repeat(moves[::2], 2)
    for values in (moves, at_rest):
        values[10:20] = 1e6
    assert told(at_rest)[-1] == STAYS
    assert told(moves)[-1] == OTHERS


@pytest.mark.parametrize(("times", "became"), [(0.98, STAYS), (1.02, OTHERS)])
def test_how_much_wider_the_first_values_must_be(times: float, became: int) -> None:
    values = hum(ENOUGH)
    others = values[FIRST:]
    values[:FIRST] = others.mean() + times * WIDER * others.std() * np.tile([1.0, -1.0], FIRST // 2)
    assert told(values)[-1] == became
    values[:FIRST] = others.mean() + times * WIDER * others.std()
    assert told(values)[-1] == became


@pytest.mark.parametrize("name", ACCIDENTS)
def test_an_accident_among_the_first_values_blinds_no_stream(name: str) -> None:
    """A shift of seven standard deviations, a day after the trial, is found; and nothing that is forgotten raises an
    alarm."""
    values = with_accident(name, 2500)
    values[2450:] += 3.5
    _, step = stepped(values, Rules(alarms_per_day=1.0))
    opened = [alert.provenance.first_offset for alert in step.alerts if alert.event == "open"]
    assert any(2450 <= offset < 2460 for offset in opened)
    assert not any(ENOUGH - 1 <= offset < ENOUGH + 300 for offset in opened)


def test_what_is_known_of_other_fields_stays() -> None:
    values = np.stack([with_accident("a reading"), hum(seed=1)], axis=1)
    plain = np.stack([hum(), hum(seed=1)], axis=1)
    rows, expected = (
        made.slab.gather(np.array([0])) for made, _ in (stepped(some, Rules()) for some in (values, plain))
    )
    of_fields = ("level_", "step_", "quiet_", "season", "autoregression_", "shape_", "norm_", "slow_", "last_x")
    named = [name for name in rows.layout.places if name.startswith(of_fields)]
    assert len(named) > 20
    for name in named:
        (ours,), (theirs,) = rows[name], expected[name]
        if ours.ndim and 2 in ours.shape:
            axis = -1 if name in ("season", "slow_error") else 0
            np.testing.assert_array_equal(np.take(ours, 1, axis), np.take(theirs, 1, axis), err_msg=name)


def test_what_evidence_was_worth_is_forgotten_with_what_it_was_held_against_and_of_no_other_stream() -> None:
    keys, values = ["s", "other"], np.stack([with_accident("a reading"), hum(seed=1)], axis=1)[: ENOUGH + 5]
    events = observations(
        keys * len(values), np.repeat(np.arange(len(values)), 2).tolist(), values.reshape(-1, 1).tolist()
    )
    made = detector(schema(["f0"]), Rules())
    made.step(events)
    reached = made.slab.gather(made.slab.rows(keys))["cal_levels_reached"][:, Signal.LEVEL, 0]
    assert reached[0] < Rules().shared_events + 10 < ENOUGH / 2 < reached[1]


@pytest.mark.parametrize(("known", "rests", "own"), [(1.0, 0.0, True), (0.99, 0.0, False), (1.0, 0.6, False)])
def test_a_field_is_measured_by_itself_once_it_is_known_to_move(known: float, rests: float, own: bool) -> None:
    rows = detector(schema(["f0"]), Rules()).slab.layout.blank(1)
    rows["level_mean"], rows["beginning_count"], rows["quiet_rests"] = 20.0, known * ENOUGH, rests
    assert of_values.least(rows.statistics_BQ[0], of_values.at(rows.layout), 0) == least(20.0, own)


def test_what_others_say_of_a_field_that_begins_anew_is_learned_anew() -> None:
    values = np.stack([with_accident("a reading"), hum(seed=1)], axis=1)
    values[:, 1] += 0.9 * (values[:, 0] - 20.0) * (np.arange(len(values)) > FIRST)
    before, after = (stepped(values[:events], Rules())[0].slab for events in (ENOUGH - 1, ENOUGH + 10))
    former, now = (slab.gather(np.array([0])) for slab in (before, after))
    assert (former["relation_count"][0] > 0).all()
    assert now["relation_count"][0, 0] < 12 < former["relation_count"][0, 1] <= now["relation_count"][0, 1]


@pytest.mark.parametrize("kind", list(NormalizerKind))
def test_training_reads_what_the_stream_would(kind: NormalizerKind) -> None:
    whole, others = (
        Normalizer(kind).normalise_series(some[None, :, None])
        for some in (with_accident("another operation"), with_accident("another operation")[ENOUGH - 1 :])
    )
    for ours, theirs in zip(whole, others, strict=True):
        assert np.array_equal(ours[0, ENOUGH:, 0], theirs[0, 1:, 0])


@pytest.mark.parametrize(("share", "became"), [(0.9, OTHERS), (1.1, STAYS)])
def test_a_field_that_proves_narrower_than_what_it_was_measured_in_begins_anew(share: float, became: int) -> None:
    values = hum(ENOUGH) - 20.0
    values = 20.0 + share * AT_REST * 20.0 * values / values[FIRST:].std()
    assert told(values)[-1] == became
    assert set(told(values)[:-1]) == {STAYS}


def test_of_a_stream_that_another_release_knew_the_next_values_are_looked_at() -> None:
    rows = StateLayout([], [*beginning.columns(1), Column("level_count", (1,))]).blank(2)
    rows["level_count"][0] = 5000.0
    beginning.complete(rows)
    for values, became in ((hum(), STAYS), (20.0 + 1e-3 * (hum() - 20.0), OTHERS)):
        row_Q, at = rows.statistics_BQ[0].copy(), beginning.at(rows.layout)
        results = [beginning.meet(row_Q, at, 0, float(value)) for value in values[: ENOUGH - FIRST]]
        assert set(results[:-1]) == {STAYS}
        assert results[-1] == became
    assert rows["beginning_count"][1, 0] == 0.0

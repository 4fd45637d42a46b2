"""A deviation that is too small to matter raises no alarm, however improbable it is, and hides no other deviation."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import detector, observations

from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.detection.alert import Alert, Event, Kind
from anomaly_daemon.detection.detector import Scores, Step
from anomaly_daemon.detection.floors import FAR, SMALL, Floors, _of_kind
from anomaly_daemon.detection.observation import Direction, Numeric, Observations, Schema, Transform
from anomaly_daemon.detection.rules import EpisodeRule, Evidence, Rules

MODEL = read_model("pretrained")
EVENTS, BEGIN = 420, 280
CPU = Numeric("cpu")
NAN = float("nan")


def noise(center: float, spread: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(center, spread, EVENTS)


def cpu(shift: float, until: int = EVENTS) -> np.ndarray:
    """Return values of about 40 that are higher by `shift` from the event BEGIN until `until`."""
    values = noise(40.0, 0.3)
    values[BEGIN:until] += shift
    return values


def batch(*columns: np.ndarray, texts: list[str] | None = None) -> Observations:
    values = np.column_stack(columns).tolist()
    named = None if texts is None else [[text] for text in texts]
    return observations(["host"] * EVENTS, list(range(EVENTS)), values, named)


def run(read: Observations, *fields: Numeric, rules: Rules | None = None, cuts: tuple[int, ...] = ()) -> Step:
    """Run the detector in one step, or in several, split at `cuts`."""
    of = Schema(fields, ("job",) if read.categories_NC.shape[1] else ())
    made, edges = detector(of, rules, MODEL), [0, *sorted(cuts), len(read)]
    steps = [made.step(read.take(slice(a, b))) for a, b in itertools.pairwise(edges) if a < b]
    columns = [np.concatenate([getattr(step.scores, name) for step in steps]) for name in Scores.__dataclass_fields__]
    return Step(Scores(*columns), [one for step in steps for one in step.alerts])


def patterns(found: Step) -> list[Alert]:
    return [one for one in found.alerts if one.kind is Kind.PATTERN and one.provenance.last_offset >= BEGIN]


def floored(least: float = 0.0, percent: float = 0.0, **more: object) -> Numeric:
    return Numeric("cpu", min_deviation=least, min_deviation_percent=percent, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "alarms"),
    [
        (floored(2.0), True),
        (floored(5.0), False),
        (floored(percent=5.0), True),
        (floored(percent=12.0), False),
        (floored(2.0, 5.0), True),
        (floored(2.0, 12.0), False),
        (floored(5.0, 5.0), False),
    ],
)
def test_a_shift_alarms_where_it_reaches_every_floor_of_its_field(field: Numeric, alarms: bool) -> None:
    assert bool(patterns(run(batch(cpu(3.0)), field))) == alarms


def test_a_percentage_is_of_the_size_of_what_was_expected() -> None:
    read = batch(-cpu(3.0))
    assert patterns(run(read, floored(percent=5.0)))
    assert not patterns(run(read, floored(percent=12.0)))


@pytest.mark.parametrize(
    ("field", "alarms"),
    [(floored(20.0), True), (floored(80.0), False), (floored(percent=20.0), True), (floored(percent=60.0), False)],
)
def test_of_a_logarithmic_field_floors_are_in_its_own_units(field: Numeric, alarms: bool) -> None:
    amounts = np.exp(noise(np.log(100.0), 0.03))
    amounts[BEGIN:] *= 1.4
    assert bool(patterns(run(batch(amounts), replace(field, transform=Transform.LOG)))) == alarms


@pytest.mark.parametrize("kind", [Evidence.POINT, Evidence.WINDOW, Evidence.CHANGE, Evidence.LEVEL, Evidence.DRIFT])
def test_floors_hold_for_each_kind_of_evidence(kind: Evidence) -> None:
    rules, read = Rules(evidence=(kind,)), batch(cpu(3.0))
    assert patterns(run(read, floored(1.5), rules=rules))
    assert not patterns(run(read, floored(5.0), rules=rules))


def test_of_a_level_it_is_the_average_that_must_be_far_off_and_not_each_value() -> None:
    values = noise(40.0, 2.0)
    values[BEGIN:] += 3.0
    rules = Rules(evidence=(Evidence.LEVEL,), alarms_per_day=20)
    assert patterns(run(batch(values), floored(2.0), rules=rules))
    assert (np.abs(values[BEGIN:] - 40.0) > 5.0).sum() > 15
    assert not patterns(run(batch(values), floored(5.0), rules=rules))


@pytest.mark.parametrize("kind", [Evidence.LEVEL, Evidence.DRIFT])
def test_a_field_that_rests_and_then_moves_far_is_not_taken_for_ten_deviations(kind: Evidence) -> None:
    resting = noise(0.0, 0.01)
    resting[BEGIN:] += 50.0
    assert patterns(run(batch(resting), floored(20.0), rules=Rules(evidence=(kind,))))
    assert not patterns(run(batch(resting), floored(80.0), rules=Rules(evidence=(kind,))))


@pytest.mark.parametrize(("shift", "alarms"), [(8.0, True), (3.0, False), (-8.0, False)])
def test_a_floor_is_on_the_side_that_counts(shift: float, alarms: bool) -> None:
    assert bool(patterns(run(batch(cpu(shift)), floored(5.0, direction=Direction.ABOVE)))) == alarms


def test_a_fault_of_another_field_alarms_while_the_first_is_off_by_too_little() -> None:
    heat = noise(10.0, 1.0, seed=1)
    heat[BEGIN + 50 : BEGIN + 60] += 12.0
    read, rules = batch(cpu(3.0), heat), Rules(alarms_per_day=3)
    both, one = (patterns(run(read, field, Numeric("heat"), rules=rules)) for field in (CPU, floored(5.0)))
    assert both[0].features[0].name == "cpu"
    assert both[0].provenance.first_offset < BEGIN + 10
    assert (one[0].event, one[0].features[0].name, one[0].provenance.first_offset) == (Event.OPEN, "heat", BEGIN + 50)
    assert one[0].reason.startswith("heat is ")
    assert not any(alert.features[0].name == "cpu" for alert in one if alert.event is not Event.CLOSE)
    assert one[0].p_value is not None
    assert one[0].threshold is not None
    assert one[0].p_value <= one[0].threshold


def test_at_the_same_event_the_field_that_is_far_enough_off_is_told_of_first() -> None:
    heat = noise(10.0, 1.0, seed=1)
    heat[BEGIN:] += 12.0
    first = patterns(run(batch(cpu(3.0), heat), floored(5.0), Numeric("heat")))[0]
    assert [one.name for one in first.features] == ["heat", "cpu"]
    assert sum(one.prediction_share + one.reconstruction_share for one in first.features) == pytest.approx(1.0)


@pytest.mark.parametrize(("share", "size"), [(0.51, FAR), (0.49, SMALL)])
def test_a_field_leads_with_half_of_the_largest_share(share: float, size: int) -> None:
    parts_2F, size_JD = np.array([[1.0, share], [0.0, 0.0]]), np.array([[SMALL, FAR]], np.uint8)
    assert _of_kind(parts_2F, size_JD, 0) == size


def test_a_category_has_no_floor() -> None:
    texts = ["backup" if at == BEGIN else "a" for at in range(EVENTS)]
    read = batch(cpu(0.0), texts=texts)
    opened = patterns(run(read, floored(1e6), rules=Rules(alarms_per_day=20)))
    assert [one.features[0].name for one in opened if one.event is Event.OPEN][:1] == ["job"]


def test_an_episode_closes_where_what_is_left_of_it_is_too_small() -> None:
    """It closes although the values are still improbable, and the stream is surprising on average."""
    values = cpu(3.0)
    values[BEGIN : BEGIN + 20] += 20.0
    opened, *updates, closed = patterns(run(batch(values), floored(5.0)))
    assert (opened.event, opened.provenance.first_offset, updates) == (Event.OPEN, BEGIN, [])
    assert closed.event is Event.CLOSE
    assert closed.reason.startswith("back to normal")
    assert BEGIN + 20 < closed.provenance.last_offset < BEGIN + 20 + 20


def test_a_fault_that_reaches_its_floor_has_the_episode_that_it_has_without_one() -> None:
    read = batch(cpu(3.0, until=BEGIN + 100))
    without, under = (patterns(run(read, field)) for field in (CPU, floored(2.0)))
    assert [(one.event, one.provenance) for one in under] == [(one.event, one.provenance) for one in without]


def test_what_is_missing_is_neither_far_off_nor_calm() -> None:
    values, heat, rules = cpu(8.0), noise(10.0, 1.0, seed=1), Rules(episode=EpisodeRule(renotify_seconds=60.0))
    values[BEGIN + 4 :] = NAN
    read = batch(values, heat).take(slice(0, BEGIN + 15))
    without, under = (patterns(run(read, field, Numeric("heat"), rules=rules)) for field in (CPU, floored(5.0)))
    assert without[-1].provenance.last_offset > BEGIN + 7
    assert [one.provenance.last_offset - BEGIN for one in under] == list(range(4))
    assert Event.CLOSE not in {one.event for one in under}


def test_without_a_floor_nothing_is_computed_and_with_one_that_everything_passes_all_is_as_without() -> None:
    assert Floors.of((CPU, Numeric("heat", direction=Direction.ABOVE))) is None
    heat = noise(10.0, 1.0, seed=1)
    heat[BEGIN + 50 : BEGIN + 60] += 12.0
    read = batch(cpu(3.0, until=BEGIN + 100), heat)
    without, under = run(read, CPU, Numeric("heat")), run(read, floored(1e-300), Numeric("heat"))
    assert without.alerts == under.alerts
    for name in Scores.__dataclass_fields__:
        assert np.array_equal(getattr(without.scores, name), getattr(under.scores, name), equal_nan=True), name


def test_evidence_and_scores_know_nothing_of_floors_where_no_episode_opens_either_way() -> None:
    """Open episodes are avoided here because they slow down what their stream learns."""
    rules, read = Rules(grace_events=10_000), batch(cpu(3.0))
    without, under = run(read, CPU, rules=rules), run(read, floored(5.0), rules=rules)
    for name in ("score_N", "p_value_N", "threshold_N", "evidence_NJ", "expected_NF", "prediction_NF"):
        assert np.array_equal(getattr(without.scores, name), getattr(under.scores, name), equal_nan=True), name


@settings(max_examples=5, deadline=None)
@given(st.lists(st.integers(0, EVENTS), max_size=6))
def test_floors_do_not_depend_on_how_records_are_batched(cuts: list[int]) -> None:
    values, heat = cpu(3.0), noise(10.0, 1.0, seed=1)
    values[BEGIN : BEGIN + 6] += 20.0
    heat[BEGIN + 50 : BEGIN + 60] += 12.0
    fields = floored(5.0), Numeric("heat", min_deviation_percent=50.0)
    whole, parts = (run(batch(values, heat), *fields, cuts=cut) for cut in ((), tuple(cuts)))
    assert whole.alerts == parts.alerts
    for name in Scores.__dataclass_fields__:
        assert np.array_equal(getattr(whole.scores, name), getattr(parts.scores, name), equal_nan=True), name

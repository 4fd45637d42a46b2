"""Fields that depend on each other are compared with each other, and no other fields are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from streams import detector, model, observations, schema

from anomaly_daemon.detection import relation
from anomaly_daemon.detection.calibration import assumed
from anomaly_daemon.detection.detector import Detector
from anomaly_daemon.detection.explain import SIGNAL_TEXTS
from anomaly_daemon.detection.observation import Direction, Float64, Numeric, Schema
from anomaly_daemon.detection.relation import RIDGE
from anomaly_daemon.detection.rules import MOST_RELATED, EpisodeRule, Evidence, Rules
from anomaly_daemon.detection.scores import Step
from anomaly_daemon.detection.signals import NAMES, Signal, kinds

ONLY = Rules(evidence=(Evidence.RELATION,), alarms_per_day=5.0, episode=EpisodeRule(magnitude_floor=0.0))
"""Rules under which no other kind of evidence can report a broken relation."""


def together(events: int = 2000, fields: int = 3, seed: int = 0) -> Float64:
    """Return fields that are moved by one driver, each with some noise of its own."""
    random = np.random.default_rng(seed)
    driver = np.sin(np.arange(events) / 15.0) + 0.5 * random.normal(size=events)
    share = np.linspace(1.0, 2.0, fields)
    return 10.0 + driver[:, None] * share + 0.1 * random.normal(size=(events, fields))


def apart(values_ND: Float64, field: int, first: int, last: int, back: int = 777) -> Float64:
    """Replace one field from `first` to `last` by its values of another time, which are ordinary in themselves."""
    broken = values_ND.copy()
    broken[first:last, field] = values_ND[first - back : last - back, field]
    return broken


def stepped(values_ND: Float64, rules: Rules = ONLY, of: Schema | None = None) -> tuple[Detector, Step]:
    names = [f"f{number}" for number in range(values_ND.shape[1])]
    made = detector(of or schema(names), rules)
    return made, made.step(observations(["s"] * len(values_ND), list(range(len(values_ND))), values_ND.tolist()))


def evidence_of(values_ND: Float64, rules: Rules = Rules()) -> Float64:  # noqa: B008 - frozen
    """Return the relation evidence of each event [N]."""
    return stepped(values_ND, rules)[1].scores.evidence_NJ[:, Signal.RELATION]


def square(made: Detector, name: str, fields: int) -> Float64:
    """Return a stored triangle as the symmetric matrix that it belongs to."""
    (triangle,) = made.slab.gather(made.slab.rows(["s"])).carried(name)
    matrix = np.zeros((fields, fields))
    matrix[np.tril_indices(fields)] = triangle
    return np.maximum(matrix, matrix.T) + np.minimum(np.tril(matrix, -1) + np.tril(matrix, -1).T, 0.0)


def test_a_broken_relation_is_found_and_told_of_the_field_that_broke_it() -> None:
    values = apart(together(), 1, 1500, 1530)
    step = stepped(values)[1]
    (opened, *_) = [one for one in step.alerts if one.event == "open"]
    assert 1500 <= opened.provenance.first_offset < 1515
    assert opened.features[0].name == "f1"
    assert SIGNAL_TEXTS[Signal.RELATION] in opened.reason
    assert "expected from the other fields" in opened.reason
    offset = opened.provenance.first_offset
    assert opened.features[0].expected == pytest.approx(together()[offset, 1], abs=0.6), "what it was before"
    other = evidence_of(together())
    assert step.scores.evidence_NJ[1500:1540, Signal.RELATION].max() > np.nanmax(other[1000:]) + 0.2


def test_of_fields_that_go_each_its_own_way_nothing_is_said() -> None:
    values = np.random.default_rng(2).normal(size=(800, 3))
    assert np.isnan(evidence_of(values)).all()


def test_a_switch_is_not_held_against_what_it_switches() -> None:
    """A switch rests most of the time, so its covariance comes from a few moves only."""
    on = (np.arange(1500) // 100 % 2).astype(float)
    pairs = np.column_stack([on, 1.0 - on])
    assert np.isnan(evidence_of(pairs)).all()
    assert not np.isnan(evidence_of(pairs + 0.05 * np.random.default_rng(3).normal(size=pairs.shape))[-1])


def test_a_field_that_is_missing_is_taken_for_what_the_others_say_and_breaks_nothing() -> None:
    whole, gap = together(), together()
    gap[1500:1600, 2] = np.nan
    there, before = evidence_of(gap), evidence_of(whole)
    assert there[1500:1600].max() < np.nanmax(before[1000:]) + 0.1
    assert evidence_of(apart(gap, 1, 1520, 1560))[1520:1570].max() > there[1500:1600].max() + 0.2, (
        "it is found all the same"
    )
    alone = together()
    alone[1500:1600, 1:] = np.nan
    found = evidence_of(alone)
    assert np.isnan(found[1500:1600]).all(), "one field by itself says nothing"
    assert not np.isnan(found[1600:]).any()


def test_the_inverse_is_that_of_the_covariance_with_its_ridge() -> None:
    made, _ = stepped(together(1024, 4))
    covariance, inverse = (square(made, f"relation_{name}", 4) for name in ("covariance", "inverse"))
    np.testing.assert_allclose(inverse @ (covariance + RIDGE * np.eye(4)), np.eye(4), atol=2e-3)
    settled = together(1024, 4)[200:]
    np.testing.assert_allclose(np.corrcoef(settled.T), covariance / np.diag(covariance).mean(), atol=0.1)


def test_of_two_fields_that_say_the_same_each_is_expected_a_tenth_of_its_variance_closer_to_the_mean() -> None:
    """The ridge alone decides this. Without a ridge each field would be expected to equal the other."""
    same = np.random.default_rng(6).normal(size=1024)
    made, _ = stepped(np.column_stack([same, same]))
    inverse = square(made, "relation_inverse", 2)
    assert -inverse[0, 1] / inverse[0, 0] == pytest.approx(1.0 / 1.1, abs=0.01)


def test_the_inverse_is_made_anew_every_32_events() -> None:
    made, values, changed = stepped(together(65)[:50])[0], together(140), []
    before = square(made, "relation_inverse", 3)
    for at in range(50, 140):
        made.step(observations(["s"], [at], [values[at].tolist()], first_offset=at))
        after = square(made, "relation_inverse", 3)
        if not np.array_equal(before, after):
            changed.append(at + 1)
        before = after
    assert changed == [64, 96, 128]


def test_a_moving_average_that_is_far_off_teaches_as_sixteen_times_its_usual_square() -> None:
    for much in (3.0, 30.0):
        values = together(1300)
        values[1000:, 1] += much
        made = stepped(values[:1040])[0]
        (before,) = made.slab.gather(made.slab.rows(["s"]))["relation_square"]
        made.step(observations(["s"], [1040], [values[1040].tolist()], first_offset=1040))
        row = made.slab.gather(made.slab.rows(["s"]))
        (after,), (slow,), (count,) = row["relation_square"], row["relation_slow"], row["relation_count"]
        usual = max(before[1], 1.0 / Rules().window_events)
        assert slow[1] ** 2 > 20.0 * usual, "it is beyond the bound"
        assert (after[1] - before[1]) * count[1] == pytest.approx(16.0 * usual - before[1])


def test_where_each_pair_of_fields_was_there_at_other_times_numbers_stay_numbers() -> None:
    """Two of three fields are present at a time, and what each pair implies contradicts the other pairs."""
    driver = np.random.default_rng(4).normal(size=3000)
    values = np.full((3000, 3), np.nan)
    for at, (one, other, sign) in enumerate([(0, 1, 1.0), (1, 2, 1.0), (0, 2, -1.0)]):
        values[at::3, one], values[at::3, other] = driver[at::3], sign * driver[at::3]
    made, step = stepped(values, Rules())
    assert np.linalg.eigvalsh(square(made, "relation_covariance", 3) + RIDGE * np.eye(3)).min() < 0, "it is none"
    assert np.isfinite(square(made, "relation_inverse", 3)).all()
    found = step.scores.evidence_NJ[:, Signal.RELATION]
    assert np.isfinite(found[~np.isnan(found)]).all()
    assert np.isfinite(step.scores.p_value_N[100:]).all()


def test_many_fields_that_began_with_gaps_are_held_against_each_other_all_the_same() -> None:
    """Of 32 fields a third of the first values are missing, so no two pairs of fields are estimated from the same
    events."""
    values = together(1600, 32)
    gaps = np.random.default_rng(1).random((1600, 32)) < 0.3
    gaps[120:] = False
    whole, broken = values.copy(), apart(values, 3, 1500, 1530)
    broken[gaps] = whole[gaps] = np.nan
    made, step = stepped(broken, Rules())
    assert np.isfinite(square(made, "relation_inverse", 32)).all()
    found, before = step.scores.evidence_NJ[:, Signal.RELATION], evidence_of(whole)
    assert not np.isnan(found[1000:]).any()
    assert found[1500:1540].max() > np.nanmax(before[1000:]) + 0.5


def test_what_is_expected_is_the_regression_on_the_others() -> None:
    """The regression is on several fields that carry the same information; the ridge shrinks it a little."""
    values = together(1500)
    held = stepped(values)[0]
    row = held.slab.gather(held.slab.rows(["s"]))
    inverse = square(held, "relation_inverse", 3)
    z_D = (values[-1] - row["level_mean"][0]) / np.sqrt(row["level_variance"][0])
    told = z_D - inverse @ z_D / np.diag(inverse)
    others = np.delete(values[500:], 1, axis=1)
    design = np.column_stack([others, np.ones(len(others))])
    fitted = design[-1] @ np.linalg.lstsq(design, values[500:, 1], rcond=None)[0]
    assert told[1] * np.sqrt(row["level_variance"][0, 1]) + row["level_mean"][0, 1] == pytest.approx(fitted, abs=0.25)


@pytest.mark.parametrize("fields", [1, MOST_RELATED + 1])
def test_where_there_is_no_such_kind_a_stream_keeps_nothing_for_it(fields: int) -> None:
    made = detector(schema([f"f{number}" for number in range(fields)]))
    assert kinds(fields) == made.scorer.kinds == Signal.RELATION
    assert not relation.possible(fields)
    widths = {name: place.stop - place.start for name, place in made.slab.layout.places.items()}
    assert [name for name, width in widths.items() if name.startswith(("relation", "joint")) and width] == []
    assert made.slab.layout.places["cal_excess"].shape == (len(Signal) - 2,)


def test_a_field_that_counts_on_one_side_does_so_here() -> None:
    values, found = together(), {}
    values[1500:1540, 1] -= 1.5
    for direction in (Direction.ABOVE, Direction.BELOW):
        of = Schema((Numeric("f0"), Numeric("f1", direction=direction), Numeric("f2", direction=Direction.BELOW)))
        found[direction] = stepped(values, of=of)[1].scores.evidence_NJ[1500:1540, Signal.RELATION].max()
    assert found[Direction.BELOW] > found[Direction.ABOVE] + 0.3


@pytest.mark.parametrize(
    ("measured", "taken"), [(6, [0, 1, 2, 3, 4, 5, 3, 3, 3, 3, 3, 3]), (8, [0, 1, 2, 3, 4, 5, 3, 3, 3, 3, 6, 7])]
)
def test_a_model_of_before_kinds_were_named_takes_those_that_it_never_measured_for_levels(
    measured: int, taken: list[int]
) -> None:
    older = replace(assumed(measured), excess_J=np.arange(float(measured)))
    made = detector(schema(["x", "y"]), made=replace(model(), calibration=older))
    assert made.scorer.shared.excess_J.tolist() == taken
    assert made.scorer.shared.reached_JK.shape == (len(NAMES), older.reached_JK.shape[1])
    alone = detector(schema(["x"]), made=replace(model(), calibration=older))
    assert alone.scorer.shared.excess_J.tolist() == taken[: Signal.RELATION]


def test_a_calibration_is_told_apart_by_the_names_of_its_kinds() -> None:
    backwards = replace(assumed(len(NAMES), NAMES[::-1]), excess_J=np.arange(float(len(NAMES))))
    made = detector(schema(["x", "y"]), made=replace(model(), calibration=backwards))
    assert made.scorer.shared.excess_J.tolist() == list(range(len(NAMES)))[::-1]
    with pytest.raises(ValueError, match="5 unnamed kinds of evidence"):
        detector(made=replace(model(), calibration=assumed(5)))


def test_a_stream_is_told_by_itself_whatever_comes_with_it() -> None:
    """The memory for intermediate results is shared by the rows of a round."""
    one, other = apart(together(900), 0, 700, 730, 300), together(900, seed=5) * 3.0
    alone = stepped(one)[1].scores.p_value_N
    keys, times = ["s", "t"] * 900, [at // 2 for at in range(1800)]
    values = np.stack([one, other], axis=1).reshape(1800, 3)
    both = detector(schema(["f0", "f1", "f2"]), ONLY).step(observations(keys, times, values.tolist()))
    np.testing.assert_array_equal(both.scores.p_value_N[::2], alone)

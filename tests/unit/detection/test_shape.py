"""A piece that is unlike all before it is found, whatever its values; and the prototypes are the pieces that have come."""

from __future__ import annotations

import numpy as np
import pytest
from streams import detector, observations, schema

from anomaly_daemon.detection import pieces, shape
from anomaly_daemon.detection.averages import Window
from anomaly_daemon.detection.detector import Detector
from anomaly_daemon.detection.explain import SIGNAL_TEXTS
from anomaly_daemon.detection.moments import WINSOR_AFTER
from anomaly_daemon.detection.observation import Direction, Float64, Numeric, Schema
from anomaly_daemon.detection.pieces import LENGTH, UNIT, VALUES, ZERO, Piece
from anomaly_daemon.detection.rules import EpisodeRule, Evidence, Rules
from anomaly_daemon.detection.scores import Step
from anomaly_daemon.detection.shape import PROTOTYPES, TRUSTED_AFTER
from anomaly_daemon.detection.signals import Signal
from anomaly_daemon.detection.state import Column, Rows, StateLayout

ONLY = Rules(evidence=(Evidence.SHAPE,), alarms_per_day=5.0, episode=EpisodeRule(magnitude_floor=0.0))

PERIOD = 24


def stepped(x_N: Float64, of: Schema | None = None, rules: Rules = ONLY) -> tuple[Detector, Step]:
    made = detector(of or schema(["x"]), rules)
    return made, made.step(observations(["s"] * len(x_N), list(range(len(x_N))), x_N[:, None].tolist()))


def evidence_of(x_N: Float64, of: Schema | None = None) -> Float64:
    return stepped(x_N, of)[1].scores.evidence_NJ[:, Signal.SHAPE]


def row_of(made: Detector) -> Rows:
    return made.slab.gather(made.slab.rows(["s"]))


def beats(events: int = 2400, seed: int = 0) -> Float64:
    """Return a narrow peak and then a broad one, repeated; no two are exactly alike."""
    random = np.random.default_rng(seed)
    phase = np.arange(events) % PERIOD
    peaks = 4.0 * np.exp(-((phase - 6) ** 2) / 2.0) + 1.5 * np.exp(-((phase - 15) ** 2) / 12.0)
    return 50.0 + peaks + 0.1 * random.normal(size=events)


def backwards(first: int = 75 * PERIOD) -> Float64:
    """Return beats of which one runs backwards: the same values in reverse order."""
    x_N = beats()
    x_N[first : first + PERIOD] = x_N[first : first + PERIOD][::-1]
    return x_N


def test_a_beat_that_runs_backwards_is_found_and_told_of() -> None:
    step = stepped(backwards())[1]
    (opened, *_) = [one for one in step.alerts if one.event == "open"]
    assert 0 <= opened.provenance.first_offset - 75 * PERIOD < PERIOD
    assert SIGNAL_TEXTS[Signal.SHAPE] in opened.reason
    assert "in the nearest known shape" in opened.reason
    assert opened.features[0].lower < opened.features[0].expected < opened.features[0].upper
    u_N = step.scores.evidence_NJ[:, Signal.SHAPE]
    odd = np.s_[75 * PERIOD : 77 * PERIOD]
    assert u_N[odd].max() > 1.5 * np.nanmax(np.delete(u_N, np.s_[70 * PERIOD : 80 * PERIOD]))


def test_what_came_again_and_again_is_a_shape_that_is_known() -> None:
    """From the hundredth on, every tenth beat is another one. It fits better the more of them have come."""
    x_N = beats(9600)
    for beat in range(100, 400, 10):
        x_N[beat * PERIOD : (beat + 1) * PERIOD] = 50.0 + 3.0 * np.sin(np.arange(PERIOD) * np.pi / PERIOD)
    u_N = evidence_of(x_N)
    first, last = np.nanmax(u_N[100 * PERIOD : 102 * PERIOD]), np.nanmax(u_N[390 * PERIOD : 392 * PERIOD])
    assert last < 0.7 * first


def test_how_high_a_shape_stands_is_no_part_of_it() -> None:
    x_N = beats()
    higher = x_N.copy()
    higher[1300:] += 0.2
    still, moved = evidence_of(x_N), evidence_of(higher)
    # The step itself is a shape, and the deviation by which everything is measured grows a little.
    assert np.abs(moved[1350:] - still[1350:]).max() < 0.25


def row_of_pieces(pieces: list[list[float]], window: float = 1.0) -> tuple[Rows, list[shape.Met]]:
    """Return a row of one field that has met these pieces, and the results. Each piece is met by itself, as if all the
    last values were its own; no network takes part."""
    recent = Column("recent", (VALUES,))
    carried, statistics = shape.columns(1)
    layout = StateLayout([recent, *carried], statistics)
    rows = layout.blank(1)
    met, near_K = [], np.empty(PROTOTYPES, np.float32)
    for piece in pieces:
        rows.carried_BP[0, :VALUES] = np.repeat(piece, 2)[::-1]
        at, length = layout.of(shape.at), Window.of(window)
        met.append(shape.meet(rows.carried_BP[0], rows.statistics_BQ[0], at, 0, 0, length, near_K))
    return rows, met


def prototypes_of(rows: Rows) -> Float64:
    """Return the prototypes [PROTOTYPES, LENGTH], in standard deviations."""
    words = rows.carried("shape_prototypes")[0, 0].astype(np.int64)
    numbers = (words.T[:, :, None] >> np.array([0, 8, 16])) & 255
    return (numbers.reshape(PROTOTYPES, LENGTH) - ZERO) / UNIT


def test_a_prototype_is_the_mean_of_the_pieces_that_it_is_the_nearest_to() -> None:
    random = np.random.default_rng(1)
    first, other = np.array([1.0, 0, -1, 0, 1, 0]), np.array([-1.0, 2, 0, 2, -1, 0])
    pieces = [(first if n % 2 else other) + 0.05 * random.normal(size=LENGTH) for n in range(VALUES + 199)]
    rows, _ = row_of_pieces([piece.tolist() for piece in pieces])
    uses = rows.carried("shape_uses")[0, 0]
    assert (uses > 50).sum() == 2
    held = prototypes_of(rows)[uses > 50]
    expected = [one - one.mean() for one in (other, first)]
    np.testing.assert_allclose(sorted(held.tolist()), sorted(map(list, expected)), atol=1.5 / UNIT)
    own = rows.carried("shape_own")[0, 0][uses > 50]
    np.testing.assert_allclose(own, 0.05**2 + 0.3 / UNIT**2, rtol=0.5)  # of the pieces and of the rounding


def test_a_distance_is_measured_by_what_is_usual_of_its_prototype() -> None:
    """Of two shapes, one varies ten times as much. A difference that is ordinary for it is large for the other."""
    random = np.random.default_rng(2)
    steady, varied = np.array([1.0, 0, -1, 0, 1, 0]), np.array([-9.0, 9, 0, 9, -9, 0])
    pieces = [
        (steady + 0.05 * random.normal(size=LENGTH) if n % 2 else varied + 0.5 * random.normal(size=LENGTH)).tolist()
        for n in range(TRUSTED_AFTER + 200)
    ]
    off = np.array([0.5, -0.5, 0, 0, 0.5, -0.5])
    _, met = row_of_pieces([*pieces, (varied + off).tolist(), (steady + off).tolist()])
    assert met[-1].slow > 5 * met[-2].slow


@pytest.mark.parametrize("period", [1, 7, 24, 144, 288, 377])
def test_a_prototype_that_moves_by_less_than_its_unit_does_so_on_average(period: int) -> None:
    """This holds however regularly it is met. The 160 visits stand for 160 days of a shape that comes once a day."""
    ends, there = [], Piece(*[136.0] * LENGTH)
    for start in range(5000, 2_005_000, 100_000):
        words = np.zeros(2, np.float32)
        pieces.move(words, 0, 1, Piece(*[ZERO] * LENGTH), 1.0, 0)
        for visit in range(160):
            pieces.move(words, 0, 1, there, 1 / 157, start + visit * period)
        ends += list(pieces.unpacked(words, 0, 1))
    expected = 136.0 - 8.0 * (1 - 1 / 157) ** 160
    assert np.mean(ends) == pytest.approx(expected, abs=0.4)
    assert np.std(ends) < 2.0


def test_what_lies_past_the_range_is_taken_for_its_end() -> None:
    rows, met = row_of_pieces([[-5.0, 5.0, -5.0, 5.0, 5.0, 5.0]] * 300 + [[5.0, -5.0, -5.0, -5.0, -5.0, -5.0]])
    assert np.abs(prototypes_of(rows)).max() <= ZERO / UNIT
    assert np.isfinite(met[-1]).all()


def test_a_seldom_used_prototype_gives_way_and_one_that_is_used_does_not() -> None:
    random = np.random.default_rng(3)
    many = 2.0 * random.normal(size=(PROTOTYPES, LENGTH))
    usual = [one.tolist() for one in many]
    rows, _ = row_of_pieces([[0.0] * LENGTH] * (VALUES - 1) + usual * 30)
    before = prototypes_of(rows)
    strange = (4.0 * random.normal(size=LENGTH)).tolist()
    rows, _ = row_of_pieces([[0.0] * LENGTH] * (VALUES - 1) + usual * 30 + [strange])
    assert (np.abs(prototypes_of(rows) - before).max(axis=1) > 1e-3).sum() == 1
    assert (rows.carried("shape_uses")[0, 0] > 10).sum() >= PROTOTYPES // 2


def test_it_is_silent_until_shapes_are_known() -> None:
    u_N, first = evidence_of(beats(600)), WINSOR_AFTER + TRUSTED_AFTER - 1
    assert np.isnan(u_N[:first]).all()
    assert np.isfinite(u_N[first:]).all()


def test_missing_values_leave_no_gap() -> None:
    x_N = beats(900)
    holed_N = np.insert(x_N, 500, [np.nan] * 7)
    row, holed = row_of(stepped(x_N)[0]), row_of(stepped(holed_N)[0])
    np.testing.assert_array_equal(row.carried("shape_prototypes"), holed.carried("shape_prototypes"))


@pytest.mark.parametrize("direction", [Direction.ABOVE, Direction.BELOW])
def test_a_field_that_counts_on_one_side_has_no_shape(direction: Direction) -> None:
    assert np.isnan(evidence_of(backwards(), Schema((Numeric("x", direction=direction),)))).all()


def test_a_constant_is_no_news() -> None:
    u_N = evidence_of(np.full(800, 7.0))
    assert not (u_N[300:] > 0.01).any()


def test_a_switch_has_no_shape() -> None:
    x_N = (np.arange(2000) // 300 % 2).astype(float)
    assert np.isnan(evidence_of(x_N)[400:]).all()


def test_one_absurd_value_does_not_unmake_it() -> None:
    x_N = backwards()
    x_N[900] = 1e9
    u_N = evidence_of(x_N)
    odd = np.s_[75 * PERIOD : 77 * PERIOD]
    assert u_N[odd].max() > 1.3 * np.nanmax(np.delete(u_N, np.s_[70 * PERIOD : 80 * PERIOD])[1200:])


def test_of_known_streams_it_is_counted_before_it_has_a_say() -> None:
    """By the distribution of all streams, a shape may be rare that this stream takes every day."""
    scores = stepped(beats(2400), rules=Rules())[1].scores
    assert np.isfinite(scores.evidence_NJ[600:, Signal.SHAPE]).all()


def test_an_ordinary_value_in_the_wrong_place_is_held_against_the_shape() -> None:
    step = stepped(backwards())[1]
    (opened, *_) = [one for one in step.alerts if one.event == "open"]
    feature = opened.features[0]
    assert feature.name == "x"
    assert abs(feature.actual - feature.expected) > 0.3


@pytest.mark.parametrize("f", range(LENGTH))
def test_the_largest_difference_is_told_with_its_sign_and_with_what_is_held_there(f: int) -> None:
    held = [130.0, 120.0, 128.0, 140.0, 112.0, 136.0]
    piece = [number + 8.0 for number in held]
    piece[f] = held[f] - 32.0
    assert pieces.largest(Piece(*piece), Piece(*held)) == (-2.0, (held[f] - ZERO) / UNIT)


@pytest.mark.parametrize(("least", "found"), [(0.5, True), (20.0, False)])
def test_a_floor_holds_against_what_of_the_piece_is_furthest_off(least: float, found: bool) -> None:
    of = Schema((Numeric("x", min_deviation=least),))
    opened = [one.provenance.first_offset for one in stepped(backwards(), of)[1].alerts if one.event == "open"]
    assert any(0 <= at - 75 * PERIOD < 2 * PERIOD for at in opened) == found

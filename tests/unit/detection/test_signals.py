"""Each kind of evidence responds to its own kind of anomaly."""

from __future__ import annotations

import numpy as np
import pytest

from anomaly_daemon.detection import season, signals
from anomaly_daemon.detection.errors import Sides
from anomaly_daemon.detection.observation import Direction, Float64, Numeric
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.detection.signals import Signal, kinds
from anomaly_daemon.detection.state import Rows, StateLayout
from anomaly_daemon.detection.weighed import Seen, Weighed
from anomaly_daemon.detection.weights import Weights

RULES = Rules(window_events=8)
QUARTER = 900_000_000
"""Quarter of an hour, the time between two values, in microseconds."""


def layout(numeric: int, features: int | None = None) -> StateLayout:
    return StateLayout(*signals.columns(numeric, features or numeric))


def sides(numeric: int, direction: Direction = Direction.BOTH) -> Sides:
    return Sides.of([Numeric(f"x{at}", direction=direction) for at in range(numeric)])


def weigh(rows: Rows, seen: Seen, counted: Sides, rules: Rules = RULES) -> Weighed:
    weighed = Weighed.blank(len(rows), kinds(seen.x_BD.shape[1]), seen.x_BD.shape[1], seen.raw_B2F.shape[2])
    weights, visit_B = Weights.of(rules), season.visits(seen.time_B, "UTC")
    place = rows.layout.of(signals.at)
    signals.weigh(rows.carried_BP, rows.statistics_BQ, place, seen, visit_B, weights, counted, weighed)
    return weighed


def over(
    rows: Rows,
    x_TD: Float64,
    raw_T2F: Float64 | None = None,
    direction: Direction = Direction.BOTH,
    rules: Rules = RULES,
) -> list[Weighed]:
    """Return the evidence of one stream, event by event. The gaps are those of events that come at random."""
    if raw_T2F is None:
        raw_T2F = np.random.default_rng(9).normal(size=(len(x_TD), 2, x_TD.shape[1]))
    first, counted = 1_704_067_200_000_000, sides(x_TD.shape[1], direction)
    seen = (np.array([first + at * QUARTER]) for at in range(len(x_TD)))
    gaps = by_chance(len(x_TD))
    return [
        weigh(rows, Seen(next(seen), x_D[None], raw_2F[None], np.ones(1), gap_B), counted, rules)
        for x_D, raw_2F, gap_B in zip(x_TD, raw_T2F, gaps, strict=True)
    ]


def by_chance(events: int) -> Float64:
    """Return the gaps of events that come at random, in microseconds [T, 1]."""
    return np.random.default_rng(6).exponential(QUARTER, (events, 1))


def evidence(weighed: list[Weighed]) -> Float64:
    """Return the evidence [T, J]."""
    return np.concatenate([one.evidence_BJ for one in weighed])


def noise(events: int = 1000, features: int = 1, seed: int = 0) -> Float64:
    return np.random.default_rng(seed).normal(10.0, 1.0, (events, features))


def loudest(x_TD: Float64, raw_T2F: Float64 | None = None) -> Signal:
    """Return the signal that rises furthest above its own past in the last events."""
    u_TJ = evidence(over(layout(x_TD.shape[1]).blank(1), x_TD, raw_T2F))
    past, last = u_TJ[300:-16], u_TJ[-16:]
    return Signal(int(np.argmax(last.max(axis=0) - np.quantile(past, 0.98, axis=0))))


def test_a_lone_error_is_a_point_and_many_small_ones_are_a_window() -> None:
    x_TD, raw_T2F = noise(), np.random.default_rng(1).normal(size=(1000, 2, 1))
    once, often = raw_T2F.copy(), raw_T2F.copy()
    once[-3] = 30.0
    often[-12:, 0] = 4.0 * np.sign(often[-12:, 0])
    assert loudest(x_TD, once) is Signal.POINT
    assert loudest(x_TD, often) is Signal.WINDOW


def test_a_flutter_is_a_change() -> None:
    x_TD = np.cumsum(noise() - 10, axis=0)  # steps of one
    x_TD[-12:] += 4.0 * (-1.0) ** np.arange(12)[:, None]
    assert loudest(x_TD) is Signal.CHANGE


def test_a_lasting_shift_is_a_level_and_a_faint_one_that_lasts_long_is_a_drift() -> None:
    shifted, faint = noise(), noise()
    shifted[-12:] += 3.0
    faint[-200:] += 0.6
    assert loudest(shifted) is Signal.LEVEL
    u_TJ = evidence(over(layout(1).blank(1), faint))
    share = (u_TJ[-100:] > np.quantile(u_TJ[300:-200], 0.98, axis=0)).mean(axis=0)
    assert np.argmax(share) == Signal.DRIFT


def test_with_a_window_of_one_a_level_is_the_events_own_and_nothing_of_the_one_before_it() -> None:
    """Card payments are judged in this way: the event after a spike is as ordinary as it would be without the spike."""
    x_TD, rules = noise(), Rules(window_events=1)
    spiked = x_TD.copy()
    spiked[-2] += 8.0
    u_TJ, spiked_TJ = (evidence(over(layout(1).blank(1), one, rules=rules)) for one in (x_TD, spiked))
    past = u_TJ[300:-2, Signal.LEVEL]
    assert spiked_TJ[-2, Signal.LEVEL] > past.max()
    assert spiked_TJ[-1, Signal.LEVEL] == pytest.approx(u_TJ[-1, Signal.LEVEL], abs=0.02)
    wide_TJ = evidence(over(layout(1).blank(1), spiked))
    assert wide_TJ[-1, Signal.LEVEL] > 2 * np.median(evidence(over(layout(1).blank(1), x_TD))[300:, Signal.LEVEL])


@pytest.mark.parametrize(("direction", "rises"), [(Direction.ABOVE, True), (Direction.BELOW, False)])
@pytest.mark.parametrize("shift", [3.0, -3.0])
def test_a_shift_to_the_side_that_does_not_count_is_no_evidence(
    direction: Direction, rises: bool, shift: float
) -> None:
    x_TD = noise()
    x_TD[-12:] += shift
    x_TD[-12::2] += 0.1 * shift  # it also flutters
    quiet_T2F = np.zeros((1000, 2, 1))
    u_TJ = evidence(over(layout(1).blank(1), x_TD, quiet_T2F, direction))
    risen = u_TJ[-1, Signal.LEVEL] > np.quantile(u_TJ[300:-16, Signal.LEVEL], 0.999)
    assert risen == ((shift > 0) == rises)
    assert not u_TJ[:, Signal.CHANGE].any()


def test_the_wrong_time_of_day_is_a_season() -> None:
    day = np.arange(96 * 12) % 96
    x_TD = (np.where((day >= 32) & (day < 72), 20.0, 0.0) + np.random.default_rng(0).normal(size=len(day)))[:, None]
    x_TD = x_TD[: -(96 - 12)]
    x_TD[-8:] += 20.0  # daytime values in the small hours
    assert loudest(x_TD) is Signal.SEASON


def test_no_time_of_day_seen_twice_is_no_evidence() -> None:
    u_TJ = evidence(over(layout(1).blank(1), noise(200)))
    assert np.isnan(u_TJ[:96, Signal.SEASON]).all()
    assert not np.isnan(u_TJ[100:, Signal.SEASON]).any()
    assert not np.isnan(u_TJ[:, [Signal.POINT, Signal.LEVEL]]).any()


def test_a_stream_is_measured_by_itself_whatever_its_unit() -> None:
    x_TD = noise()
    ours, theirs = (evidence(over(layout(1).blank(1), x)) for x in (x_TD, 1000.0 * x_TD))
    assert np.allclose(ours, theirs, atol=1e-4, equal_nan=True)


def test_one_large_error_counts_for_more_than_many_small_ones() -> None:
    x_TD, raw_T2F = noise(400, 4), np.random.default_rng(1).normal(size=(400, 2, 4))
    spread, alone = raw_T2F.copy(), raw_T2F.copy()
    spread[-1], alone[-1] = 0.0, 0.0
    spread[-1, 0] = 5.0
    alone[-1, 0, 0] = 10.0  # about the same sum of squares, in one feature
    found = [over(layout(4).blank(1), x_TD, raw)[-1] for raw in (spread, alone)]
    assert found[1].evidence_BJ[0, Signal.POINT] > found[0].evidence_BJ[0, Signal.POINT] + 0.5
    parts_2F = found[1].parts_BJ2F[0, Signal.POINT]
    assert parts_2F[0, 0] > 0.99 * parts_2F.sum()


def test_a_field_that_moves_now_and_then_does_not_drown_the_others() -> None:
    raw_T2F = np.random.default_rng(1).normal(size=(1500, 2, 4))
    raw_T2F[:, :, 0] = 0.0
    raw_T2F[::40, :, 0] = 1e8  # a counter at rest, whose predicted scale is close to 0
    raw_T2F[-1, :, 1] = 9.0
    point_T = evidence(over(layout(4).blank(1), noise(1500, 4), raw_T2F))[:, Signal.POINT]
    assert point_T[-1] > np.nanmax(point_T[1000:-1])


@pytest.mark.parametrize("signal", [Signal.WINDOW, Signal.CHANGE, Signal.LEVEL, Signal.DRIFT])
def test_in_a_moving_average_a_value_counts_for_ten_deviations_at_most(signal: Signal) -> None:
    last = []
    for size in (6.0, 100.0, 1e6):
        x_TD, raw_T2F = noise(400), np.random.default_rng(1).normal(size=(400, 2, 1))
        x_TD[-1] += size
        raw_T2F[-1] = size
        last.append(evidence(over(layout(1).blank(1), x_TD, raw_T2F))[-1, signal])
    assert last[0] < last[1]
    assert last[1] == last[2]


def test_a_missing_value_is_no_step_and_moves_nothing() -> None:
    x_TD = noise(300)
    rows = layout(1).blank(1)
    over(rows, x_TD)
    before = {name: rows[name].copy() for name in ("slow_step", "slow_level", "slow_drift", "last_x", "level_mean")}
    over(rows, np.full((5, 1), np.nan), np.zeros((5, 2, 1)))
    for name, kept in before.items():
        assert np.array_equal(rows[name], kept), name


def test_what_no_head_knows_is_unknown_evidence() -> None:
    found = over(layout(1).blank(1), np.full((3, 1), np.nan), np.full((3, 2, 1), np.nan))
    assert np.isnan(evidence(found)).all()


def test_a_category_has_neither_step_nor_level() -> None:
    rows = layout(1, features=2).blank(1)
    raw_T2F = np.random.default_rng(1).normal(size=(200, 2, 2))
    raw_T2F[:, 1, 1] = np.nan
    weighed = over(rows, noise(200), raw_T2F)[-1]
    assert (weighed.parts_BJ2F[0, Signal.CHANGE :, :, 1] == 0.0).all()
    assert weighed.parts_BJ2F[0, Signal.POINT, 0, 1] > 0


@pytest.mark.parametrize("signal", [one for one in Signal if one is not Signal.BURST])
def test_the_parts_of_a_signal_of_fields_add_up_to_it(signal: Signal) -> None:
    together = noise(1100, 3) + 3.0 * noise(1100, 1, seed=4)
    weighed = over(layout(3).blank(1), together)[-1]
    total = weighed.parts_BJ2F[0, signal].sum()
    assert weighed.evidence_BJ[0, signal] == pytest.approx(np.log1p(np.sqrt(total)))


def test_evidence_of_a_stream_has_the_same_bits_beside_others() -> None:
    x_TD, other = noise(120, 3), noise(120, 3, seed=5)
    raw_T2F = np.random.default_rng(1).normal(size=(120, 2, 3))
    alone, both, place = layout(3).blank(1), layout(3).blank(7), 4
    gaps = by_chance(120)
    for at in range(120):
        one = Seen(np.array([at * QUARTER]), x_TD[at][None], raw_T2F[at][None], np.ones(1), gaps[at])
        many = one._replace(
            time_B=np.repeat(one.time_B, 7),
            x_BD=np.stack([x_TD[at] if row == place else other[at] for row in range(7)]),
            raw_B2F=np.repeat(one.raw_B2F, 7, axis=0),
            pace_B=np.ones(7),
            gap_B=np.where(np.arange(7) == place, one.gap_B, 1.0),
        )
        by_itself = weigh(alone, one, sides(3)).evidence_BJ[0]
        among = weigh(both, many, sides(3)).evidence_BJ[place]
        assert by_itself.tobytes() == among.tobytes()
    assert alone.statistics_BQ[0].tobytes() == both.statistics_BQ[place].tobytes()

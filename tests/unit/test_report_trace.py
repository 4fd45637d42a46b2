"""What is kept of a stream for drawing is bounded, evenly fine, and includes every peak."""

from __future__ import annotations

import numpy as np
from report_samples import START, alert, observations, step

from anomaly_daemon.report.trace import Growing, Trace, Tracer, points


def run_of(count: int, first: int = 0, peak: int | None = None) -> Trace:
    """Return `count` points of one stream, a minute apart. The point `peak` is the surprising one."""
    p_values = [1e-9 if first + row == peak else 0.5 for row in range(count)]
    return points(observations(["a"] * count, range(first, first + count), first), step(p_values))


def test_a_batch_is_parted_by_stream() -> None:
    tracer = Tracer()
    tracer(observations(["a", "b", "a"], [0, 1, 2]), step([0.5, 0.1, 0.01]))
    traces = tracer.traces()
    assert traces["a"].time_P.tolist() == [START, START + 120_000_000]
    assert np.allclose(traces["a"].surprise_P, [0.30103, 2])
    assert traces["b"].actual_PF.tolist() == [[1.0, 5.0]]
    assert traces["b"].expected_PF.shape == (1, 2), "categorical features have no band to draw"


def test_what_was_not_scored_is_not_a_number_in_the_trace() -> None:
    trace = points(observations(["a", "a"], [0, 1]), step([None, 0.1]))
    assert np.isnan(trace.surprise_P[0])
    assert np.isnan(trace.expected_PF[0]).all()


def test_thinning_keeps_the_more_surprising_of_two_neighbours() -> None:
    thin = run_of(9, peak=5).thinned()
    assert len(thin) == 5
    assert 9.0 in np.round(thin.surprise_P, 6)


def test_a_long_run_stays_bounded_keeps_its_peak_and_is_drawn_equally_finely() -> None:
    growing = Growing(points=50)
    for first in range(0, 5000, 25):
        growing.add(run_of(25, first, peak=137))
    trace = growing.trace()
    assert 50 <= len(trace) <= 150
    assert trace.surprise_P.max() > 8
    minutes = (trace.time_P - START) / 60_000_000
    early, late = (minutes < 2500).sum(), (minutes >= 2500).sum()
    assert 0.7 < early / late < 1.4


def test_a_traced_stream_without_an_alarm_gives_way_to_one_that_raises_one() -> None:
    tracer = Tracer(limit=2, wanted=["labelled"])
    tracer(observations(["a", "b"], [0, 1]), step([0.5, 0.5]))
    tracer(observations(["late", "labelled"], [2, 3]), step([0.5, 0.5]))
    assert set(tracer.traces()) == {"a", "b", "labelled"}
    tracer(observations(["late"], [4]), step([1e-9], [alert(stream="late")]))
    assert set(tracer.traces()) == {"b", "labelled", "late"}


def test_a_stream_with_an_alarm_is_never_given_up() -> None:
    tracer = Tracer(limit=1)
    tracer(observations(["a"], [0]), step([1e-9], [alert(stream="a")]))
    tracer(observations(["b"], [1]), step([1e-9], [alert(stream="b")]))
    assert set(tracer.traces()) == {"a"}


def test_a_stream_without_a_place_costs_the_same_whatever_the_number_of_traced_ones() -> None:
    class Counted(str):
        looked_up = 0

        def __hash__(self) -> int:
            Counted.looked_up += 1
            return super().__hash__()

    def lookups(traced: int) -> int:
        tracer, names = Tracer(limit=traced), [Counted(f"s{number}") for number in range(traced + 1)]
        alerts = [alert(stream=name) for name in names]
        for name in names[:traced]:
            tracer(observations([name], [0]), step([1e-9], alerts))
        Counted.looked_up = 0
        tracer(observations([names[-1]], [1]), step([0.5]))
        return Counted.looked_up

    assert lookups(100) == lookups(10)

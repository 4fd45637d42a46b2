"""The detectors that are compared: the daemon as it runs, and peers that do not see the future."""

from __future__ import annotations

import numpy as np
import pytest
from labelled import START, wave

from anomaly_daemon.bootstrap import build_worker
from anomaly_daemon.detection.observation import Observations
from anomaly_daemon.detection.scores import Step
from anomaly_daemon.report.episodes import micros
from anomaly_daemon.report.listening import Listening
from anomaly_daemon.transport.memory import MemoryBroker, MemoryDelivery, MemorySource, Stored
from anomaly_daemon.transport.packed import encode
from benchmarks.quality import ours
from benchmarks.quality.detectors import DETECTORS, NotForThese, Peer
from benchmarks.quality.series import Series

PEERS = [name for name, detector in DETECTORS.items() if isinstance(detector, Peer)]
DAY = 86_400_000_000


def three_streams() -> list[Series]:
    """Return three streams of different lengths, in different months."""
    return [
        wave("a", 900, fields=2, seed=1),
        wave("b", 700, fields=2, seed=2, first=START + 40 * DAY),
        wave("c", 800, fields=2, seed=3, first=START - 90 * DAY),
    ]


def by_a_worker(series: list[Series]) -> tuple[np.ndarray, list[tuple[str, str, str]]]:
    """Return the p-values and alerts (stream, event, time) of a whole worker that reads packed records over the memory
    transport."""
    batch = ours.side_by_side(series)
    settings = ours.settings_of(batch.values_ND.shape[1], 1.0)
    settings = settings.model_copy(
        update={"stream": settings.stream.model_copy(update={"format": "packed", "time": None})}
    )
    broker, heard, seen = MemoryBroker(), [], []
    (partition,) = broker.create(ours.TOPIC, 1)
    records = zip(batch.stream_N.tolist(), batch.time_N.tolist(), batch.values_ND, strict=True)
    broker.produce(
        partition,
        [Stored(time, batch.keys[stream].encode(), encode([time], value_D[None])) for stream, time, value_D in records],
    )

    def observe(observations: Observations, step: Step) -> None:
        seen.append(step.scores.p_value_N)

    source = MemorySource(broker, ours.TOPIC, max_records=777)
    delivery = Listening(heard.append, MemoryDelivery(broker, source))
    build_worker(settings, source=source, delivery=delivery, observers=[observe]).run()
    return np.concatenate(seen), [(one.stream.key, one.event, one.times.event) for one in heard]


def test_the_detector_stepped_directly_scores_and_alerts_as_the_daemon_does() -> None:
    series = three_streams()
    p_value_N, alerts = by_a_worker(series)
    found = ours.detect(series, 1.0)
    stream_N = ours.side_by_side(series).stream_N
    assert len(alerts) > 2
    for number, (one, out) in enumerate(zip(series, found, strict=True)):
        p_value_n = p_value_N[stream_N == number]
        assert np.array_equal(-np.log10(p_value_n), out.score_N, equal_nan=True)
        opens = {time for key, event, time in alerts if (key, event) == (one.name, "open")}
        moved_N = ours.moved(one)
        assert set(moved_N[out.opened_N].tolist()) == {time for time in map(micros, opens) if time <= moved_N[-1]}


def test_a_series_scores_the_same_alone_as_beside_others() -> None:
    series = three_streams()
    for one, beside in zip(series, ours.detect(series, 1.0), strict=True):
        (alone,) = ours.detect([one], 1.0)
        assert np.array_equal(alone.score_N, beside.score_N, equal_nan=True)
        assert np.array_equal(alone.open_N, beside.open_N)


def test_the_daemons_score_of_an_event_does_not_depend_on_later_ones() -> None:
    (whole,) = ours.detect([wave(events=700)], 1.0)
    (part,) = ours.detect([wave(events=700).until(600)], 1.0)
    assert np.array_equal(part.score_N, whole.score_N[:600], equal_nan=True)
    assert np.array_equal(part.opened_N, whole.opened_N[:600])


@pytest.mark.filterwarnings("ignore")  # warnings of the peers
@pytest.mark.parametrize("name", PEERS)
def test_a_peers_score_of_an_event_does_not_depend_on_later_ones(name: str) -> None:
    peer = DETECTORS[name]
    series = wave(events=420, fields=1)
    try:
        (whole,), (part,) = peer.detect([series], 1.0), peer.detect([series.until(380)], 1.0)
    except NotForThese as reason:
        pytest.skip(f"{name}: {reason}")
    if name != "random":
        assert np.allclose(part.score_N, whole.score_N[:380], equal_nan=True)
    assert np.array_equal(part.opened_N, whole.opened_N[:380])
    assert np.isfinite(whole.score_N[200:]).all()


def test_a_peer_for_one_field_says_so() -> None:
    with pytest.raises(NotForThese, match="one field"):
        Peer("ewma", one_field=True).detect([wave(fields=2)], 1.0)


def test_a_peer_that_is_not_installed_says_so() -> None:
    with pytest.raises(NotForThese, match="not installed"):
        Peer("of_a_package_that_is_not_there").detect([wave()], 1.0)


def test_what_is_not_known_ranks_below_everything_that_is() -> None:
    (found,) = ours.detect([wave(events=300)], 1.0)
    unknown_N = np.isnan(found.score_N)
    assert unknown_N.any()
    assert found.known_N[unknown_N].max() < found.known_N[~unknown_N].min()


def test_a_field_that_begins_late_is_read_by_the_windowed_gaussian() -> None:
    from benchmarks.quality.detectors.windowed_gaussian import score

    one = wave("late", 300)
    one.values_ND[:20] = np.nan
    one.values_ND[200] += 50
    assert np.nanargmax(score(one)[30:]) == 170


def test_a_detector_of_one_field_is_not_run_on_a_set_with_one_series_of_several() -> None:
    with pytest.raises(NotForThese, match="one field only"):
        Peer("chance", one_field=True).detect([wave("a"), wave("b", fields=2)], 1.0)

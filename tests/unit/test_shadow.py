"""The challenger beside the champion: it is scored and compared, and none of its episodes is published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
import running_sum
import structlog
from crashing import TOPIC, ZERO, alerts, fill, life, turned
from report_samples import alert
from structlog.testing import capture_logs

from anomaly_daemon.daemon.comparison import CHALLENGER, CHAMPION, Comparison
from anomaly_daemon.daemon.metrics import Metrics
from anomaly_daemon.daemon.partition import Owned
from anomaly_daemon.daemon.shadow import Shadow
from anomaly_daemon.daemon.succession import Deciding
from anomaly_daemon.detection.alert import Event, Kind
from anomaly_daemon.transport.memory import MemoryBroker
from anomaly_daemon.transport.ports import Partition


def ready(limit: float) -> Deciding:
    make = running_sum.make_of(limit)
    return Deciding(running_sum.RunningSums(make.model, limit), make)


@dataclass
class Named:
    """A watch that has this model ready, and lets a shadow stand beside the partitions that the loop holds."""

    ready: Deciding | None = None
    shadow: Shadow | None = None

    def start(self) -> None: ...
    def close(self) -> None: ...
    def beside(self, live: Sequence[Owned], deciding: Deciding) -> None:
        if self.shadow is not None:
            self.shadow.stand_beside(live, deciding)


def beside(
    limit: float, challenger: Deciding | None, records: list[tuple[str, int]]
) -> tuple[MemoryBroker, Metrics, Shadow]:
    """Run the model with this limit, with a challenger beside it."""
    broker, metrics, ticks = MemoryBroker(), Metrics(), iter(range(10_000))
    fill(broker, records, 1)
    shadow = Shadow(Named(challenger), lambda: float(next(ticks)), metrics, structlog.get_logger())
    watch = Named(None, shadow)
    one = life(broker, make=running_sum.make_of(limit), limit=limit, observers=[shadow], watch=watch, max_records=1)
    one.worker.run()
    return broker, metrics, shadow


def counted(metrics: Metrics) -> dict[tuple[str, str], float]:
    names = [(model, alone) for model in (CHAMPION, CHALLENGER) for alone in ("yes", "no")]
    found = {name: metrics.value("shadow_episodes_total", model=name[0], alone=name[1]) for name in names}
    return {name: count for name, count in found.items() if count}


QUIET = [("a", 1), ("a", 2), ("a", 3)]
BOTH, ONE = [("a", 200), ("a", 1)], [("a", 90), ("a", 1)]


def test_an_episode_that_only_the_challenger_sees_is_counted_and_not_told() -> None:
    broker, metrics, _ = beside(100.0, ready(60.0), QUIET + ONE)
    assert alerts(broker) == []
    assert counted(metrics) == {(CHALLENGER, "yes"): 1}
    assert metrics.value("shadow_seconds_total") > 0


def test_an_episode_that_both_see_is_shared_and_told_once() -> None:
    broker, metrics, _ = beside(100.0, ready(60.0), QUIET + BOTH + ONE)
    assert len(alerts(broker)) == 2
    assert counted(metrics) == {(CHAMPION, "no"): 1, (CHALLENGER, "no"): 1, (CHALLENGER, "yes"): 1}


def test_a_challenger_that_has_seen_nothing_yet_passes_over_records_that_cannot_be_read() -> None:
    broker, metrics, ticks = MemoryBroker(), Metrics(), iter(range(10_000))
    broker.create(TOPIC)
    shadow = Shadow(Named(ready(60.0)), lambda: float(next(ticks)), metrics, structlog.get_logger())
    watch = Named(None, shadow)
    one = life(
        broker,
        make=running_sum.make_of(100.0),
        limit=100.0,
        observers=[shadow],
        watch=watch,
        max_records=1,
        finite=False,
    )
    turned(one)  # the challenger is set beside the champion before the first record comes
    fill(broker, [("a", -1), *QUIET, ("a", -1), *ONE], 1)
    for _ in range(8):
        one.worker.turn()
    assert counted(metrics) == {(CHALLENGER, "yes"): 1}


def test_its_state_begins_as_a_copy_and_the_champions_is_not_touched() -> None:
    records = QUIET + BOTH + ONE
    broker, _, shadow = beside(100.0, ready(60.0), records)
    (challenger,) = (kept.detector for kept in shadow._beside.values())
    alone = MemoryBroker()
    fill(alone, records, 1)
    champion = life(alone, make=running_sum.make_of(100.0), limit=100.0)
    champion.worker.run()
    assert challenger.state == champion.detectors[ZERO].state  # type: ignore[attr-defined]
    assert alerts(broker) == alerts(alone)


@pytest.mark.parametrize("challenger", [None, ready(100.0)])
def test_without_a_challenger_or_with_the_champion_itself_nothing_is_scored_twice(challenger: Deciding | None) -> None:
    _, metrics, shadow = beside(100.0, challenger, QUIET + BOTH)
    assert shadow._beside == {}
    assert metrics.value("shadow_seconds_total") == 0


def test_episodes_meet_whichever_opened_first() -> None:
    opened, closed = alert(Event.OPEN), alert(Event.CLOSE)
    episodes = Comparison()
    assert episodes.take(CHALLENGER, [opened]) == []
    assert episodes.take(CHAMPION, [opened, closed]) == [False]
    assert episodes.take(CHALLENGER, [closed]) == [False]
    assert (episodes.opened, episodes.alone) == ({CHAMPION: 1, CHALLENGER: 1}, {CHAMPION: 0, CHALLENGER: 0})


def test_an_episode_opened_before_the_comparison_and_other_kinds_count_for_nothing() -> None:
    episodes = Comparison()
    assert episodes.take(CHAMPION, [alert(Event.CLOSE)]) == []
    assert episodes.take(CHAMPION, [alert(Event.OPEN, kind=Kind.SILENCE), alert(Event.CLOSE, kind=Kind.SILENCE)]) == []


def test_when_the_challenger_is_promoted_the_log_says_what_the_two_did_not_share() -> None:
    _, metrics, shadow = beside(100.0, ready(60.0), QUIET + BOTH + ONE)
    with capture_logs() as logs:
        shadow.stand_beside([], ready(60.0))
    (told,) = logs
    assert (told["champion_opened"], told["champion_alone"]) == (1, 0)
    assert (told["challenger_opened"], told["challenger_alone"]) == (2, 1)
    assert told["seconds"] > 0
    rates = [metrics.value("shadow_alarms_per_stream_day", model=model) for model in (CHAMPION, CHALLENGER)]
    assert rates[1] == pytest.approx(2 * rates[0])
    assert rates[0] > 0


def test_another_challenger_begins_anew() -> None:
    _, _, shadow = beside(100.0, ready(60.0), QUIET + BOTH)
    (first,) = shadow._beside.values()
    shadow.watch.ready = ready(70.0)  # type: ignore[misc]
    shadow.stand_beside([first.owned], ready(100.0))
    (second,) = shadow._beside.values()
    assert (second.challenger, second.comparison) == (ready(70.0).make.model, Comparison())


def test_one_partition_begins_at_a_time_so_that_the_loop_stops_for_no_more() -> None:
    _, _, shadow = beside(100.0, ready(60.0), QUIET)
    (first,) = shadow._beside.values()
    several = [replace(first.owned, partition=Partition("t", number)) for number in (7, 8)]
    begun = []
    for _ in range(3):
        shadow.stand_beside(several, ready(100.0))
        begun.append([one.owned.partition.partition for one in shadow._beside.values()])
    assert begun == [[7], [7, 8], [7, 8]]

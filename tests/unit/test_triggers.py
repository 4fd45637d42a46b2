"""When a training is requested automatically, and by which worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from pydantic import ValidationError

from anomaly_daemon.errors import Unavailable
from anomaly_daemon.settings import RetrainingSettings
from anomaly_daemon.training.requests import Request
from anomaly_daemon.training.triggers import Age, Asking, DriftLook, Schedule, Trigger

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)  # a Thursday
LONG_AGO = NOON - timedelta(days=300)
HOUR = timedelta(hours=1)


@dataclass
class World:
    """A deployment's worker that leads, and the requests that it has made."""

    triggers: list[Trigger]
    name: str = "plant"
    jitter: float = 0.0
    trained: datetime | Exception = LONG_AGO
    asked: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.asking = Asking(
            self.name, self.triggers, self.jitter, 14.0, self._trained, self.asked.append, structlog.get_logger()
        )

    def _trained(self) -> datetime:
        if isinstance(self.trained, Exception):
            raise self.trained
        return self.trained

    def at(self, *moments: datetime) -> list[str]:
        for moment in moments:
            self.asking.look(moment)
        return [one.reason for one in self.asked]


def test_a_schedule_is_due_at_its_moments_each_once() -> None:
    world = World([Schedule("0 12 * * *")], trained=NOON - HOUR)
    assert world.at(NOON - timedelta(minutes=1)) == []
    assert world.at(NOON, NOON + HOUR, NOON + 2 * HOUR) == ["schedule"]
    assert world.at(NOON + 24 * HOUR) == ["schedule"] * 2


def test_what_was_missed_while_no_worker_ran_is_asked_for_once_unless_a_model_was_trained_since() -> None:
    assert World([Schedule("0 12 * * *")]).at(NOON + 5 * HOUR) == ["schedule"]
    assert World([Schedule("0 12 * * *")], trained=NOON + HOUR).at(NOON + 5 * HOUR) == []


def test_a_model_is_too_old_so_long_after_the_last_training_and_asked_for_once() -> None:
    world = World([Age(2.0)], trained=NOON)
    assert world.at(NOON + 47 * HOUR) == []
    assert world.at(NOON + 48 * HOUR, NOON + 60 * HOUR) == ["age"]
    world.trained = NOON + 50 * HOUR
    assert world.at(NOON + 97 * HOUR) == ["age"]
    assert world.at(NOON + 98 * HOUR) == ["age"] * 2


def test_a_training_for_its_age_that_failed_is_asked_for_again_so_long_after_by_a_new_request() -> None:
    """The registry has no new version then. It used to be never asked for again, even after a restart of the worker."""
    world = World([Age(2.0)], trained=NOON)
    world.at(NOON + 48 * HOUR, NOON + 95 * HOUR, NOON + 96 * HOUR, NOON + 143 * HOUR)
    assert [one.reason for one in world.asked] == ["age"] * 2
    assert world.asked[0].id != world.asked[1].id
    late = World([Age(2.0)], trained=NOON)
    late.at(NOON + 97 * HOUR)
    assert late.asked == world.asked[1:], "what was missed while no worker ran is asked for once"


def test_a_schedule_is_not_due_before_its_moment() -> None:
    moment = timedelta(milliseconds=1)
    assert World([Schedule("0 12 * * *")], trained=NOON - HOUR).at(NOON - moment) == []
    assert World([Schedule("0 12 * * *")], trained=NOON - HOUR).at(NOON + moment) == ["schedule"]


@pytest.mark.parametrize("days", [4e6, 1e300])
def test_more_days_than_there_are_dates_are_never_over_and_begin_in_1970(days: float) -> None:
    assert World([Age(days)]).at(NOON) == []
    world = World([Schedule("0 12 * * *")])
    world.asking.recent_days = days
    world.at(NOON)
    assert [one.start for one in world.asked] == ["1970-01-01T00:00:00+00:00"]


def test_drift_is_looked_for_at_even_times_and_trained_for_where_it_is() -> None:
    world = World([DriftLook(3600)], trained=NOON)
    assert world.at(NOON, NOON + HOUR / 2, NOON + HOUR) == ["drift"] * 2
    assert all(one.if_drifted for one in world.asked)


def test_a_request_names_the_recent_records_up_to_when_it_is_made() -> None:
    world = World([Schedule("0 12 * * *")])
    world.at(NOON + 3 * HOUR)
    (request,) = world.asked
    assert request.end is None
    assert request.start == (NOON - timedelta(days=14)).isoformat()
    assert request.id.isalnum()


def test_two_workers_that_both_lead_ask_for_the_same_request() -> None:
    one, other = World([Schedule("0 12 * * *")]), World([Schedule("0 12 * * *")])
    one.at(NOON + HOUR)
    other.at(NOON + 2 * HOUR)
    assert one.asked == other.asked


def test_deployments_are_put_off_by_shares_of_their_own_and_no_more_than_the_jitter() -> None:
    first = {}
    for name in ("plant", "mill", "works"):
        for minute in range(61):
            world = World([Schedule("0 12 * * *")], name, jitter=3600.0, trained=NOON - HOUR)
            if world.at(NOON + timedelta(minutes=minute)):
                first[name] = minute
                break
    assert len(set(first.values())) == 3


def test_while_the_registry_is_away_nothing_is_asked_for_and_then_it_is() -> None:
    world = World([Schedule("0 12 * * *")], trained=Unavailable("no route"))
    assert world.at(NOON + HOUR) == []
    world.trained = LONG_AGO
    assert world.at(NOON + HOUR) == ["schedule"]


@pytest.mark.parametrize("words", ["", "every day", "0 25 * * *", "0 0 31 2 *"])
def test_what_are_no_cron_words_is_refused_by_name(words: str) -> None:
    with pytest.raises(ValidationError, match="is not a cron expression"):
        RetrainingSettings(schedule=words)
    assert RetrainingSettings(schedule="0 3 * * SUN").schedule == "0 3 * * SUN"

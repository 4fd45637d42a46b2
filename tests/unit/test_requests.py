"""The worker for retraining requests: each request has one answer, whatever it asks for."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import structlog
import torch

from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.cli import main
from anomaly_daemon.commands import challenger, requests, retrain
from anomaly_daemon.configuration import load
from anomaly_daemon.errors import ConfigurationError, ExitCode, Incompatible, NoInput, Unavailable
from anomaly_daemon.registry.registry import Registry
from anomaly_daemon.settings import PRETRAINED, Settings
from anomaly_daemon.training.parallel import ALONE
from anomaly_daemon.training.promotion import Decision, Measures
from anomaly_daemon.training.requests import Request, Result, Tenure, decode, serve, too_soon
from anomaly_daemon.training.retrain import Retrained
from anomaly_daemon.transport.ports import Received

NOON = "2026-01-01T12:00:00+00:00"


@dataclass
class Listed:
    """A queue of these requests in memory. The request whose place is `lost` is given to another worker while it is
    worked on."""

    values: list[bytes]
    lost: int = -1
    answers: list[dict[str, Any]] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    given: int = 0

    def next(self, seconds: float) -> Received | None:
        self.given += 1
        return Received(self.values[self.given - 1], NOON, self.given - 1) if self.given <= len(self.values) else None

    @contextmanager
    def keep_membership(self, received: Received) -> Iterator[Event]:
        event = Event()
        if received.place == self.lost:
            event.set()
        yield event

    def answered(self, key: str) -> bool:
        return any(one["id"] == key for one in self.answers)

    def answer(self, received: Received, key: str, value: bytes | None) -> bool:
        self.done.append(received.place)
        if value is not None:
            self.answers.append(json.loads(value))
        return True

    def more(self) -> bool:
        return self.given < len(self.values)


def asked(name: str, **more: object) -> bytes:
    return json.dumps({"id": name, "reason": "by hand", **more}).encode()


def trained(request: Request, tenure: Tenure) -> Result:
    """Report three steps of a training, and return its result."""
    told: list[float] = []
    for share in (0.0, 0.3, 0.7):
        tenure.watched(lambda phase, share, note="": told.append(share))("training", share)
    return Result(request.id, request.reason, "kept", f"{len(told)} steps up to {request.end}")


def served(queue: Listed, work: Any = trained) -> Listed:
    serve(queue, work, structlog.get_logger(), queue.more)
    return queue


def test_each_request_has_one_answer_in_order() -> None:
    answers = served(Listed([asked("a"), asked("b")])).answers
    assert [(one["id"], one["outcome"]) for one in answers] == [("a", "kept"), ("b", "kept")]


def test_a_request_that_was_made_twice_has_one_answer_and_is_done_with_both_times() -> None:
    queue = served(Listed([asked("a"), asked("a"), asked("b")]))
    assert [one["id"] for one in queue.answers] == ["a", "b"]
    assert queue.done == [0, 1, 2]


def test_a_request_says_when_it_was_made_as_the_queue_has_it() -> None:
    assert decode(Received(asked("a", end=500, asked="2027-01-01"), NOON, 0)).asked == NOON


def test_a_request_reads_up_to_when_it_was_made_unless_it_says_so_whoever_takes_it() -> None:
    (first, second) = served(Listed([asked("a"), asked("b", end=500)])).answers
    assert first["detail"] == f"3 steps up to {NOON}"
    assert second["detail"] == "3 steps up to 500"


def test_a_request_that_is_anothers_by_now_is_not_answered_and_the_next_one_is_taken() -> None:
    assert [one["id"] for one in served(Listed([asked("a"), asked("b")], lost=0)).answers] == ["b"]


def test_a_request_that_is_lost_after_its_last_step_is_left_to_the_other_to_answer() -> None:
    def quick(request: Request, tenure: Tenure) -> Result:
        return Result(request.id, request.reason, "kept", "")

    assert [one["id"] for one in served(Listed([asked("a"), asked("b")], lost=0), quick).answers] == ["b"]


def test_what_is_lost_after_the_training_is_not_kept() -> None:
    kept = []

    def gated(request: Request, tenure: Tenure) -> Result:
        result = Result(request.id, request.reason, "kept", "")
        tenure.check()
        kept.append(request.id)
        return result

    assert [one["id"] for one in served(Listed([asked("a"), asked("b")], lost=0), gated).answers] == kept == ["b"]


def test_a_training_that_cannot_be_is_answered_with_the_reason() -> None:
    def little(request: Request, tenure: Tenure) -> Result:
        raise ConfigurationError("give more input")

    (told,) = served(Listed([asked("a")]), little).answers
    assert (told["outcome"], told["detail"]) == ("failed", "give more input")


def test_while_the_registry_is_away_the_request_stays() -> None:
    def away(request: Request, tenure: Tenure) -> Result:
        raise Unavailable("no route")

    queue = Listed([asked("a")])
    with pytest.raises(Unavailable):
        served(queue, away)
    assert queue.answers == []


@pytest.mark.parametrize(
    "value", [b"", b"{}", b"[" * 100_000, b"\xff", asked("../../etc"), asked(200 * "a"), b'{"id": 1, "reason": ""}']
)
def test_what_is_no_request_is_answered_so_that_it_does_not_stay_for_ever(value: bytes) -> None:
    with pytest.raises(Incompatible):
        decode(Received(value, NOON, 0))
    assert [one["outcome"] for one in served(Listed([value, asked("b")])).answers] == ["failed", "kept"]


def test_a_challenger_is_too_recent_within_the_minimum_alone() -> None:
    now = datetime(2026, 1, 1, 13, tzinfo=UTC)
    assert [too_soon(NOON, now, seconds) for seconds in (3600.0, 3601.0, 0.0)] == [False, True, False]
    assert not too_soon(None, now, 1e9)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    words = [f"model.path={tmp_path}/registry@champion", "retraining.minimum_seconds=0", "source.topic=readings"]
    return load(None, [*words, 'stream.numeric=["a"]'], {})


@pytest.fixture
def registry(settings: Settings) -> Registry:
    """A registry whose champion was not made by a request."""
    made = challenger.registry_of(settings)
    made.move("champion", made.publish(read_model(PRETRAINED)), at=NOON, reason="by hand")
    return made


def another(registry: Registry, name: str) -> str:
    shipped = read_model(PRETRAINED)
    return registry.publish(replace(shipped, manifest=replace(shipped.manifest, name=name)))


REQUEST = Request("a1", "drift")
WHY = f"{requests._reason_prefix(REQUEST)}loss: better"


@pytest.mark.parametrize(("alias", "outcome"), [("champion", "promoted"), ("challenger", "kept")])
def test_what_a_worker_had_done_when_it_died_is_answered_and_not_done_again(
    settings: Settings, registry: Registry, alias: str, outcome: str
) -> None:
    """The worker dies once a name has moved. In a promotion that is the champion's name, which moves first; the
    challenger's name follows."""
    digest = another(registry, "second")
    assert requests._without_training(settings, registry, REQUEST) is None
    registry.move(alias, digest, at=NOON, reason=WHY)
    for _ in range(2):
        told = requests._without_training(settings, registry, REQUEST)
        assert told == Result("a1", "drift", outcome, "loss: better", digest)
    assert [move.digest for move in registry.history("challenger")] == [digest]
    assert requests._without_training(settings, registry, Request("b2", "drift")) is None


def test_the_last_training_is_when_a_version_was_new_whatever_was_promoted_or_rolled_back_since(
    settings: Settings, registry: Registry
) -> None:
    last = requests._LastTraining(settings)
    first = datetime.fromisoformat(registry.current("champion").at)
    assert last() == first
    second = another(registry, "second")
    registry.move("challenger", second, at="2027-03-01T00:00:00+00:00", reason="trained")
    assert last() == datetime(2027, 3, 1, tzinfo=UTC)
    registry.move("champion", second, at="2027-03-05T00:00:00+00:00", reason="promoted by a person")
    registry.rollback("champion", at="2027-03-09T00:00:00+00:00", reason="rolled back")
    assert last() == datetime(2027, 3, 1, tzinfo=UTC)
    registry.move("challenger", another(registry, "third"), at="2027-04-01T00:00:00+00:00", reason="trained")
    assert last() == datetime(2027, 4, 1, tzinfo=UTC)


def test_what_is_due_without_a_champion_is_told_of_as_a_registry_without_one(tmp_path: Path) -> None:
    words = [f"model.path={tmp_path}/none@champion", "source.topic=readings", 'stream.numeric=["a"]']
    with pytest.raises(NoInput, match="has no champion"):
        requests._LastTraining(load(None, words, {}))()


def test_a_challenger_of_another_request_since_is_not_moved_back(settings: Settings, registry: Registry) -> None:
    registry.move("champion", another(registry, "second"), at=NOON, reason=WHY)
    later = another(registry, "third")
    registry.move("challenger", later, at="2026-01-01T12:00:01+00:00", reason="request b2 (drift): ")
    assert requests._without_training(settings, registry, REQUEST) is not None
    assert registry.resolve("challenger") == later


@pytest.mark.parametrize("meanwhile", [False, True])
def test_a_challenger_is_promoted_only_over_the_champion_that_it_was_held_against(
    settings: Settings, registry: Registry, meanwhile: bool
) -> None:
    shipped, first = read_model(PRETRAINED), registry.resolve("champion")
    found = replace(shipped, manifest=replace(shipped.manifest, training={"champion": first}))
    measures = Measures(2000, 0.0, {}, 1.0, 0.0, None)
    made = Retrained(found, measures, measures, 0.0, Decision(()))
    if meanwhile:
        registry.move("champion", another(registry, "by hand"), at=NOON, reason="by hand")
    before = registry.resolve("champion")
    promoted, why = challenger.store(settings, registry, made)
    assert promoted is not meanwhile
    assert why.startswith("another champion was named meanwhile") is meanwhile
    assert registry.resolve("champion") == (before if meanwhile else found.digest)
    assert registry.resolve("challenger") == found.digest


def test_a_champion_that_is_named_between_the_check_and_the_promotion_stays(
    settings: Settings, registry: Registry
) -> None:
    """The challenger was not compared with it. It used to be replaced."""

    class Overtaken(Registry):
        def resolve(self, version: str) -> str:
            found = super().resolve(version)
            registry.move("champion", by_hand, at=NOON, reason="by hand")
            return found

    shipped, by_hand = read_model(PRETRAINED), another(registry, "by hand")
    found = replace(shipped, manifest=replace(shipped.manifest, training={"champion": registry.resolve("champion")}))
    measures = Measures(2000, 0.0, {}, 1.0, 0.0, None)
    with pytest.raises(Unavailable, match="another user moved champion meanwhile"):
        challenger.store(settings, Overtaken.at(registry.url), Retrained(found, measures, measures, 0.0, Decision(())))
    assert registry.resolve("champion") == by_hand


@pytest.mark.parametrize(
    "words",
    [
        "--worker --dry-run",
        "--worker --request r",
        "--worker --start 5",
        "--worker --input f",
        "--request r --dry-run",
        "--request r --seed 5",
        "--request r --seed 0",
        "--request r --input f",
        "--request r --alerts f",
        "--request r --if-drifted --feedback f",
    ],
)
def test_what_a_worker_would_not_follow_is_refused(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retrain", *words.split()]) == ExitCode.USAGE
    assert words.split()[-1 if words.endswith("run") else -2] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["source.kind=files", 'source.paths=["f"]', "model.path=r@champion"], "--from-topic"),
        (["source.topic=in"], "URL@champion"),
    ],
)
def test_a_worker_that_could_only_answer_with_failures_takes_no_request(
    given: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for one in (*given, 'stream.numeric=["a"]') for word in ("--set", one)]
    assert main(["retrain", "--worker", *words]) == ExitCode.USAGE
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("reason", ["", " "])
def test_a_request_without_a_reason_trains_nothing_here(reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retrain", "--request", reason]) == ExitCode.USAGE
    assert "--request" in capsys.readouterr().err


@pytest.mark.parametrize(("error", "left"), [(ConfigurationError("too little"), 0), (Unavailable("no route"), 1)])
def test_a_training_that_failed_leaves_no_checkpoint_and_one_that_goes_on_does(
    settings: Settings, registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, left: int
) -> None:
    saved = tmp_path / "checkpoints"
    saved.mkdir()
    here = settings.model_copy(update={"retraining": settings.retraining.model_copy(update={"checkpoints": saved})})

    def stopped(*_: object) -> Retrained:
        (saved / f"{REQUEST.id}-0123456789ab.checkpoint").touch()
        raise error

    monkeypatch.setattr(retrain, "retrained", stopped)
    work = requests._work(here, argparse.Namespace(), torch.device("cpu"), ALONE, structlog.get_logger())
    work = requests._deleting_checkpoints(here, work)
    with pytest.raises(type(error)):
        work(REQUEST, Tenure(Event()))
    assert len(list(saved.iterdir())) == left

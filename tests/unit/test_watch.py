"""Which models are taken from the registry, and which are refused, while the daemon goes on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import structlog
import torch
from structlog.testing import capture_logs
from test_registry import LATER, SHIPPED, another

from anomaly_daemon.bootstrap import build_worker, deciding
from anomaly_daemon.configuration import load
from anomaly_daemon.daemon.metrics import Metrics
from anomaly_daemon.daemon.policy import WatchPolicy
from anomaly_daemon.daemon.succession import Deciding
from anomaly_daemon.daemon.watch import ModelWatch
from anomaly_daemon.detection.observation import Numeric, Schema
from anomaly_daemon.errors import Incompatible, Unavailable
from anomaly_daemon.registry.registry import Registry
from anomaly_daemon.settings import Settings


def configured(folder: Path, **model: object) -> Settings:
    (folder / "lines.jsonl").write_text("")
    (folder / "config.yaml").write_text(
        f"source: {{kind: files, paths: [{folder}/lines.jsonl]}}\nsink: {{kind: files}}\nhttp: {{enabled: false}}\n"
        "stream: {key: [k], time: t, numeric: [level]}\n"
    )
    return load(folder / "config.yaml", [f"model.{name}={value}" for name, value in model.items()])


@dataclass
class Scripted:
    """A registry in which each check finds the next of these entries: a digest, or an error that is raised."""

    finds: list[str | Exception]
    broken: dict[str, Exception] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def named(self) -> str:
        found = self.finds.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def prepared(self, digest: str) -> Any:
        self.asked.append(digest)
        if digest in self.broken:
            raise self.broken[digest]
        return f"ready {digest}"


def watching(scripted: Scripted) -> tuple[ModelWatch, Metrics, list[Any]]:
    metrics = Metrics()
    watch = ModelWatch(scripted, "a", WatchPolicy(), lambda: 0.5, metrics, structlog.get_logger())
    seen = []
    with capture_logs() as logs:
        for _ in range(len(scripted.finds)):
            watch.look()
            seen.append(watch.ready)
    return watch, metrics, [seen, [one["event"] for one in logs]]


def test_only_a_name_that_has_moved_is_followed_and_back_again() -> None:
    scripted = Scripted(["a", "b", "b", "a"])
    _, _, (seen, _) = watching(scripted)
    assert seen == [None, "ready b", "ready b", "ready a"]
    assert scripted.asked == ["b", "a"]


def test_a_refused_model_is_told_of_once_and_the_one_before_stays() -> None:
    scripted = Scripted(["b", "c", "c", "c"], {"c": Incompatible("weights are not finite")})
    _, metrics, (seen, logs) = watching(scripted)
    assert seen == ["ready b"] * 4
    assert metrics.value("models_refused_total") == 1
    assert logs == ["a model was refused: the running model stays in use"]


def test_a_registry_that_is_away_is_told_of_once_and_what_could_not_be_read_is_looked_at_again() -> None:
    away = Unavailable("no route")
    scripted = Scripted([away, away, "b", "b", away], {"b": away})
    watch, metrics, (seen, logs) = watching(scripted)
    assert seen == [None] * 5
    assert logs == ["the registry is unavailable: the running model stays in use"]
    scripted.broken.clear()
    scripted.finds.append("b")
    watch.look()
    assert watch.ready == "ready b"  # type: ignore[comparison-overlap]
    assert metrics.value("models_refused_total") == 0


def test_an_error_that_nothing_foresaw_does_not_end_the_looks() -> None:
    @dataclass
    class Announced:
        """Implements `ports.Log`. Its first read fails, and its fourth read closes the watch."""

        reads: int = 0

        def read(self, seconds: float) -> list[tuple[int, bytes]]:
            self.reads += 1
            if self.reads == 1:
                raise RuntimeError("no error of ours")
            if self.reads == 4:
                watch.close()
            return [(0, b"moved")]

        def close(self) -> None: ...

    scripted, metrics, shown = Scripted([KeyError("gone"), ZeroDivisionError(), "b"]), Metrics(), list[float]()
    log = structlog.get_logger()
    watch = ModelWatch(scripted, "a", WatchPolicy(), lambda: 0.0, metrics, log, announced=Announced())
    watch._over.wait = lambda seconds: shown.append(metrics.value("registry_away")) or False  # type: ignore[method-assign]
    with capture_logs() as logs:
        watch._run()
    assert watch.ready == "ready b"  # type: ignore[comparison-overlap]
    assert [one["exc_info"] for one in logs] == [True] * 3
    assert 1 in shown
    assert metrics.value("registry_away") == 0


def test_each_daemon_looks_at_its_own_times() -> None:
    assert [WatchPolicy(30.0).pause(chance) for chance in (0.0, 0.5, 1.0)] == [15.0, 30.0, 45.0]


def test_a_model_is_ready_with_all_that_decides(tmp_path: Path) -> None:
    ready = deciding(configured(tmp_path), SHIPPED)
    assert isinstance(ready, Deciding)
    assert ready.make.model == ready.detectors.regime.model == SHIPPED.digest
    assert ready.ref == SHIPPED.ref


def test_finite_weights_whose_scores_are_no_numbers_are_refused(tmp_path: Path) -> None:
    huge = another("huge", lambda weight: torch.full_like(weight, 3e38))
    with pytest.raises(Incompatible, match="scores that are not numbers"):
        deciding(configured(tmp_path), huge)


def test_a_gate_that_is_no_number_is_not_taken_for_an_open_one(tmp_path: Path) -> None:
    """The weights are finite and of both signs, and their sum has no value."""
    sign = torch.Generator().manual_seed(0)
    broken = another("broken", lambda weight: weight)
    with torch.no_grad():
        for weight in broken.network.weights(0)[:2]:
            weight.copy_(torch.where(torch.rand(weight.shape, generator=sign) < 0.5, 3e38, -3e38))
    with pytest.raises(Incompatible, match="scores that are not numbers"):
        deciding(configured(tmp_path), broken)


@pytest.mark.parametrize("key", ["grace_events=1000", 'evidence=["season"]'])
def test_the_operators_rules_are_no_reason_to_refuse_a_model(tmp_path: Path, key: str) -> None:
    """A trial is short, so under these rules none of its events would be scored."""
    configured(tmp_path)
    settings = load(tmp_path / "config.yaml", [f"detection.{key}"])
    assert deciding(settings, SHIPPED).ref == SHIPPED.ref


def test_a_model_of_another_schema_is_refused_by_what_differs(tmp_path: Path) -> None:
    foreign = replace(SHIPPED, manifest=replace(SHIPPED.manifest, schema=Schema((Numeric("speed"),), ())))
    with pytest.raises(Incompatible, match=r"was trained with stream\.numeric"):
        deciding(configured(tmp_path), foreign)


def test_a_worker_follows_a_name_that_moves_and_nothing_else(tmp_path: Path) -> None:
    registry = Registry.at(str(tmp_path / "registry"))
    digest = registry.publish(SHIPPED)
    registry.move("champion", digest, **LATER)
    here = tmp_path / "registry"
    follows = {
        f"{path} {seconds}": build_worker(configured(tmp_path, path=path, watch_seconds=seconds))._succession._watch
        for path, seconds in (
            (f"{here}@champion", 30),
            (f"{here}@champion", 0),
            (f"{here}@{digest[:12]}", 30),
            ("pretrained", 30),
        )
    }
    assert [watch is not None for watch in follows.values()] == [True, False, False, False]


def test_a_registry_that_is_away_shows_until_it_is_heard_from() -> None:
    scripted = Scripted([Unavailable("no route"), "a"])
    metrics = Metrics()
    watch = ModelWatch(scripted, "a", WatchPolicy(), lambda: 0.5, metrics, structlog.get_logger())
    shown = []
    for _ in range(2):
        watch.look()
        shown.append(metrics.value("registry_away"))
    assert shown == [1, 0]


def test_that_the_challenger_can_be_read_or_not_says_nothing_of_the_champion() -> None:
    metrics, log, away = Metrics(), structlog.get_logger(), Incompatible("damaged")
    champion = ModelWatch(Scripted([away, "a"]), "a", WatchPolicy(), lambda: 0.5, metrics, log)
    challenger = ModelWatch(Scripted(["b", away]), "", WatchPolicy(), lambda: 0.5, metrics, log, decides=False)
    shown = []
    for watch in (champion, challenger, champion, challenger):
        watch.look()
        shown.append(metrics.value("registry_away"))
    assert shown == [1, 1, 0, 0]


def test_a_challenger_that_is_gone_is_not_scored_any_more_and_nothing_is_refused() -> None:
    scripted = Scripted(["b", "", "b"], {"": Incompatible("no model")})
    _, metrics, (seen, logs) = watching(scripted)
    assert (seen, logs) == (["ready b", None, "ready b"], [])
    assert metrics.value("models_refused_total") == 0


def test_a_registry_without_a_challenger_is_not_away(tmp_path: Path) -> None:
    registry = Registry.at(str(tmp_path / "registry"))
    registry.move("champion", registry.publish(SHIPPED), **LATER)
    settings = configured(tmp_path, path=f"{registry.url}@champion", shadow="true")
    worker = build_worker(settings)
    watch = worker._succession._watch
    assert isinstance(watch, ModelWatch)
    assert watch._shadow is not None
    challenger = watch._shadow.watch
    assert isinstance(challenger, ModelWatch)
    assert (watch._decides, challenger._decides) == (True, False)
    challenger.look()
    assert not challenger._away
    assert worker.metrics.value("registry_away") == 0
    registry.move("challenger", registry.publish(another("new")), **LATER)
    challenger.look()
    assert challenger.ready is not None


def test_a_move_that_is_announced_is_looked_at_at_once_and_a_broker_that_is_away_delays_nothing() -> None:
    @dataclass
    class Announced:
        """Implements `ports.Log`. `gives` holds the result of each read; after the last the watch is closed."""

        gives: list[Any]

        def read(self, seconds: float) -> list[tuple[int, bytes]]:
            given = self.gives.pop(0) if self.gives else None
            if given is None:
                watch.close()
            if isinstance(given, Exception):
                raise given
            return given or []

        def close(self) -> None: ...

    scripted, announced = Scripted(["b"]), Announced([[], [(0, b"moved")]])
    watch = ModelWatch(scripted, "a", WatchPolicy(1e6), lambda: 0.0, Metrics(), structlog.get_logger(), None, announced)
    watch._run()
    assert scripted.asked == ["b"]
    away = Announced([Unavailable("no broker")])
    watch = ModelWatch(
        Scripted(["b"]), "a", WatchPolicy(2.0), lambda: 0.0, Metrics(), structlog.get_logger(), None, away
    )
    watch._pause(0.01)
    assert away.gives == []

"""Old versions of a registry are removed, but none that a name, a rollback, a reader or a publication needs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest

from anomaly_daemon import cli
from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.commands import challenger
from anomaly_daemon.configuration import load
from anomaly_daemon.detection.artifact import Model
from anomaly_daemon.errors import NoInput, NotPermitted, Unavailable
from anomaly_daemon.registry.pruning import prunable, prune, spared
from anomaly_daemon.registry.registry import Move, Registry
from anomaly_daemon.registry.storage import Storage
from anomaly_daemon.settings import Settings

SHIPPED = read_model("pretrained")
NOW = "2026-02-01T00:00:00+00:00"


@pytest.fixture(params=["directory", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a registry: a directory, and an fsspec URL."""
    yield str(tmp_path / "models") if request.param == "directory" else f"memory://{tmp_path}"
    fsspec.filesystem("memory").store.clear()


def version(name: object) -> Model:
    return replace(SHIPPED, manifest=replace(SHIPPED.manifest, name=str(name)))


def named(registry: Registry, alias: str, day: int) -> str:
    digest = registry.publish(version(f"{alias}-{day}"))
    registry.move(alias, digest, at=f"2026-01-{day:02d}T00:00:00+00:00", reason=f"day {day}")
    return digest


def challengers(registry: Registry, since: int, before: int) -> list[str]:
    """Publish one challenger a day and return their digests."""
    return [named(registry, "challenger", day) for day in range(since, before)]


def moves(digests: str, since: int = 0) -> list[Move]:
    """Return one move a day."""
    return [Move(digest, f"2026-01-{day:02d}", "") for day, digest in enumerate(digests, since)]


def test_what_was_named_last_stays_and_what_is_older_goes() -> None:
    assert spared({"champion": [], "challenger": moves("abcdef")}, "abcdef", 2) == {"e", "f"}
    assert spared({"champion": [], "challenger": moves("abcdef")}, "abcdef", 4) == {"c", "d", "e", "f"}


def test_what_a_name_stands_for_stays_however_old_it_is() -> None:
    assert spared({"champion": moves("a"), "challenger": moves("bcdef", 1)}, "abcdef", 2) == {"a", "e", "f"}
    assert spared({"champion": moves("bcdef", 1), "challenger": moves("a")}, "abcdef", 2) >= {"a"}


def test_the_champions_that_rollbacks_would_return_to_stay_so_many_of_them() -> None:
    histories = {"champion": moves("abcd"), "challenger": moves("uvwxyz", 4)}
    assert spared(histories, "abcduvwxyz", 2) == {"d", "c", "b", "y", "z"}


def test_a_version_named_again_is_as_new_as_its_last_name() -> None:
    assert spared({"challenger": moves("abcda")}, "abcd", 2) == {"a", "d"}


def test_a_version_that_is_gone_takes_no_place_and_one_never_named_stays() -> None:
    assert spared({"challenger": moves("abcdef")}, "abcx", 2) == {"f", "b", "c", "x"}


def test_a_pruned_version_is_gone_and_its_history_is_readable(url: str) -> None:
    registry = Registry.at(url)
    digests = challengers(registry, 1, 6)
    assert [one.digest for one in prunable(registry, 2, NOW)] == sorted(digests[:3])
    assert registry.digests() == sorted(digests)
    assert {one.digest for one in prune(registry, 2, NOW)} == set(digests[:3])
    assert registry.digests() == sorted(digests[3:])
    assert [move.digest for move in registry.history("challenger")] == digests
    assert registry.all_gone() == sorted(digests[:3])
    assert prune(registry, 2, NOW) == []
    for asked in (digests[0], digests[0][:8]):
        with pytest.raises(NoInput, match=r"\(challenger-1 .*\) was pruned on 2026-02-01"):
            registry.read(registry.resolve(asked))
    assert all(registry.read(digest).digest == digest for digest in digests[3:])


def test_a_pruned_version_may_be_published_again(url: str) -> None:
    registry = Registry.at(url)
    first, *_ = challengers(registry, 1, 5)
    prune(registry, 2, NOW)
    assert registry.publish(version("challenger-1")) == first
    registry.move("champion", first, at=NOW, reason="a test")
    assert (registry.read(first).digest, registry.all_gone().count(first)) == (first, 0)


def test_a_rollback_to_what_was_pruned_is_refused_by_its_reason(url: str) -> None:
    registry = Registry.at(url)
    champions = [named(registry, "champion", day) for day in range(1, 5)]
    prune(registry, 2, NOW)
    assert registry.digests() == sorted(champions[1:])
    assert [registry.rollback("champion", at=NOW, reason="").digest for _ in range(2)] == champions[2:0:-1]
    with pytest.raises(NoInput, match=r"the version before the present champion is gone: .* was pruned on"):
        registry.rollback("champion", at=NOW, reason="")
    assert registry.resolve("champion") == champions[1]


class Interrupted(Storage):
    """A store in which `then` is called before the first change whose path contains `at`."""

    at, then = "", staticmethod(lambda: None)

    def create(self, path: str, content: bytes) -> bool:
        self._before(path)
        return super().create(path, content)

    def remove(self, path: str) -> None:
        self._before(f"-{path}")
        super().remove(path)

    def _before(self, path: str) -> None:
        if self.at and self.at in path:
            self.at = ""
            self.then()


def interrupted(url: str, at: str, then: Callable[[], object]) -> Registry:
    store = Interrupted(url)
    store.at, store.then = at, then  # type: ignore[assignment]
    return Registry(store)


class Died(BaseException):
    """Simulates a process that is killed."""


def dies() -> None:
    raise Died


@pytest.mark.parametrize("place", ["pruned/", "manifest.json", "weights.safetensors"])
def test_a_pruning_cut_short_leaves_whole_versions_or_none_and_the_next_one_goes_on(url: str, place: str) -> None:
    digests = challengers(Registry.at(url), 1, 5)
    with pytest.raises(Died):
        prune(interrupted(url, place, dies), 2, NOW)
    registry = Registry.at(url)
    assert all(registry.read(digest).digest == digest for digest in registry.digests())
    assert cli.main(["models", "list", "--registry", url]) == cli.main(["models", "verify", "--registry", url]) == 0
    prune(registry, 2, NOW)
    assert registry.digests() == sorted(digests[2:])
    for digest in digests[:2]:
        assert not Storage(url).names(f"models/{digest}")
        assert registry.pruned(digest) is not None


def test_a_version_condemned_by_a_pruning_that_died_and_spared_by_the_next_can_be_named(url: str) -> None:
    registry = Registry.at(url)
    first, *_ = challengers(registry, 1, 4)
    with pytest.raises(Died):
        prune(interrupted(url, "manifest.json", dies), 2, NOW)
    with pytest.raises(Unavailable, match="is being pruned"):
        registry.move("champion", first, at=NOW, reason="a test")
    with pytest.raises(Unavailable, match="is being pruned"):
        registry.publish(version("challenger-1"))
    assert prune(registry, 3, NOW) == []
    assert registry.move("champion", first, at=NOW, reason="a test").digest == first


def test_a_version_that_is_named_while_it_is_pruned_stays(url: str) -> None:
    registry = Registry.at(url)
    first, *_ = challengers(registry, 1, 4)
    meanwhile = interrupted(url, "pruned/", lambda: registry.move("champion", first, at=NOW, reason="meanwhile"))
    assert prune(meanwhile, 2, NOW) == []
    assert registry.read(registry.resolve("champion")).digest == first
    assert registry.pruned(first) is None


def test_a_name_that_moved_too_late_to_be_seen_moves_back_and_says_so(url: str) -> None:
    registry = Registry.at(url)
    champion = named(registry, "champion", 1)
    first, *_ = challengers(registry, 2, 6)
    late = interrupted(url, "aliases/champion", lambda: prune(registry, 2, NOW))
    with pytest.raises(Unavailable, match="is being pruned"):
        late.move("champion", first, at=NOW, reason="a test")
    assert registry.resolve("champion") == champion
    assert registry.history("champion")[-1].reason.startswith("taken back")
    assert first not in registry.digests()


def test_a_first_move_that_came_too_late_leaves_the_name_standing_for_nothing(url: str) -> None:
    registry = Registry.at(url)
    first, *_ = challengers(registry, 1, 5)
    late = interrupted(url, "aliases/champion", lambda: prune(registry, 2, NOW))
    with pytest.raises(Unavailable, match="is being pruned"):
        late.move("champion", first, at=NOW, reason="a test")
    assert registry.history("champion") == []
    with pytest.raises(NoInput, match="has no champion"):
        registry.resolve("champion")


@pytest.mark.parametrize("began", ["before", "after"])
def test_a_pruning_leaves_the_note_of_another_that_is_about_to_delete(url: str, began: str) -> None:
    """A move of a name to the version checks the notes before this note is made, and is written when both prunings have
    made their plans. The first pruning has not seen the move, so it will delete the version; the move sees its note,
    and is taken back. The second pruning must never treat that note as its own, whether it began before the note was
    made or after it."""
    registry = Registry.at(url)
    named(registry, "champion", 1)
    first, *_ = challengers(registry, 2, 5)
    noted: list[bool] = []

    def moved() -> None:
        Storage(url).create("aliases/champion/00000002.json", json.dumps(told_of(first)).encode())

    def second() -> None:
        prune(interrupted(url, f"pruned/{first}", moved), 2, NOW)
        noted.append(registry.pruned(first) is not None)  # as the move checks it again

    def first_and_moved() -> None:
        with suppress(Died):
            prune(interrupted(url, "-models/", dies), 2, NOW)  # it stops before the deletion
        moved()

    if began == "after":
        prune(interrupted(url, "-models/", second), 2, NOW)
    else:
        prune(interrupted(url, f"pruned/{first}", first_and_moved), 2, NOW)
        noted.append(registry.pruned(first) is not None)
    assert noted == [True]


def told_of(digest: str) -> dict[str, str]:
    return {"digest": digest, "at": NOW, "reason": "a test"}


def test_a_pruning_ends_without_sparing_what_another_condemned_meanwhile(url: str) -> None:
    registry = Registry.at(url)
    first, second, *_ = challengers(registry, 1, 5)

    def another() -> None:
        with suppress(Died):
            prune(interrupted(url, f"-models/{second}", dies), 2, NOW)  # it stops before the deletion

    prune(interrupted(url, f"-models/{first}", another), 3, NOW)
    assert second in registry.digests()
    assert registry.pruned(second) is not None


def test_what_another_spared_is_looked_at_right_before_it_would_go(url: str) -> None:
    first, *_ = challengers(Registry.at(url), 1, 4)

    class Spared(Storage):
        def create(self, path: str, content: bytes) -> bool:
            made = super().create(path, content)
            self.remove(path)
            return made

    assert prune(Registry(Spared(url)), 2, NOW) == []
    assert first in Registry.at(url).digests()


def held(url: str, *paths: str) -> Registry:
    """Return a registry whose user may write, but may not delete anything whose path begins with one of `paths`."""

    class Held(Storage):
        def remove(self, path: str) -> None:
            if path.startswith(paths):
                raise NotPermitted("AccessDenied")
            super().remove(path)

    return Registry(Held(url))


def test_who_may_not_delete_condemns_nothing(url: str) -> None:
    first, *_ = challengers(Registry.at(url), 1, 4)
    with pytest.raises(NotPermitted, match=r"nothing is pruned .*s3:DeleteObject.* AccessDenied"):
        prune(held(url, ""), 2, NOW)
    assert Registry.at(url).move("champion", first, at=NOW, reason="a test").digest == first


def test_a_version_that_may_not_go_keeps_no_note_and_is_named_in_the_refusal(url: str) -> None:
    first, *_ = challengers(Registry.at(url), 1, 4)
    with pytest.raises(NotPermitted, match=rf"{first[:12]} is not pruned .*s3:DeleteObject.* AccessDenied$"):
        prune(held(url, "models/"), 2, NOW)
    assert Registry.at(url).move("champion", first, at=NOW, reason="a test").digest == first


def test_a_note_that_cannot_be_taken_back_is_told_of(url: str) -> None:
    first, *_ = challengers(Registry.at(url), 1, 4)
    with pytest.raises(NotPermitted, match=rf"until pruned/{first}.json is removed by hand"):
        prune(held(url, "models/", f"pruned/{first}"), 2, NOW)


def test_a_reader_of_a_version_that_goes_meanwhile_is_told_so(url: str) -> None:
    registry = Registry.at(url)
    first, *_ = challengers(registry, 1, 4)

    class Slow(Storage):
        def read(self, path: str) -> bytes | None:
            content = super().read(path)
            if path.endswith("manifest.json"):
                prune(registry, 2, NOW)
            return content

    with pytest.raises(NoInput, match="was pruned on"):
        Registry(Slow(url)).read(first)


def test_a_version_that_is_just_being_published_is_left_alone(url: str) -> None:
    for day in range(1, 4):
        named(Registry.at(url), "challenger", day)
    publishing = interrupted(url, "manifest.json", lambda: prune(Registry.at(url), 2, NOW))
    digest = publishing.publish(version("new"))
    prune(Registry.at(url), 2, NOW)
    assert Registry.at(url).move("challenger", digest, at=NOW, reason="a test").digest == digest


def test_a_damaged_old_version_goes_too(tmp_path: Path) -> None:
    registry = Registry.at(str(tmp_path))
    first, *_ = challengers(registry, 1, 4)
    (tmp_path / "models" / first / "weights.safetensors").write_bytes(b"")
    assert [(one.digest, one.name) for one in prune(registry, 2, NOW)] == [(first, "-")]


# The command


def test_the_command_says_what_would_go_and_what_has_gone(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    registry = Registry.at(url)
    digests = challengers(registry, 1, 5)
    words = ["models", "prune", "--registry", url, "--keep", "3"]
    assert cli.main([*words, "--dry-run"]) == 0
    assert "would be deleted: 1" in capsys.readouterr().out
    assert cli.main([*words, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pruned"] is False
    assert registry.digests() == sorted(digests)
    assert cli.main([*words]) == 0
    said = capsys.readouterr().out
    assert digests[0][:12] in said
    assert "deleted: 1" in said
    assert cli.main(words) == 0
    assert "nothing to prune" in capsys.readouterr().out
    assert cli.main([*words[:-1], "1"]) == 64
    assert "at least 2" in capsys.readouterr().err


@pytest.mark.parametrize("more", [[], ["--json"], ["--json", "--dry-run"]])
def test_where_there_is_no_version_at_all_nothing_is_reported_as_pruned(tmp_path: Path, more: list[str]) -> None:
    assert cli.main(["models", "prune", "--registry", str(tmp_path / "mistyped"), "--keep", "2", *more]) == 66


def test_list_counts_what_is_gone_and_show_tells_of_it(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    registry = Registry.at(url)
    first, *_ = challengers(registry, 1, 4)
    prune(registry, 2, NOW)
    assert cli.main(["models", "list", "--json", "--registry", url]) == 0
    told = capsys.readouterr()
    assert first not in told.out
    assert "pruned: 1;" in told.err
    assert cli.main(["models", "show", first[:8], "--json", "--registry", url]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["digest"], shown["name"], shown["pruned"]) == (first, "challenger-1", NOW)
    assert [move["reason"] for move in shown["history"]] == ["day 1"]
    assert cli.main(["models", "show", first[:8], "--registry", url]) == 0
    assert NOW in capsys.readouterr().out
    assert cli.main(["models", "promote", first[:8], "--registry", url]) == 66
    assert "was pruned on" in capsys.readouterr().err


# Retraining


def keeping(folder: Path, versions: str) -> Settings:
    words = [f"model.path={folder}/r@champion", f"retraining.keep_versions={versions}"]
    return load(None, [*words, "source.topic=readings", 'stream.numeric=["a"]'], {})


@pytest.mark.parametrize(("keep", "left"), [("null", 4), ("2", 2)])
def test_retraining_prunes_where_it_is_told_to(tmp_path: Path, keep: str, left: int) -> None:
    settings = keeping(tmp_path, keep)
    registry = challenger.registry_of(settings)
    for day in range(1, 5):
        named(registry, "challenger", day)
    said: list[str] = []
    challenger.prune(settings, registry, said.append)
    assert len(registry.digests()) == left
    assert len(said) == (left == 2)


def test_a_registry_that_lets_nothing_go_does_not_spoil_the_training(tmp_path: Path) -> None:
    class Kept(Storage):
        def remove(self, path: str) -> None:
            raise NotPermitted("the registry: delete is not allowed")

    settings = keeping(tmp_path, "2")
    for day in range(1, 5):
        named(Registry.at(f"{tmp_path}/r"), "challenger", day)
    said: list[str] = []
    challenger.prune(settings, Registry(Kept(f"{tmp_path}/r")), said.append)
    assert [text.startswith("old versions were not pruned: nothing is pruned without the right") for text in said] == [
        True
    ]
    assert "the registry: delete is not allowed" in said[0]

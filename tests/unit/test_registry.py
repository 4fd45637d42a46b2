"""The registry: versions never change, names move, and whatever is broken is refused with a reason."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch

from anomaly_daemon import cli
from anomaly_daemon.checkpoint.models import read_model as read_folder
from anomaly_daemon.checkpoint.models import write_model
from anomaly_daemon.detection.artifact import Model
from anomaly_daemon.detection.network import Network
from anomaly_daemon.detection.observation import Numeric, Schema
from anomaly_daemon.errors import ConfigurationError, DaemonError, Incompatible, NoInput, NotPermitted, Unavailable
from anomaly_daemon.registry.difference import differences
from anomaly_daemon.registry.reference import Reference, read_model
from anomaly_daemon.registry.registry import Move, Pruned, Registry, earlier

SHIPPED = read_folder("pretrained")
LATER: dict[str, str] = {"at": "2026-01-01T00:00:00+00:00", "reason": "a test"}


def another(version: str, change: Callable[[torch.Tensor], torch.Tensor] = lambda weight: weight * 1.01) -> Model:
    """Return the shipped network with every weight changed."""
    network = Network(SHIPPED.manifest.network)
    network.load_state_dict({name: change(value) for name, value in SHIPPED.network.state_dict().items()})
    return replace(SHIPPED, manifest=replace(SHIPPED.manifest, version=version), network=network.eval())


@pytest.fixture(params=["directory", "memory"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    """A registry in a directory, and one behind an fsspec URL."""
    yield Registry.at(str(tmp_path / "models") if request.param == "directory" else f"memory://{tmp_path}")
    fsspec.filesystem("memory").store.clear()


def promoted(registry: Registry, model: Model) -> str:
    digest = registry.publish(model)
    registry.move("champion", digest, **LATER)
    return digest


def test_a_model_read_back_is_the_one_that_was_published(registry: Registry) -> None:
    digest = registry.publish(SHIPPED)
    assert digest == SHIPPED.digest == registry.read(digest).digest
    assert registry.publish(SHIPPED) == digest
    assert registry.digests() == [digest]


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (RuntimeError("no endpoint"), Unavailable),  # such as botocore's, which are no OSError
        (OSError("no route"), Unavailable),
        (PermissionError("not yours"), NotPermitted),
    ],
)
def test_whatever_a_file_system_raises_is_told_as_what_the_caller_must_do(
    raised: Exception, told: type[DaemonError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: object, **options: object) -> None:
        raise raised

    registry, kind = Registry.at("memory:///models"), type(fsspec.filesystem("memory"))
    for name in ("cat_file", "ls", "pipe_file"):
        monkeypatch.setattr(kind, name, fails)
    for asked in (registry.digests, lambda: registry.resolve("champion"), lambda: registry.publish(SHIPPED)):
        with pytest.raises(told, match="memory:///models"):
            asked()


def test_a_version_is_not_there_before_its_manifest_is(tmp_path: Path) -> None:
    registry = Registry.at(str(tmp_path))
    digest = registry.publish(SHIPPED)
    (tmp_path / "models" / digest / "manifest.json").unlink()
    assert registry.digests() == []
    with pytest.raises(NoInput, match="no complete model"):
        registry.read(digest)
    assert registry.publish(SHIPPED) == digest  # a publication that was cut short is continued


@pytest.mark.parametrize(
    ("name", "harm", "reason"),
    [
        ("manifest.json", lambda content: content.replace(b'"version"', b'"verzion"'), "its digest does not match"),
        ("weights.safetensors", lambda content: content[:-1] + b"x", "does not match the checksum"),
        ("weights.safetensors", lambda content: content[:-8], "does not match the checksum"),
    ],
)
def test_a_changed_byte_is_refused(tmp_path: Path, name: str, harm: Callable[[bytes], bytes], reason: str) -> None:
    registry = Registry.at(str(tmp_path))
    digest = promoted(registry, SHIPPED)
    path = tmp_path / "models" / digest / name
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(Incompatible, match=reason):
        registry.read(digest)
    with pytest.raises(Incompatible, match=reason):
        registry.move("champion", digest, **LATER)
    with pytest.raises(Incompatible, match="is damaged"):
        registry.publish(SHIPPED)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_never_the_champion(registry: Registry, value: float) -> None:
    champion = promoted(registry, SHIPPED)
    broken = registry.publish(another("broken", lambda weight: torch.full_like(weight, value)))
    with pytest.raises(Incompatible, match="not finite"):
        registry.move("champion", broken, **LATER)
    assert registry.resolve("champion") == champion


def test_rolling_back_twice_goes_two_versions_back(registry: Registry) -> None:
    first, second, third = (promoted(registry, another(str(n))) for n in range(3))
    assert registry.resolve("champion") == third
    assert registry.rollback("champion", **LATER).digest == second
    assert registry.rollback("champion", **LATER).digest == first
    with pytest.raises(NoInput, match="there is no version before the present champion"):
        registry.rollback("champion", **LATER)
    assert [move.rollback for move in registry.history("champion")] == [False, False, False, True, True]


def test_after_a_rollback_and_a_new_promotion_the_way_back_leads_to_what_it_replaced() -> None:
    moves = [Move("a", "", ""), Move("b", "", ""), Move("a", "", "", True), Move("c", "", "")]
    assert earlier(moves) == "a"
    assert earlier(moves[:1]) is None
    assert earlier([]) is None


def test_of_two_moves_at_once_one_is_told_of_the_other(tmp_path: Path) -> None:
    digest = promoted(Registry.at(str(tmp_path)), SHIPPED)
    ready, told = threading.Barrier(2), []

    class Meeting(Registry):
        def read(self, digest: str) -> Model:
            ready.wait(10)
            return super().read(digest)

    def move() -> None:
        try:
            told.append(Meeting.at(str(tmp_path)).move("champion", digest, **LATER))
        except Unavailable as error:
            told.append(error)

    threads = [threading.Thread(target=move) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(type(one).__name__ for one in told) == ["Move", "Unavailable"]
    assert len(Registry.at(str(tmp_path)).history("champion")) == 2


def test_a_version_is_found_by_alias_digest_or_its_first_digits(registry: Registry) -> None:
    digest = promoted(registry, SHIPPED)
    assert {registry.resolve(name) for name in ("champion", digest, digest[:8])} == {digest}
    with pytest.raises(NoInput, match="no challenger"):
        registry.resolve("challenger")
    with pytest.raises(NoInput, match="no model 00000000"):
        registry.resolve("00000000")
    with pytest.raises(
        NoInput, match=r"no champoin: .* name a version by champion, challenger, or the first digits of its digest"
    ):
        registry.resolve("champoin")


def test_no_digits_name_no_version(registry: Registry) -> None:
    """As where a script's variable is empty."""
    digest = promoted(registry, SHIPPED)
    assert registry.resolve(digest[:1]) == digest
    with pytest.raises(NoInput):
        registry.resolve("")


def test_a_version_that_exists_is_found_rather_than_a_pruned_one_that_begins_like_it(tmp_path: Path) -> None:
    registry = Registry.at(str(tmp_path))
    digest = registry.publish(SHIPPED)
    gone = digest[:4] + 60 * "0"
    registry.condemn(Pruned(gone, "sensors", "1", LATER["at"]))
    assert registry.gone(digest[:4]) is None
    assert registry.resolve(digest[:4]) == digest
    assert registry.gone(gone[:8]) is not None


def test_a_rollback_that_could_not_be_announced_moves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = Registry.at(str(tmp_path / "registry"))
    for version in ("1", "2", "3"):
        promoted(registry, another(version))
    (tmp_path / "config.yaml").write_text("retraining: {announcement_topic: moves}")
    words = ["--registry", str(tmp_path / "registry"), "--config", str(tmp_path / "config.yaml")]
    before = registry.resolve("champion")
    assert cli.main(["models", "rollback", *words]) == 78
    assert registry.resolve("champion") == before


def test_verify_calls_no_version_damaged_while_the_registry_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    promoted(Registry.at(str(tmp_path)), SHIPPED)

    def away(*_: object) -> Model:
        raise Unavailable("no route")

    monkeypatch.setattr(Registry, "read", away)
    assert cli.main(["models", "verify", "--registry", str(tmp_path)]) == 69
    assert "no route" in capsys.readouterr().err


def test_a_move_that_cannot_be_read_is_told_of(tmp_path: Path) -> None:
    registry = Registry.at(str(tmp_path))
    promoted(registry, SHIPPED)
    (tmp_path / "aliases" / "champion" / "00000002.json").write_bytes(b'{"digest": "../../etc"}')
    with pytest.raises(Incompatible, match="move 00000002"):
        registry.resolve("champion")


def test_a_path_is_a_reference_only_with_a_version_behind_it() -> None:
    assert Reference.of("s3://models/sensors@champion") == Reference("s3://models/sensors", "champion")
    assert Reference.of("/srv/models@0123abcd") == Reference("/srv/models", "0123abcd")
    assert [Reference.of(path) for path in ("pretrained", "models/a@b", "ftp://user@host/models", "@champion")] == [
        None
    ] * 4
    assert [one.moves for one in (Reference("u", "champion"), Reference("u", "0123abcd"))] == [True, False]


def test_model_path_takes_a_version_of_a_registry_or_a_folder(tmp_path: Path) -> None:
    digest = promoted(Registry.at(str(tmp_path / "registry")), SHIPPED)
    assert read_model(f"{tmp_path / 'registry'}@champion").digest == digest
    assert read_model(tmp_path / "registry" / "models" / digest).digest == digest
    assert read_model("pretrained").digest == digest


def test_a_protocol_that_is_not_known_is_named() -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        read_model("nowhere://models@champion")


def test_what_differs_is_told_and_nothing_else() -> None:
    assert differences(SHIPPED, SHIPPED) == []
    found = {one.what: one for one in differences(SHIPPED, another("2"))}
    assert found.pop("version").after == '"2"'
    assert set(found) == {f"weights.{name}" for name, value in SHIPPED.network.state_dict().items() if value.any()}
    assert {one.after for one in found.values()} == {"moved by 1.0%"}


# The command


def said(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    assert cli.main(["models", *words, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> str:
    write_model(another("2"), tmp_path / "second")
    return str(tmp_path / "second")


def test_a_model_is_published_promoted_compared_and_rolled_back(
    tmp_path: Path, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ("--registry", str(tmp_path / "registry"))
    (first,) = said(capsys, "publish", "pretrained", "--as", "champion", *at)
    (second,) = said(capsys, "publish", folder, "--as", "challenger", *at)
    assert {one["digest"]: one["aliases"] for one in said(capsys, "list", *at)} == {
        first["digest"]: ["champion"],
        second["digest"]: ["challenger"],
    }
    assert "version" in {one["what"] for one in said(capsys, "diff", "champion", "challenger", *at)}
    (moved,) = said(capsys, "promote", "challenger", "--reason", "better", *at)
    assert (moved["digest"], moved["reason"]) == (second["digest"], "better")
    (shown,) = said(capsys, "show", "champion", *at)
    assert [(one["alias"], one["reason"]) for one in shown["history"]] == [
        ("champion", "better"),
        ("challenger", "published by hand"),
    ]
    assert said(capsys, "rollback", *at)[0]["digest"] == first["digest"]
    assert all(one["ok"] for one in said(capsys, "verify", *at))


@pytest.mark.parametrize(
    "words",
    [
        ["models", "publish", "pretrained", "--registry", "r", "--as", "champion", "--reason"],
        ["models", "promote", "champion", "--registry", "r", "--reason"],
        ["models", "rollback", "--registry", "r", "--reason"],
        ["train", "--output", "m", "--name"],
        ["retrain", "--set", "source.topic=in", "--request"],
    ],
)
def test_a_text_to_store_that_is_not_utf_8_is_a_usage_error(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([*words, "of the \udcf6fen"])
    assert ended.value.code == 64
    assert f"argument {words[-1]}: 'of the \N{REPLACEMENT CHARACTER}fen' is not UTF-8 text" in capsys.readouterr().err


@pytest.mark.parametrize("action", ["list", "show champion", "diff champion challenger", "verify"])
def test_people_get_a_table(tmp_path: Path, folder: str, capsys: pytest.CaptureFixture[str], action: str) -> None:
    at = ["--registry", str(tmp_path / "registry")]
    assert cli.main(["models", "publish", "pretrained", "--as", "champion", *at]) == 0
    assert cli.main(["models", "publish", folder, "--as", "challenger", *at]) == 0
    assert cli.main(["models", *action.split(), *at]) == 0
    assert "----" in capsys.readouterr().out


def test_the_measures_of_a_version_are_a_table_that_a_person_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--registry", str(tmp_path / "registry")]
    assert cli.main(["models", "publish", "pretrained", "--as", "champion", *at]) == 0
    assert cli.main(["models", "show", "champion", *at]) == 0
    shown = capsys.readouterr().out
    lines = [line.split() for line in shown.splitlines()]
    measured = SHIPPED.manifest.training["metrics"]
    for name in ("network", "last_value", "ewma"):
        of = measured[name]
        assert [*name.split("_"), f"{of['nll']:.4f}", f"{of['absolute_error']:.4f}", "-"] in lines
    assert "{" not in shown, "no blob"
    assert ["best", "epoch", "20", "of", "20"] in lines, "counted as `train` counts them"
    assert ["test", "events", str(measured["events"])] in lines
    assert ["recipe", "hidden", "64"] in lines


@pytest.mark.parametrize("training", [{}, {"best_epoch": "none", "metrics": [1, {"nll": None}], "curve": 0}])
def test_a_version_is_shown_whatever_its_training_tells(
    tmp_path: Path, training: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--registry", str(tmp_path / "registry")]
    write_model(replace(SHIPPED, manifest=replace(SHIPPED.manifest, training=training)), tmp_path / "other")
    assert cli.main(["models", "publish", str(tmp_path / "other"), "--as", "champion", *at]) == 0
    assert cli.main(["models", "show", "champion", *at]) == 0
    shown = capsys.readouterr().out
    assert "published by hand" in shown
    assert "test part" not in shown


@pytest.mark.parametrize("action", ["list", "verify", "prune"])
def test_a_place_without_any_model_is_never_well(
    tmp_path: Path, action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["models", action, "--registry", str(tmp_path / "mistyped")]) == 66
    told = capsys.readouterr()
    assert "no model in" in told.err
    assert told.out == ""
    assert cli.main(["models", "publish", "pretrained", "--registry", str(tmp_path / "registry")]) == 0
    assert cli.main(["models", action, "--registry", str(tmp_path / "registry")]) == 0
    assert capsys.readouterr().err == ""


def test_the_difference_of_a_version_from_itself_is_told_in_words(
    tmp_path: Path, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--registry", str(tmp_path)]
    assert cli.main(["models", "publish", folder, *words, "--as", "champion"]) == 0
    capsys.readouterr()
    assert cli.main(["models", "diff", "champion", "champion", *words]) == 0
    assert (
        capsys.readouterr().out == f"both are the same version, {Registry.at(str(tmp_path)).resolve('champion')[:12]}\n"
    )


def test_verify_names_what_is_broken_and_ends_with_78(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    registry = Registry.at(str(tmp_path))
    digest = registry.publish(SHIPPED)
    (tmp_path / "models" / digest / "weights.safetensors").write_bytes(b"")
    assert cli.main(["models", "verify", "--registry", str(tmp_path)]) == 78
    assert "does not match the checksum" in capsys.readouterr().out


MOVED = {"digest": 64 * "f", "at": "2026-01-01", "reason": "r"}
PRUNED = {"digest": 64 * "f", "name": "n", "version": "1", "at": "2026-01-01"}
DAMAGED = [b"", b"[" * 100_000, b"1", b"{}"]


@pytest.mark.parametrize("content", [*DAMAGED, *(json.dumps(MOVED | {name: None}).encode() for name in MOVED)])
@pytest.mark.parametrize("words", [["verify"], ["prune", "--keep", "2"], ["rollback"]])
def test_a_damaged_move_is_named_and_no_bug(
    tmp_path: Path, content: bytes, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    registry = Registry.at(str(tmp_path))
    for version in ("1", "2", "3"):
        promoted(registry, another(version))
    (tmp_path / "aliases" / "champion" / "00000003.json").write_bytes(content)
    assert cli.main(["models", *words, "--registry", str(tmp_path)]) == 78
    assert "move 00000003.json of champion cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("content", [*DAMAGED, *(json.dumps(PRUNED | {name: None}).encode() for name in PRUNED)])
def test_a_damaged_note_of_a_pruning_is_named_and_no_bug(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    promoted(Registry.at(str(tmp_path)), SHIPPED)
    (tmp_path / "pruned").mkdir()
    (tmp_path / "pruned" / f"{'f' * 64}.json").write_bytes(content)
    assert cli.main(["models", "show", "f" * 12, "--registry", str(tmp_path)]) == 78
    assert f"pruned/{'f' * 64}.json cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("alone", [False, True])
def test_verify_names_a_version_that_a_name_stands_for_and_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], alone: bool
) -> None:
    registry = Registry.at(str(tmp_path))
    digest = promoted(registry, SHIPPED)
    others = [] if alone else [registry.publish(another("2"))]
    (tmp_path / "models" / digest / "manifest.json").unlink()
    assert cli.main(["models", "verify", "--registry", str(tmp_path), "--json"]) == 78
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["digest"], one["ok"]) for one in told] == [(digest, False), *((other, True) for other in others)]
    assert "champion points to it" in told[0]["detail"]


@pytest.mark.parametrize("gone", [False, True])
def test_a_damaged_version_is_listed_as_one_beside_the_others_and_named_where_it_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], gone: bool
) -> None:
    registry = Registry.at(str(tmp_path))
    whole, odd, last = (registry.publish(one) for one in (SHIPPED, another("2"), another("3")))
    registry.move("champion", odd, at="2026-01-01T00:00:00+00:00", reason="")
    weights = tmp_path / "models" / odd / "weights.safetensors"
    if gone:
        weights.unlink()
    else:
        weights.write_bytes(weights.read_bytes()[:1000])
    at = ["--registry", str(tmp_path)]
    assert cli.main(["models", "list", *at]) == 78
    told = capsys.readouterr()
    listed = {line.split()[0]: line.split()[1:] for line in told.out.splitlines()[2:]}
    assert listed.keys() == {whole[:12], odd[:12], last[:12]}
    assert listed[odd[:12]] == ["-", "DAMAGED", "champion"]
    assert odd[:12] in told.err
    assert cli.main(["models", "list", "--json", *at]) == 78
    found = {one["digest"]: one for one in map(json.loads, capsys.readouterr().out.splitlines())}
    assert found[odd] == {"digest": odd, "name": None, "version": None, "aliases": ["champion"], "damaged": True}
    assert found[whole]["name"] == "pretrained"
    assert cli.main(["models", "show", "champion", *at]) == (66 if gone else 78)
    assert odd[:12] in capsys.readouterr().err


def test_a_model_of_another_schema_is_not_promoted_for_this_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = Registry.at(str(tmp_path / "registry"))
    foreign = replace(another("3"), manifest=replace(SHIPPED.manifest, schema=Schema((Numeric("speed"),), ())))
    digest = registry.publish(foreign)
    config = tmp_path / "config.yaml"
    config.write_text(
        f"source: {{kind: files, paths: [x]}}\nstream: {{key: [k], time: t, numeric: [level]}}\n"
        f"model: {{path: {tmp_path}/registry@champion}}\n"
    )
    assert cli.main(["models", "promote", digest, "--config", str(config)]) == 78
    assert "was trained with stream.numeric" in capsys.readouterr().err
    with pytest.raises(DaemonError):
        registry.resolve("champion")


def test_without_a_registry_the_command_asks_for_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "list"]) == 64
    assert "--registry" in capsys.readouterr().err

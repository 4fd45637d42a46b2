from __future__ import annotations

import errno
import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import model, schema

from anomaly_daemon.checkpoint.models import read_model, write_model
from anomaly_daemon.detection.artifact import Model, decode, encode, pack, unpack
from anomaly_daemon.detection.calibration import assumed
from anomaly_daemon.detection.network import Layout
from anomaly_daemon.detection.observation import Direction, Numeric, Schema
from anomaly_daemon.detection.signals import NAMES
from anomaly_daemon.errors import ConfigurationError, Incompatible


def test_a_model_survives_encoding_to_the_bit() -> None:
    made = model(Layout.JOINT, of=schema(["x"], ["shop"]))
    again = decode(*encode(made))
    assert again.digest == made.digest
    assert again.manifest == made.manifest
    for name, weight in made.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], weight)


def test_a_digest_stands_for_weights_and_manifest() -> None:
    made, other = model(), model()
    assert made.digest == other.digest
    with torch.no_grad():
        next(other.network.parameters()).add_(1e-3)
    assert made.digest != other.digest


def test_a_channel_model_fits_any_schema_and_a_joint_one_its_own() -> None:
    trained = schema(["x", "y"])
    assert model().for_schema(schema(["anything"]))
    assert model(Layout.JOINT, of=trained).for_schema(trained)
    with pytest.raises(Incompatible, match=r"numeric = \[x:none, y:none\].*says \[x:none\]"):
        model(Layout.JOINT, of=trained).for_schema(schema(["x"]))


def test_which_side_of_a_field_counts_is_no_part_of_a_model() -> None:
    above = Schema((Numeric("x", direction=Direction.ABOVE), Numeric("y")))
    made, other = model(Layout.JOINT, of=above), model(Layout.JOINT, of=schema(["x", "y"]))
    assert made.digest == other.digest
    assert made.for_schema(schema(["x", "y"])) is made
    assert other.for_schema(above) is other


def test_how_far_off_a_field_must_be_is_no_part_of_a_model() -> None:
    floored = Schema((Numeric("x", min_deviation=5.0, min_deviation_percent=10.0), Numeric("y")))
    made, other = model(Layout.JOINT, of=floored), model(Layout.JOINT, of=schema(["x", "y"]))
    assert made.digest == other.digest
    assert made.for_schema(schema(["x", "y"])) is made
    assert other.for_schema(floored) is other
    assert unpack(pack(made)).manifest.schema == floored


def test_a_calibration_without_names_is_stored_as_it_was_before_kinds_had_names() -> None:
    """Otherwise every model made before then would get another digest."""
    named, unnamed = model(), replace(model(), calibration=assumed(8))
    told, before = (json.loads(encode(made)[0]) for made in (named, unnamed))
    assert told["format_version"] == 3
    assert tuple(told["calibration"]["names"]) == NAMES
    assert before["format_version"] == 2
    assert "names" not in before["calibration"]
    assert unpack(pack(named)).digest == named.digest
    assert unpack(pack(unnamed)).digest == unnamed.digest


Change = Callable[[dict[str, Any]], object]
CHANGES: list[tuple[Change, str]] = [
    (lambda m: m.update(format_version=99), "format 99"),
    (lambda m: m.pop("network"), "not a model's manifest"),
    (lambda m: m["network"].update(cell="transformer"), "not a model's manifest"),
    (lambda m: m["network"].update(hidden=10**12), "not a model's manifest"),
    (lambda m: m["network"].update(hidden=51), "does not fit"),
    (lambda m: m["calibration"].update(spread_J=[float("inf")] * 3), "not a model's manifest"),
    (lambda m: m["calibration"].update(spread_J=[1.0]), "not a model's manifest"),
    (lambda m: m["calibration"].update(excess_J=[float("inf")] * 10), "not finite"),
    (lambda m: m["calibration"].update(excess_J=[1.0]), "differ in length"),
    (lambda m: m["calibration"]["names"].pop(), "differ in length"),
    (lambda m: m["calibration"].pop("names"), "no release wrote"),
    (lambda m: m["calibration"].update(reached_JK=[[1.0] * 5] * len(NAMES)), "16 levels"),
    (lambda m: m["calibration"].update(excess_J=[[1.0]] * len(NAMES)), "one number"),
    (lambda m: m["calibration"].update(excess_J=[float("nan")] * len(NAMES)), "not finite"),
    (lambda m: m["calibration"].update(excess_J=[-0.1] * len(NAMES)), "negative or zero excess"),
    (lambda m: m["calibration"].update(excess_J=[0.0] * len(NAMES)), "negative or zero excess"),
    (lambda m: m["calibration"].update(largest_J=[-1.0] * len(NAMES)), "negative number"),
    (lambda m: m["calibration"].update(samples=-1), "negative number"),
    (lambda m: m["calibration"].update(shape_J=[-0.1] * len(NAMES)), "shape_J"),
    (lambda m: m["calibration"].update(shape_J=[1.0] * len(NAMES)), "shape_J"),
    (lambda m: m["calibration"].update(extremal_J=[0.0] * len(NAMES)), "extremal_J"),
    (lambda m: m["calibration"].update(extremal_J=[1.5] * len(NAMES)), "extremal_J"),
    (lambda m: m["calibration"]["reached_JK"].__setitem__(0, [0.0] * 16), "reached_JK"),
    (lambda m: m["calibration"]["reached_JK"].__setitem__(0, [-1.0] * 16), "reached_JK"),
    (lambda m: m["calibration"]["reached_JK"].__setitem__(0, [2.0] * 16), "reached_JK"),
    (lambda m: m["calibration"]["reached_JK"][0].reverse(), "reached_JK"),
    (lambda m: m["network"].update(layout="joint"), "needs a schema"),
    (lambda m: m["calibration"]["names"].__setitem__(0, "level"), "must be distinct and contain level, not"),
    (lambda m: m.update(weights_sha256="0"), "checksum"),
    (lambda m: m.update(surprise=1), "not a model's manifest"),
]


@pytest.mark.parametrize(
    ("change", "message"), CHANGES, ids=[message + str(i) for i, (_, message) in enumerate(CHANGES)]
)
def test_a_changed_manifest_is_refused_with_the_reason(change: Change, message: str) -> None:
    manifest, weights = encode(model())
    told = json.loads(manifest)
    change(told)
    with pytest.raises(Incompatible, match=message):
        decode(json.dumps(told).encode(), weights)


JOINT_CHANGES: dict[str, Change] = {
    "a class too many": lambda m: m["vocabulary"]["c"].append("z"),
    "a text for its letters": lambda m: m["vocabulary"].update(c="ab"),
    "no vocabulary": lambda m: m.update(vocabulary={}),
    "another numeric field": lambda m: m["schema"]["numeric"].append({"name": "z", "transform": "none"}),
    "another category": lambda m: m["schema"]["categorical"].append("d"),
    "another layout": lambda m: m["network"].update(layout="channel"),
}


@pytest.mark.parametrize("change", JOINT_CHANGES.values(), ids=JOINT_CHANGES)
def test_a_network_that_is_not_one_for_the_fields_and_classes_of_its_manifest_is_refused(change: Change) -> None:
    """Otherwise scoring ends in a traceback at the first class that the network does not have, or writes past the end
    of an array."""
    manifest, weights = encode(model(Layout.JOINT, of=schema(["x", "y"], ["c"])))
    told = json.loads(manifest)
    change(told)
    with pytest.raises(Incompatible, match="not a model's manifest"):
        decode(json.dumps(told).encode(), weights)


@pytest.mark.parametrize("place", ["name", "version"])
def test_a_name_that_no_alert_can_hold_is_refused(place: str) -> None:
    manifest, weights = encode(model())
    told = json.loads(manifest) | {place: "half \ud800"}
    with pytest.raises(Incompatible, match="not a model's manifest"):
        decode(json.dumps(told).encode(), weights)


def test_weights_that_are_not_finite_are_refused() -> None:
    made = model()
    with torch.no_grad():
        next(made.network.parameters()).fill_(float("nan"))
    with pytest.raises(Incompatible, match="not finite"):
        decode(*encode(made))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=300))
def test_hostile_bytes_are_refused_and_nothing_else(manifest: bytes, weights: bytes) -> None:
    with pytest.raises(Incompatible):
        decode(manifest, weights)


def test_a_model_is_written_whole_and_replaced_whole(tmp_path: Path) -> None:
    first, second = model(), model(of=None)
    with torch.no_grad():
        next(second.network.parameters()).add_(1.0)
    for made in (first, second):
        write_model(made, tmp_path / "model")
        assert read_model(tmp_path / "model").digest == made.digest
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_model_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = model()
    write_model(first, tmp_path / "model")
    with _renames(monkeypatch, fail=lambda count: count == 2), pytest.raises(OSError, match="no room"):
        write_model(another(), tmp_path / "model")
    assert read_model(tmp_path / "model").digest == first.digest
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_process_that_dies_while_it_replaces_a_model_leaves_the_one_of_before_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = model(), another()
    write_model(first, tmp_path / "model")
    with _renames(monkeypatch, fail=lambda count: count >= 2), pytest.raises(OSError, match="no room"):
        write_model(second, tmp_path / "model")  # neither forth nor back, as in a process that dies
    with pytest.raises(ConfigurationError, match="its replacement was interrupted: rename") as told:
        read_model(tmp_path / "model")
    (left,) = tmp_path.iterdir()
    assert str(left) in str(told.value)
    assert read_model(left).digest == first.digest
    write_model(second, tmp_path / "model")
    assert read_model(tmp_path / "model").digest == second.digest
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_a_process_left_that_died_after_it_replaced_a_model_is_tidied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(model(), tmp_path / "model")
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", lambda *_, **__: None)
        write_model(another(), tmp_path / "model")
    assert len(list(tmp_path.iterdir())) == 2
    write_model(model(), tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_link_to_a_model_is_replaced_and_the_model_stays(tmp_path: Path) -> None:
    write_model(model(), tmp_path / "first")
    (tmp_path / "current").symlink_to("first")
    for made in (another(), model(), another()):
        write_model(made, tmp_path / "current")
        assert read_model(tmp_path / "current").digest == made.digest
    assert read_model(tmp_path / "first").digest == model().digest
    assert {path.name for path in tmp_path.iterdir()} == {"first", "current"}


def another() -> Model:
    made = model(of=None)
    with torch.no_grad():
        next(made.network.parameters()).add_(1.0)
    return made


@contextmanager
def _renames(monkeypatch: pytest.MonkeyPatch, fail: Callable[[int], bool]) -> Iterator[None]:
    """Lets those renames fail, counted from 1, of which `fail` is true."""
    counted, rename = itertools.count(1), Path.rename

    def perhaps(self: Path, target: Path) -> Path:
        if fail(next(counted)):
            raise OSError(errno.ENOSPC, "no room")
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", perhaps)
        yield


def test_a_missing_model_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="train --output"):
        read_model(tmp_path / "nowhere")

"""The picture of a replay shows nothing that is not known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from replaying import MemoryRecords, ids, recorded, settings, told

from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.replay.episode import before, replay
from anomaly_daemon.report.replay_picture import Around, draw, line, near, together
from anomaly_daemon.report.trace import Trace


def drawn(kind: str) -> Trace:
    """Return the trace that is drawn for the first episode of this kind."""
    then, records = recorded(told(), ids(told(), kind=kind)[0]), MemoryRecords(told())
    around, earlier = (Around(then.first.stream.key, 0) for _ in range(2))
    outcome = replay(settings(), read_model("pretrained"), then, records, observers=[around], after=True)
    for observations in before(settings(), outcome, records):
        earlier.values(observations, settings().stream.schema_())
    trace = together((earlier.trace(), around.trace()))
    assert trace is not None
    return near(trace, then.messages)


def test_before_the_opening_there_are_values_and_nothing_is_expected() -> None:
    trace = drawn("pattern")
    scored = np.flatnonzero(np.isfinite(trace.surprise_P))
    assert scored[0] > 20
    assert np.isfinite(trace.actual_PF[: scored[0]]).any()
    assert np.isnan(trace.expected_PF[: scored[0]]).all()
    assert np.isfinite(trace.expected_PF[scored]).all()


def test_no_line_is_drawn_across_a_silence() -> None:
    trace = drawn("silence")
    longest = int(np.argmax(np.diff(trace.time_P)))
    assert np.isnan(trace.actual_PF[longest]).all()
    assert (np.diff(trace.time_P) > 0).all()


def test_late_records_are_drawn_at_their_times() -> None:
    then, records = recorded(told(), ids(told(), kind="pattern")[0]), MemoryRecords(told())
    around = Around(then.first.stream.key, 0)
    replay(settings(), read_model("pretrained"), then, records, observers=[around], after=True)
    trace = around.trace()
    assert trace is not None
    mixed = trace.at(np.random.default_rng(0).permutation(len(trace)))
    np.testing.assert_array_equal(near(mixed, then.messages).time_P, near(trace, then.messages).time_P)


def test_records_that_share_a_time_are_joined_by_a_line() -> None:
    then, records = recorded(told(), ids(told(), kind="pattern")[0]), MemoryRecords(told())
    around = Around(then.first.stream.key, 0)
    replay(settings(), read_model("pretrained"), then, records, observers=[around])
    trace = around.trace()
    assert trace is not None
    thrice = trace.at(np.repeat(np.arange(len(trace)), 3))
    assert np.isnan(near(thrice, then.messages).actual_PF).all(axis=1).sum() == 0


def test_a_stream_without_records_has_no_picture() -> None:
    assert together((Around("nobody", 0).trace(), None)) is None


@pytest.mark.parametrize("key", ["cost of $\\frac{a$", "two\nlines", "日本語", "x" * 500])
def test_a_stream_may_have_any_name(tmp_path: Path, key: str) -> None:
    then, records = recorded(told(), ids(told(), kind="pattern")[0]), MemoryRecords(told())
    around = Around(then.first.stream.key, 0)
    outcome = replay(settings(), read_model("pretrained"), then, records, observers=[around], after=True)
    named = tuple(replace(one, stream=replace(one.stream, key=key), reason=f"{key} is odd") for one in then.messages)
    trace = around.trace()
    assert trace is not None
    names = [f"{name} in $\\x{{$" for name in ("temperature", "flow")]
    draw(tmp_path / "a.svg", replace(outcome, then=replace(then, messages=named)), trace, names)
    drawn = (tmp_path / "a.svg").read_text()
    assert "x" * 160 not in drawn


def test_a_name_from_outside_is_one_line_and_ends_where_the_room_does() -> None:
    assert line("short", 5) == "short"
    assert line("longer", 5) == "long…"
    assert line("a\nb\x1b", 5) == "a\ufffdb\ufffd"

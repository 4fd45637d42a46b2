from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_daemon.detection import blocks
from anomaly_daemon.detection.blocks import longer
from anomaly_daemon.detection.state import Column, Slab, StateLayout, bucket_of


def layout() -> StateLayout:
    return StateLayout(
        [Column("hidden", (2, 3)), Column("window", (4,), np.nan)], [Column("count"), Column("ends", (2,), np.inf)]
    )


def test_views_write_into_the_rows_and_scatter_puts_them_back() -> None:
    slab = Slab(layout(), 2)
    at = slab.rows(["a", "b"])
    rows = slab.gather(at)
    rows["count"] += np.array([1.0, 2.0])
    rows.carried("hidden")[1, 0, 2] = 7.0
    assert slab.gather(at)["count"].tolist() == [0.0, 0.0]
    slab.scatter(at, rows)
    assert slab.gather(at)["count"].tolist() == [1.0, 2.0]
    assert slab.gather(at).carried("hidden")[1].tolist() == [[0, 0, 7], [0, 0, 0]]


def test_a_new_row_is_blank_and_the_slab_grows() -> None:
    slab = Slab(layout(), 1)
    rows = slab.gather(slab.rows([f"k{i}" for i in range(9)]))
    assert len(slab) == 9
    assert np.isnan(rows.carried("window")).all()
    assert np.isinf(rows["ends"]).all()
    assert (rows["count"] == 0).all()


def test_who_still_looks_at_a_column_while_the_slab_grows_sees_what_was_there() -> None:
    slab = Slab(layout(), 1)
    at = slab.rows(["a"])
    rows = slab.gather(at)
    rows["count"] = 3.0
    slab.scatter(at, rows)
    kept = slab.column("count")
    slab.rows([f"k{i}" for i in range(9)])
    assert kept.tolist() == [3.0]
    assert slab.gather(at)["count"].tolist() == [3.0]
    assert np.isnan(slab.gather(slab.rows(["k8"])).carried("window")).all()


def test_reset_blanks_only_the_rows_it_is_told_to() -> None:
    slab = Slab(layout())
    rows = slab.gather(slab.rows(["a", "b"]))
    rows["count"] = 5.0
    rows.reset(np.array([True, False]))
    assert rows["count"].tolist() == [0.0, 5.0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcdefgh"))))
def test_every_stream_keeps_its_own_row_through_growth_and_drops(moves: list[tuple[bool, str]]) -> None:
    slab, expected = Slab(layout(), 1), {}
    for step, (drop, key) in enumerate(moves, 1):
        if drop and key in expected:
            slab.drop(slab.rows([key]))
            del expected[key]
        elif not drop:
            at = slab.rows([key])
            rows = slab.gather(at)
            assert rows["count"][0] == expected.get(key, 0.0)
            rows["count"] = float(step)
            slab.scatter(at, rows)
            expected[key] = float(step)
    assert set(slab.row_of) == set(expected)
    assert {slab.key_of[row] for row in slab.live().tolist()} == set(expected)


def test_buckets_depend_on_the_key_alone() -> None:
    slab = Slab(layout())
    at = slab.rows(["pump-1", "pümp\ud800"])
    assert [int(h) % 16 for h in slab.hash_S[at]] == [bucket_of("pump-1", 16), bucket_of("pümp\ud800", 16)]


steps = st.lists(st.tuples(st.sampled_from(["set", "drop"]), st.integers(0, 8), st.integers(0, 30), st.integers(0, 30)))


@given(steps, st.integers(-1, 31))
def test_the_rows_that_are_due_are_those_a_look_at_every_deadline_finds(
    steps: list[tuple[str, int, int, int]], time: int
) -> None:
    slab = Slab(StateLayout([], [Column("one", (), np.inf), Column("two", (), np.inf)]), 1, deadlines=("one", "two"))
    deadlines: dict[str, int] = {}
    for what, stream, one, two in steps:
        row, key = slab.rows([f"k{stream}"]), f"k{stream}"
        if what == "drop":
            slab.drop(row)
            deadlines.pop(key, None)
        else:
            rows = slab.gather(row)
            rows["one"], rows["two"] = one, two
            slab.scatter(row, rows)
            deadlines[key] = min(one, two)
        slab.due(one - 5)  # checks in between change nothing
    assert {slab.key_of[row] for row in slab.due(time).tolist()} == {key for key, at in deadlines.items() if at <= time}


def test_a_small_block_is_copied_when_it_gets_longer() -> None:
    block_SW = np.arange(12.0).reshape(4, 3).copy()
    made = longer(block_SW, 10, most=100)
    assert made.shape == (10, 3)
    np.testing.assert_array_equal(made[:4], block_SW)
    made[0, 0] = 7.0
    assert block_SW[0, 0] == 0.0


def test_a_large_block_gets_longer_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "LARGE_BYTES", 0)
    first = longer(np.arange(12.0).reshape(4, 3).copy(), 10, most=100)
    later = longer(first, 100, most=100)
    assert later.shape == (100, 3)
    assert np.shares_memory(first, later[:10])
    np.testing.assert_array_equal(later[:4], np.arange(12.0).reshape(4, 3))


def test_where_there_may_be_more_rows_than_memory_it_gets_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "LARGE_BYTES", 0)
    made = longer(np.arange(12.0).reshape(4, 3).copy(), 10, most=2**58)
    np.testing.assert_array_equal(made[:4], np.arange(12.0).reshape(4, 3))
    assert longer(made, 11, most=2**58).shape == (11, 3)


def test_the_earliest_of_the_deadlines_is_noted() -> None:
    layout = StateLayout([], [Column("soon", (), np.inf), Column("other"), Column("late", (), np.inf)])
    slab = Slab(layout, deadlines=("soon", "late"))
    row_B = slab.rows(["a", "b", "c"])
    rows = slab.gather(row_B)
    rows["soon"], rows["late"] = [5.0, np.inf, 7.0], [6.0, 3.0, np.inf]
    slab.scatter(row_B, rows)
    assert slab.due_S[row_B].tolist() == [5.0, 3.0, 7.0]
    assert sorted(slab.due(5.0).tolist()) == sorted(row_B[:2].tolist())


def test_a_row_is_known_by_its_key() -> None:
    slab = Slab(layout(), 2)
    row_B = slab.rows(["a", "b"])
    assert slab.known(("b", "x", "a")).tolist() == [row_B[1], -1, row_B[0]]

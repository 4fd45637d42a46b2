"""Observations become series. The parts are cut by time, and nothing of a later part reaches an earlier one."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from codec_batches import decode
from hypothesis import given, settings
from hypothesis import strategies as st
from training_samples import CODES, SCHEMA, SECOND, WORDS, observations, series

from anomaly_daemon.detection.categories import word_code
from anomaly_daemon.detection.errors import UNCOUNTED
from anomaly_daemon.detection.network import Layout
from anomaly_daemon.detection.normalizer import KNOWN_AFTER, Normalizer
from anomaly_daemon.detection.observation import Direction, Numeric, Schema, Transform, category_code
from anomaly_daemon.errors import ConfigurationError
from anomaly_daemon.training.dataset import Cuts, Part, Series, cut_points, gather, vocabulary
from anomaly_daemon.training.rows import NO_CLASS, classes, gaps, network_rows, transformed


def test_a_stream_is_put_in_event_time_order_whatever_the_record_order() -> None:
    one = series("s", 50)
    shuffled = observations([one]).take(np.random.default_rng(1).permutation(50))
    (gathered,), _ = gather([shuffled])
    assert np.array_equal(gathered.time_T, one.time_T)
    assert np.array_equal(gathered.values_TD, one.values_TD)
    assert np.array_equal(gathered.categories_TC, one.categories_TC)


def test_events_of_equal_time_keep_their_record_order() -> None:
    batch = observations([series("s", 4)])
    (gathered,), _ = gather([replace(batch, time_N=np.zeros(4, np.int64))])
    assert np.array_equal(gathered.values_TD, batch.values_ND)


@pytest.mark.parametrize("column", ["time_N", "values_ND", "categories_NC", None])
def test_an_exact_repeat_of_the_event_before_is_left_out_and_counted(column: str | None) -> None:
    one, told = observations([series("s", 6), series("t", 6)]), list[str]()
    one.values_ND[3, 1] = np.nan
    again = np.array([0, 1, 2, 3, 3, 3, 4, 5, *range(6, 12)])
    batch = one.take(again)
    if column is not None:
        getattr(batch, column)[5] = CODES["rare"] if column == "categories_NC" else getattr(batch, column)[5] + 1
    gathered, _ = gather([batch], told.append)
    assert [len(one) for one in gathered] == [6 + (column is not None), 6]
    assert told == [
        f"{1 + (column is None)} of 14 events skipped: exact repeats, with the same time and values as the event before"
    ]


def test_a_file_that_is_read_twice_is_as_one_that_is_read_once() -> None:
    batch = observations([series("s", 60, seed=1), series("t", 60, seed=2)])
    (plain, names), (twice, same) = gather([batch]), gather([batch, batch])
    assert names == same
    for one, other in zip(plain, twice, strict=True):
        assert np.array_equal(one.time_T, other.time_T)
        assert np.array_equal(one.values_TD, other.values_TD)


def test_events_of_one_time_that_take_turns_are_no_repeats() -> None:
    """As in the daemon, each of them differs from the event before it."""
    batch = observations([series("s", 2)]).take(np.array([0, 1, 0, 1]))
    (gathered,), _ = gather([replace(batch, time_N=np.zeros(4, np.int64))])
    assert len(gathered) == 4


def test_a_stream_that_goes_on_in_another_partition_is_one_series() -> None:
    first, second = series("s", 30), series("s", 30, start=30)
    (gathered,), _ = gather([observations([second], partition=1), observations([first], partition=0)])
    assert len(gathered) == 60
    assert np.all(np.diff(gathered.time_T) == SECOND)


def test_streams_come_in_order_of_first_appearance_and_a_key_without_events_is_none() -> None:
    batch = observations([series("b", 3), series("a", 3)])
    gathered, names = gather([replace(batch, keys=("b", "a", "empty"))])
    assert [one.key for one in gathered] == ["b", "a"]
    assert names[CODES["on"]] == "on"


@pytest.mark.timeout(30)  # no step for a stream may go over all events: that would take a quarter of an hour
def test_many_streams_are_gathered_without_looking_at_all_events_for_each() -> None:
    recorded = series("s", 100)
    one = observations([recorded])
    keys = tuple(f"s{place}" for place in range(20_000))
    zeros_N = np.zeros(len(keys), np.int32)
    columns = {"stream_N": np.arange(len(keys), dtype=np.int32), "offset_N": np.arange(len(keys)), "index_N": zeros_N}
    for name in ("time_N", "append_N", "values_ND", "presence_ND", "categories_NC"):
        columns[name] = np.repeat(getattr(one, name)[:1], len(keys), axis=0)
    batch = replace(one, keys=keys, **columns)
    made, _ = gather([replace(batch, time_N=batch.time_N + place * SECOND) for place in range(20)])
    assert [each.key for each in made] == list(keys)
    assert {len(each) for each in made} == {20}


def test_no_observation_at_all_is_an_error_that_says_where_to_look() -> None:
    with pytest.raises(ConfigurationError, match=r"stream\.time"):
        gather([])


def test_the_cuts_leave_the_asked_shares_of_the_events() -> None:
    cuts = cut_points([series("s", 1000)], 0.2, 0.1)
    lengths = [stop - start for start, stop in (cuts.span(series("s", 1000).time_T, part) for part in Part)]
    assert lengths == [700, 200, 100]


def test_the_cuts_are_the_same_instants_for_every_stream() -> None:
    early, late = series("early", 100), series("late", 100, start=100)
    cuts = cut_points([early, late], 0.25, 0.25)
    assert cuts.span(early.time_T, Part.TRAINING) == (0, 100)
    assert cuts.span(late.time_T, Part.VALIDATION) == (0, 50)
    assert cuts.span(late.time_T, Part.TEST) == (50, 100)


@settings(deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), st.integers(0, 50), st.integers(0, 50))
def test_the_parts_are_disjoint_cover_everything_and_no_later_event_is_in_an_earlier_part(
    times: list[int], first: int, second: int
) -> None:
    time_T, cuts = np.array(sorted(times)), Cuts(*sorted((first, second)))
    spans = [cuts.span(time_T, part) for part in Part]
    assert [edge for span in spans for edge in span] == [
        0,
        spans[0][1],
        spans[0][1],
        spans[1][1],
        spans[1][1],
        len(times),
    ]
    assert all(time_T[: spans[0][1]] < cuts.validation)
    assert all(time_T[spans[2][0] :] >= cuts.test)


def test_what_cannot_be_cut_is_an_error() -> None:
    alike = Series("s", np.zeros(100, np.int64), np.zeros((100, 2)), np.zeros((100, 1), np.int64))
    with pytest.raises(ConfigurationError, match="validation_share"):
        cut_points([alike], 0.2, 0.2)


def test_the_vocabulary_is_counted_in_the_training_part_only() -> None:
    codes = np.array([[CODES["on"]]] * 10 + [[CODES["off"]]] * 10)
    one = Series("s", np.arange(20), np.zeros((20, 2)), codes)
    names = {code: text for text, code in CODES.items()}
    words = vocabulary([one], SCHEMA, names, before=15, min_count=5, max_classes=9)
    assert words == {"mode": ["on", "off"]}
    assert vocabulary([one], SCHEMA, names, before=14, min_count=5, max_classes=9) == {"mode": ["on"]}


def test_the_vocabulary_is_bounded_and_keeps_the_most_frequent_texts() -> None:
    codes = np.array([[CODES["off"]]] * 3 + [[CODES["on"]]] * 4 + [[CODES["rare"]]] + [[0]] * 9)
    one = Series("s", np.arange(17), np.zeros((17, 2)), codes)
    names = {code: text for text, code in CODES.items()}
    assert vocabulary([one], SCHEMA, names, before=99, min_count=1, max_classes=2) == {"mode": ["on", "off"]}
    assert vocabulary([one], SCHEMA, names, before=99, min_count=4, max_classes=2) == {"mode": ["on"]}


def test_texts_that_are_not_shown_as_they_are_are_known_to_the_model_by_all_of_them() -> None:
    """The texts are too long, or contain half a character. All are shown with the same beginning, and a text that
    equals what is shown is another one."""
    shared = "x" * 256
    texts = [shared + "a" * 25, shared + "b" * 25, shared + "c" * 25, shared, "half \ud800", "half ?", "half"]
    records = [json.dumps({"t": SECOND + n, "mode": text}).encode() for n, text in enumerate(texts * 4)]
    decoded = decode(records, numeric=["a"], categorical=["mode"], time="t", time_unit="us", keys=[b"s"] * len(records))
    (one,), names = gather([decoded.observations])
    words = vocabulary([one], SCHEMA, names, before=99 * SECOND, min_count=4, max_classes=9)
    assert sorted(classes(one.categories_TC, SCHEMA, words)[:7, 0].tolist()) == [1, 2, 3, 4, 5, 6, 7]
    assert {shared, "half ?", "half"} < set(words["mode"])  # as models of earlier releases have them
    assert max(map(len, words["mode"])) < 300
    assert classes(one.categories_TC, SCHEMA, {"mode": words["mode"][1:]}).tolist().count([0]) == 4


@pytest.mark.parametrize("text", [" #8000000000000000", " #zzzzzzzzzzzzzzzz", " #000000000000000A", "", "#"])
def test_a_long_text_of_a_vocabulary_that_ends_in_no_code_is_a_text(text: str) -> None:
    assert word_code("x" * 256 + text) == category_code("x" * 256 + text)


def test_an_unknown_category_is_a_class_and_a_missing_one_is_none() -> None:
    codes = np.array([[CODES["on"]], [CODES["off"]], [CODES["rare"]], [0]])
    assert classes(codes, SCHEMA, WORDS)[:, 0].tolist() == [1, 2, 0, NO_CLASS]
    assert classes(codes, SCHEMA, {"mode": []})[:, 0].tolist() == [0, 0, 0, NO_CLASS]


def test_a_value_is_normalised_by_the_values_before_it_only() -> None:
    whole = series("s", 80)
    changed = Series("s", whole.time_T, whole.values_TD.copy(), whole.categories_TC)
    changed.values_TD[50:] = 1e6
    before, after = (network_rows([one], SCHEMA, WORDS, Normalizer(), Layout.JOINT)[0] for one in (whole, changed))
    assert np.array_equal(before.values_TD[:50], after.values_TD[:50])
    assert np.array_equal(before.context_TX, after.context_TX)
    assert not np.array_equal(before.values_TD[50:], after.values_TD[50:])


def test_a_series_is_normalised_alike_alone_and_beside_longer_ones() -> None:
    streams = [series("long", 90, seed=1), series("short", 40, seed=2), series("other", 70, seed=3)]
    together = network_rows(streams, SCHEMA, WORDS, Normalizer(), Layout.JOINT)
    assert [row.key for row in together] == ["long", "short", "other"]
    for one, row in zip(streams, together, strict=True):
        (alone,) = network_rows([one], SCHEMA, WORDS, Normalizer(), Layout.JOINT)
        for name in ("values_TD", "mask_TD", "context_TX", "classes_TC"):
            assert np.array_equal(getattr(alone, name), getattr(row, name)), name


def test_far_to_the_side_that_does_not_count_a_network_learns_what_it_will_see() -> None:
    one = Series(
        "s", np.arange(60) * SECOND, np.random.default_rng(0).normal(size=(60, 2)), np.zeros((60, 0), np.int64)
    )
    one.values_TD[40] = -50.0
    schema = Schema((Numeric("a", direction=Direction.ABOVE), Numeric("b")))
    (row,) = network_rows([one], schema, {}, Normalizer(), Layout.JOINT)
    assert row.values_TD[40, 0] == np.float32(-UNCOUNTED)
    assert row.values_TD[40, 1] < -3.0
    assert row.values_TD[:, 0].max() > UNCOUNTED / 2


def test_missing_values_and_the_first_ones_of_a_stream_are_masked() -> None:
    one = series("s", 40)
    one.values_TD[20, 1] = np.nan
    (row,) = network_rows([one], SCHEMA, WORDS, Normalizer(), Layout.JOINT)
    assert not row.mask_TD[:KNOWN_AFTER].any()
    assert row.mask_TD[20].tolist() == [1.0, 0.0]
    assert row.values_TD[20, 1] == 0.0
    assert row.mask_TD[21].tolist() == [1.0, 1.0]


def test_the_channel_layout_has_a_row_for_each_numeric_feature() -> None:
    joint = network_rows([series("s", 40)], SCHEMA, WORDS, Normalizer(), Layout.JOINT)[0]
    first, second = network_rows([series("s", 40)], SCHEMA, WORDS, Normalizer(), Layout.CHANNEL)
    assert np.array_equal(first.values_TD[:, 0], joint.values_TD[:, 0])
    assert np.array_equal(second.values_TD[:, 0], joint.values_TD[:, 1])
    assert first.classes_TC.shape == (40, 0)


def test_the_log_transform_is_signed_and_only_where_the_schema_asks() -> None:
    schema = Schema((Numeric("a", Transform.LOG), Numeric("b")))
    assert np.allclose(transformed(np.array([[-np.e + 1, 5.0], [0.0, np.nan]]), schema)[0], [-1.0, 5.0])
    assert np.isnan(transformed(np.array([[0.0, np.nan]]), schema)[0, 1])


def test_the_typical_gap_is_the_mean_of_the_gaps_before() -> None:
    one = Series("s", np.array([0, 2, 6, 12, 20]), np.zeros((5, 0)), np.zeros((5, 0), np.int64))
    gap_ST, typical_ST = gaps([one])
    assert gap_ST[0].tolist() == [0, 2, 4, 6, 8]
    assert typical_ST[0].tolist() == [0, 0, 2, 3, 4]

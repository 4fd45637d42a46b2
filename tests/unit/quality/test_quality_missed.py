"""The page of missed events: which event raised the score least, and where it lies."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
from labelled import labels, wave

from benchmarks.quality.figures import Result
from benchmarks.quality.missed import AROUND, POINTS, worst
from benchmarks.quality.outcome import Outcome
from benchmarks.quality.page import page
from benchmarks.quality.series import Series
from benchmarks.quality.sheet import sheet

EVENTS = 2000


def stream(name: str, *events: tuple[int, int]) -> Series:
    return replace(wave(name, EVENTS, fields=5), label_N=labels(EVENTS, *events))


def outcome(*alarms: int, peaks: dict[int, float]) -> Outcome:
    score_N, opened_N = np.full(EVENTS, 0.5), np.zeros(EVENTS, bool)
    for place, peak in peaks.items():
        score_N[place] = peak
    opened_N[list(alarms)] = True
    return Outcome(score_N, opened_N, opened_N, 1.0)


def test_the_worst_is_the_missed_event_that_raised_least() -> None:
    near = stream("near", (700, 720), (900, 920)), outcome(910, peaks={705: 4.0, 910: 6.0})
    far = stream("far", (500, 520), (900, 920)), outcome(peaks={510: 3.0, 905: 2.0})
    first, second = worst(*zip(near, far, strict=True))
    assert (first.series, first.span, first.peak) == ("far", (900, 920), 2.0)
    assert (second.series, second.span, second.peak) == ("near", (700, 720), 4.0)


def test_what_was_found_or_lies_before_the_scored_part_was_not_missed() -> None:
    assert not worst([stream("a", (20, 30), (500, 520))], [outcome(510, peaks={})])


def test_a_picture_shows_the_field_that_the_event_changed_with_what_surrounds_it() -> None:
    one = stream("a", (900, 920))
    one.values_ND[900:921, 3] += 50.0
    (missed,) = worst([one], [outcome(peaks={})])
    assert 3 in missed.fields
    assert len(missed.time_P) == 21 + 2 * AROUND
    assert missed.label_P.sum() == 21
    assert "field 3" in missed.picture()


def test_a_field_that_never_moves_is_not_in_the_picture() -> None:
    one = stream("a", (900, 920))
    one.values_ND[:, :4] = 7.0
    (missed,) = worst([one], [outcome(peaks={})])
    assert missed.fields == (4,)


def test_a_long_event_is_drawn_with_fewer_points() -> None:
    (missed,) = worst([stream("a", (150, 1949))], [outcome(peaks={})])
    assert len(missed.time_P) <= POINTS


def test_the_page_has_the_picture_beside_the_table() -> None:
    missed = worst([stream("<b>", (900, 920))], [outcome(peaks={905: 1.5})])
    told = page([Result("asd", "anomaly-daemon", {"vus_pr": 0.5}, missed=missed)])
    assert "missed: &lt;b&gt;, rows 900 to 920; highest surprise 1.5" in told
    assert 'class="plot"' in told


def test_a_sheet_shows_the_worst_of_each_set_below_one_another() -> None:
    wide, narrow = stream("<b>", (900, 920)), stream("d", (400, 400))
    narrow.values_ND[:, :4] = 7.0
    found = [worst([one], [outcome(peaks={})]) for one in (wide, narrow)]
    results = [Result(name, "ours", {}, missed=missed) for name, missed in zip(("asd", "smd"), found, strict=True)]
    drawn = ElementTree.fromstring(sheet([*results, Result("nab", "random", {})]))
    space = "{http://www.w3.org/2000/svg}"
    titles = [one.text for one in drawn.findall(f"{space}text")]
    assert titles == ["asd: <b>, rows 900 to 920; highest surprise 0.5", "smd: d, row 400; highest surprise 0.5"]
    first, second = drawn.findall(f"{space}svg")
    assert float(second.attrib["y"]) > float(first.attrib["y"]) + float(first.attrib["height"])
    assert float(drawn.attrib["height"]) == float(second.attrib["y"]) + float(second.attrib["height"])

"""The report page: it is self-contained, safe against any stream name, and complete."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_samples import HOUR, MODEL, START, observations, seen, step

from anomaly_daemon.detection.observation import Presence
from anomaly_daemon.report.html import MOST_PLOTS, page, worth_showing
from anomaly_daemon.report.matching import Window, match
from anomaly_daemon.report.scale import MOST_LETTERS, Scale, bounds, number, ticks, time_ticks, value_ticks
from anomaly_daemon.report.summary import Outcome, as_json, duration, share
from anomaly_daemon.report.svg import stream_plot
from anomaly_daemon.report.tally import Tally
from anomaly_daemon.report.trace import Trace, points
from anomaly_daemon.settings import StreamSettings
from anomaly_daemon.transport.legible import Legible

NASTY = "<script>alert('x')</script>"
NAMES = ["temperature", "pressure"]


def trace(count: int = 200) -> Trace:
    return points(observations(["a"] * count, range(count)), step([None] * 20 + [0.5] * (count - 20)))


def outcome(labelled: bool = True, stream: str = "a") -> Outcome:
    tally = Tally()
    tally(observations([stream] * 200, range(0, 4000, 20)), step([None] * 20 + [0.5] * 180))
    episodes = (seen(stream, 1), seen(stream, 40, kind="silence", hours=None))
    windows = [Window(stream, START, START + 2 * HOUR), Window(stream, START + 5 * HOUR, START + 6 * HOUR)]
    matched = match(windows, episodes) if labelled else None
    return Outcome("plant", MODEL, tally, 7, episodes, 1.0, matched, ("gone",), 2.0)


class Wellformed(HTMLParser):
    """A parser that fails where the element that is closed is not the open one."""

    VOID = frozenset({"meta", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_fetches_and_runs_nothing() -> None:
    text = page(outcome(), {"a": trace()}, NAMES)
    parser = Wellformed()
    parser.feed(text)
    assert parser.open == []
    assert not {"script", "link", "img", "iframe", "object"} & set(parser.seen)
    assert not re.search(r"(?:src|href)\s*=|url\(|@import", text)


def test_the_page_has_tiles_labels_plots_and_episodes() -> None:
    text = page(outcome(), {"a": trace()}, NAMES)
    for words in ("200", "labels found", "1 of 2", "precision", "median delay", "missed", "false alarm", "budget 1"):
        assert words in text
    assert text.count("<svg") == 1
    assert "Labelled but not in the records: gone" in text
    assert "outside the time range" not in text


def test_the_page_tells_of_labels_of_other_times() -> None:
    text = page(replace(outcome(), outside=2), {"a": trace()}, NAMES)
    assert "2 labelled windows are outside the time range of the records, and not counted" in text


def test_the_page_tells_of_what_the_console_doubts_and_of_nothing_else() -> None:
    legible = Legible(StreamSettings(numeric=["temperature", NASTY]))
    legible.read(
        replace(observations(["a"] * 200, range(200)), presence_ND=np.full((200, 2), Presence.ABSENT, np.uint8))
    )
    legible.refused("malformed", f"what is {NASTY}?")
    text = page(replace(outcome(), legible=legible), {"a": trace()}, NAMES)
    told = text[text.index('<ul class="card doubts">') : text.index("</ul>")]
    assert "7 records could not be read (1 malformed; for example: what is &lt;script&gt;" in told
    assert "Stream.numeric temperature: present in none of 200 events" in told
    assert "<script" not in text
    assert "doubts" not in page(outcome(), {"a": trace()}, NAMES).replace("ul.doubts", "")


def test_the_page_tells_that_most_events_have_no_score_and_that_most_records_are_unreadable() -> None:
    tally = Tally()
    tally(observations(["a"] * 200, range(200)), step([None] * 190 + [0.5] * 10))
    assert "of 200 events were not scored" in page(replace(outcome(), tally=tally), {"a": trace()}, NAMES)
    legible = Legible(StreamSettings(numeric=["temperature"]))
    for _ in range(300):
        legible.refused("bad_time", "the time cannot be read")
    told = page(replace(outcome(), rejected=300, legible=legible), {"a": trace()}, NAMES)
    assert "300 of 500 records could not be read (300 bad_time; for example: the time cannot be read" in told
    assert told.count("could not be read") == 1


def test_one_episode_is_called_one() -> None:
    told = outcome()
    text = page(replace(told, episodes=told.episodes[:1]), {"a": trace()}, NAMES)
    assert "<span>1 episode</span>" in text
    assert "<span>2 episodes</span>" in page(told, {"a": trace()}, NAMES)


def test_a_stream_says_how_many_episodes_it_had_in_words() -> None:
    two = outcome()
    assert "<span>2 episodes</span>" in page(two, {"a": trace()}, NAMES)
    one = replace(two, episodes=two.episodes[:1])
    assert "<span>1 episode</span>" in page(one, {"a": trace()}, NAMES)


def test_without_labels_nothing_is_said_about_quality() -> None:
    text = page(outcome(labelled=False), {"a": trace()}, NAMES)
    assert "precision</span>" not in text
    assert "<h2>Labels" not in text


def test_what_a_stream_is_called_is_text_and_never_markup() -> None:
    text = page(outcome(stream=NASTY), {NASTY: trace()}, [NASTY, "pressure"])
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_labelled_streams_are_shown_first_and_then_the_most_severe() -> None:
    assert worth_showing(outcome(), ["calm", "a"])[0] == "a"
    assert len(worth_showing(outcome(), [f"s{place}" for place in range(99)])) == MOST_PLOTS


def test_one_severe_episode_comes_before_two_mild_ones() -> None:
    mild, severe = replace(seen("mild", 1), severity=20.0), replace(seen("severe", 1), severity=90.0)
    told = replace(outcome(labelled=False), episodes=(mild, mild, severe))
    assert worth_showing(told, ["mild", "severe"]) == ["severe", "mild"]


def test_a_plot_lifts_the_pen_where_nothing_was_expected() -> None:
    drawn = stream_plot(trace(), NAMES, [], [])
    expected = re.search(r'class="expected" d="([^"]*)"', drawn)
    assert expected is not None
    assert expected[1].count("M") == 1
    assert expected[1].count("L") == 179, "the first twenty were not scored"
    assert "nan" not in drawn


def test_a_plot_shows_a_short_episode_and_one_that_never_closed() -> None:
    drawn = stream_plot(trace(), NAMES, [], [seen("a", 1, hours=0), seen("a", 2, hours=None)])
    widths = [float(width) for width in re.findall(r'class="episode pattern"[^>]*width="([\d.]+)"', drawn)]
    assert len(widths) == 2
    assert widths[0] >= 2
    assert widths[1] > 100


def test_a_constant_series_and_one_of_nothing_known_can_be_drawn() -> None:
    constant = points(observations(["a"] * 3, [0, 0, 0]), step([None] * 3))
    constant.actual_PF[:, 0] = np.nan
    assert "nan" not in stream_plot(constant, NAMES, [], [])


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 7), (1e-9, 2e-9), (5e8, 6e8), (99.7, 100.2)])
def test_ticks_are_round_inside_and_few(low: float, high: float) -> None:
    places = ticks(low, high)
    assert 2 <= len(places) <= 6
    assert all(low - 1e-12 <= place <= high * (1 + 1e-12) for place in places)


def test_time_ticks_fall_on_whole_hours_or_days() -> None:
    assert [text for _, text in time_ticks(START, START + 6 * HOUR)] == [f"{hour:02d}:00" for hour in range(7)]
    assert time_ticks(START, START + 6 * 24 * HOUR)[1][1] == "04 Mar"


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0.0, 6.0, ["0", "2", "4", "6"]),
        (1013.1, 1013.65, ["1,013.2", "1,013.4", "1,013.6"]),
        (1013.1, 1013.7, ["1,013.5"]),
        (-0.5, 0.5, ["-0.5", "0.0", "0.5"]),
        (9_000.0, 31_000.0, ["10,000", "20,000", "30,000"]),
        (-1e8, 1.1e9, ["0", "5e8", "1e9"]),
        (1e15, 1.001e15, ["1e15", "1.0005e15", "1.001e15"]),
        (-3e-9, 3e-9, ["-2e-9", "0", "2e-9"]),
    ],
)
def test_ticks_can_be_told_apart_and_fit_in_the_margin(low: float, high: float, texts: list[str]) -> None:
    assert [text for _, text in value_ticks(low, high)] == texts
    assert max(map(len, texts)) <= MOST_LETTERS


@given(st.floats(-1e12, 1e12), st.floats(1e-3, 1e12))
def test_no_two_ticks_have_the_same_text(low: float, span: float) -> None:
    texts = [text for _, text in value_ticks(low, low + span)]
    assert len(set(texts)) == len(texts)


def test_a_scale_is_a_straight_line_and_bounds_ignore_what_is_not_known() -> None:
    assert Scale(0, 10, 100, 200)(5.0) == 150
    assert bounds([np.nan, 1.0, 3.0]) == (pytest.approx(0.88), pytest.approx(3.12))
    assert bounds([np.nan]) == (0, 1)


def test_numbers_are_written_for_people_and_a_dash_is_what_is_not_known() -> None:
    assert [number(value) for value in (None, float("nan"), 0.123456, 12345.6)] == ["–", "–", "0.1235", "12,346"]
    assert [duration(value) for value in (None, 45, 720, 12_600, 400_000)] == ["–", "45 s", "12 min", "3.5 h", "4.63 d"]
    assert [share(value) for value in (None, 0.0, 0.5)] == ["–", "0%", "50%"]


def test_the_summary_object_says_what_is_not_known_as_null() -> None:
    blank = Outcome("plant", MODEL, Tally(), 0, (), 1.0, None, (), 0.0)
    summary = as_json(blank)
    assert summary["labels"] is None
    assert summary["alarms_per_stream_per_day"] == {"budget": 1.0, "realised": None}
    boundless = as_json(replace(blank, alarms_per_day=math.inf))
    assert boundless["alarms_per_stream_per_day"]["budget"] is None
    json.dumps(boundless, allow_nan=False)


def test_the_realised_rate_counts_pattern_episodes_over_stream_days() -> None:
    result = outcome()
    days = 199 * 20 / 1440
    assert result.tally.stream_days == pytest.approx(days)
    assert result.realised == pytest.approx(1 / days), "the silence is no matter of the budget"


def test_the_time_between_two_recordings_of_a_stream_is_not_one_in_which_it_was_watched() -> None:
    tally, year = Tally(), 365 * 24 * 60
    for partition, first in enumerate((0, year, year)):
        recording = observations(["a", "b"] * 2, [first, first, first + 1440, first + 720])
        tally(replace(recording, partition=partition), step([0.5] * 4))
    assert tally.streams == ("a", "b")
    assert tally.stream_days == pytest.approx(3 * 1.5)
    assert tally.spans["b"][0] == (START, START + 12 * HOUR)
    assert tally.recordings[0] == (START, START + 24 * HOUR)
    other = replace(observations(["c"], [5]), partition=9)
    tally(other, step([0.5]))
    assert tally.recordings_of == {"a": tally.recordings[:3], "b": tally.recordings[:3], "c": tally.recordings[3:]}
    assert tally.span == (START, START + 366 * 24 * HOUR)


def test_a_run_without_an_event_has_no_time_span() -> None:
    blank = Outcome("plant", MODEL, Tally(), 3, (), 1.0, None, (), 0.0)
    told = as_json(blank)
    assert (told["from"], told["to"]) == (None, None)
    assert "1970" not in page(blank, {}, [])


@pytest.mark.parametrize(
    ("value", "text"), [(9999.4, "9999"), (9999.6, "10,000"), (-9999.6, "-10,000"), (10_000.4, "10,000")]
)
def test_a_number_that_is_rounded_up_to_five_digits_has_no_exponent(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(("days", "text"), [(99.96, "100 d"), (999.6, "1,000 d"), (20_000, "20,000 d")])
def test_a_duration_of_a_thousand_days_has_no_exponent(days: float, text: str) -> None:
    assert duration(days * 86_400) == text


def test_late_records_are_drawn_within_the_plot_at_their_times() -> None:
    whole = trace(100)
    late_last = whole.at(np.append(np.arange(20, 100), np.arange(20)))
    assert stream_plot(late_last, NAMES, [], []) == stream_plot(whole, NAMES, [], [])

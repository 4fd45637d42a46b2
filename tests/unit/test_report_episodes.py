"""Alerts are combined into episodes again, and into lines that a person reads."""

from __future__ import annotations

from dataclasses import replace

from report_samples import HOUR, START, alert

from anomaly_daemon.detection.alert import Event, Kind
from anomaly_daemon.report.episodes import EpisodeBook, iso, micros
from anomaly_daemon.report.lines import alert_json, line


def test_open_update_and_close_are_one_episode() -> None:
    book = EpisodeBook()
    for event in Event:
        book.add(alert(event, hour=5))
    (episode,) = book.episodes
    assert (episode.opened, episode.start, episode.end) == (START + 5 * HOUR, START + 3 * HOUR, START + 6 * HOUR)
    assert episode.severity == 80.0, "the peak, not the opening's 60"
    assert episode.feature is not None
    assert episode.feature.name == "temperature", "the largest share leads"


def test_an_episode_that_never_closed_is_still_open() -> None:
    book = EpisodeBook()
    book.add(alert(Event.OPEN))
    book.add(alert(Event.UPDATE))
    assert [episode.end for episode in book.episodes] == [None]


def test_a_close_comes_with_when_the_episode_opened() -> None:
    book = EpisodeBook()
    book.add(alert(Event.OPEN, hour=1))
    closing = alert(Event.CLOSE, hour=1)
    book.add(replace(closing, times=replace(closing.times, event=iso(START + 9 * HOUR))))
    assert book.episodes[0].opened == START + HOUR


def test_times_survive_the_way_to_text_and_back() -> None:
    assert micros(iso(START)) == START
    assert micros("2025-03-03T01:00:00.000001+01:00") == START + 1


def test_an_opening_says_stream_kind_severity_and_the_reason_whole() -> None:
    """The line includes the values with which the reason compares: a value may be well inside the network's own
    interval."""
    said = "temperature is 81.2, expected 63.1 (58 to 84), unusual over the last events"
    text = line(replace(alert(Event.OPEN, "press-7", hour=6), reason=said))
    assert text == f"03-03 06:00  open   press-7     pattern  severity  60  {said}"


def test_a_closing_says_peak_and_length_and_an_update_says_nothing() -> None:
    assert line(alert(Event.CLOSE, hour=6)) == "03-03 06:00  close  press-1     pattern  peak      80  4 events in 3 h"
    assert line(alert(Event.UPDATE)) is None


def test_what_is_no_matter_of_values_is_told_by_its_reason() -> None:
    text = line(replace(alert(kind=Kind.SILENCE), reason="no record for 40 min"))
    assert text is not None
    assert text.endswith("no record for 40 min")


def test_an_alert_as_an_object_names_the_leading_feature() -> None:
    flat = alert_json(alert(Event.OPEN, hour=6))
    assert (flat["stream"], flat["feature"], flat["actual"], flat["expected"]) == (
        "press-1",
        "temperature",
        81.25,
        63.1,
    )
    assert flat["end"] is None

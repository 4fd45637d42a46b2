"""Mute windows as an operator writes them, and the messages about wrong ones."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from math import inf
from pathlib import Path

import jsonschema
import pytest
import yaml

from anomaly_daemon.configuration import config_digest, json_schema, load, resolved
from anomaly_daemon.detection.rules import EVERY_DAY, MuteRule, Rules
from anomaly_daemon.errors import ConfigurationError
from anomaly_daemon.regime import rules_of
from anomaly_daemon.settings import Settings

BASE = "source: {topic: readings}\nstream: {numeric: [level], timezone: Europe/Berlin}\n"


@pytest.fixture
def written(tmp_path: Path):
    """Loads a configuration with these mute windows, each given as a text."""

    def write(*windows: str) -> Settings:
        file = tmp_path / "daemon.yaml"
        file.write_text(BASE + "detection:\n  mute:\n" + "".join(f"    - {one}\n" for one in windows), encoding="utf-8")
        return load(file, (), {})

    return write


def rule(written, window: str) -> MuteRule:
    (one,) = rules_of(written(window)).mute
    return one


def utc(*moment: int) -> int:
    return round(datetime(*moment, tzinfo=UTC).timestamp() * 1e6)  # type: ignore[misc, arg-type]


def test_without_windows_the_rules_have_none() -> None:
    assert load(None, ['stream.numeric=["level"]', "source.topic=readings"], {}).mute_rules() == ()


def test_one_that_recurs_is_of_seconds_of_the_day_and_days_from_monday(written) -> None:
    night = '{name: backup, from: "22:00", to: "03:30:15", weekdays: [tue, mon], streams: ["db/*"], learn: true}'
    assert rule(written, night) == MuteRule("backup", None, None, 79_200, 12_615, (0, 1), ("db/*",), True)
    assert rule(written, '{name: a, from: "00:00", to: "24:00"}') == MuteRule("a", begin=0, until=86_400)
    assert rule(written, "{name: a, weekdays: [sun]}") == MuteRule("a", begin=0, until=86_400, weekdays=(6,))


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-12-24T18:00", "2027-01-02"),
        ("2026-12-24 18:00:00", "2027-01-02T00:00:00"),
        ("'2026-12-24T17:00Z'", "'2027-01-02'"),
        ("2026-12-24T17:00:00Z", "2027-01-02T01:00:00+02:00"),
    ],
)
def test_moments_are_of_the_time_zone_of_the_streams_where_they_have_no_offset(written, start: str, end: str) -> None:
    one = rule(written, f"{{name: shutdown, start: {start}, end: {end}}}")
    assert (one.start, one.end, one.begin) == (utc(2026, 12, 24, 17), utc(2027, 1, 1, 23), None)


@pytest.mark.parametrize(
    ("start", "end", "first", "over"),
    [
        ("2026-10-25T02:30", "2026-10-25T02:45", (2026, 10, 25, 0, 30), (2026, 10, 25, 1, 45)),  # shown twice
        ("2026-03-29T02:15", "2026-03-29T02:30", (2026, 3, 29, 1, 15), (2026, 3, 29, 1, 30)),  # skipped
        ("2026-10-25T02:30+02:00", "2026-10-25T02:45+02:00", (2026, 10, 25, 0, 30), (2026, 10, 25, 0, 45)),
    ],
)
def test_a_time_that_the_clock_shows_twice_begins_it_at_the_first_and_ends_it_at_the_second(
    written, start: str, end: str, first: tuple[int, ...], over: tuple[int, ...]
) -> None:
    found = rule(written, f"{{name: once, start: '{start}', end: '{end}'}}")
    assert (found.start, found.end) == (utc(*first), utc(*over))


def test_one_that_recurs_may_have_one_bound_or_both_and_one_that_is_over_is_no_error(written) -> None:
    assert rule(written, "{name: a, weekdays: [sat], start: 2020-01-01}").end is None
    assert rule(written, '{name: a, from: "02:00", to: "03:00", end: 2020-01-01}').end == utc(2019, 12, 31, 23)
    assert rule(written, "{name: a, start: 1999-01-01, end: 2000-01-01}").weekdays == EVERY_DAY


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ("{name: a}", "mute[0]: names no time: give start and end, or from and to, or weekdays"),
        ("{weekdays: [sun]}", "mute[0].name: is required"),
        ("{name: '', weekdays: [sun]}", "mute[0].name: must not be empty"),
        ('{name: a, from: "02:00"}', "mute[0]: from needs to: give both, or weekdays alone for whole days"),
        ('{name: a, to: "02:00"}', "mute[0]: to needs from"),
        ('{name: a, from: 22:00, to: "23:00"}', 'mute[0].from: must be a time of day in quotes, such as "22:00"'),
        ('{name: a, from: "2:00", to: "23:00"}', "mute[0].from: must be a time of day such as"),
        ('{name: a, from: "02:00", to: "24:01"}', "mute[0].to: must be a time of day such as"),
        ('{name: a, from: "24:00", to: "03:00"}', 'mute[0].from: a day begins at "00:00"; 24:00 is its end'),
        ('{name: a, from: "02:00", to: "02:00:00"}', "mute[0]: from and to are both 02:00:00: for the whole day"),
        ("{name: a, weekdays: [monday]}", "mute[0].weekdays[0]: 'monday' is no day of the week; did you mean mon?"),
        ("{name: a, weekdays: [5]}", "mute[0].weekdays[0]: 5 is no day of the week; mon, tue"),
        ("{name: a, weekdays: [[mon, tue]]}", "mute[0].weekdays[0]: ['mon', 'tue'] is no day of the week; "),
        ("{name: a, weekdays: [{mon: tue}]}", "mute[0].weekdays[0]: {'mon': 'tue'} is no day of the week; "),
        ("{name: a, weekdays: []}", "mute[0].weekdays: must hold at least 1"),
        ("{name: a, weekdays: [sun], streams: []}", "mute[0].streams: must hold at least 1"),
        ("{name: a, weekdays: [sun], streams: ['']}", "mute[0].streams[0]: must not be empty"),
        (
            "{name: a, weekdays: [sun], stream: [x]}",
            "mute[0].stream: unknown key; did you mean detection.mute[0].streams?",
        ),
        ('{name: a, form: "02:00", to: "03:00"}', "mute[0].form: unknown key; did you mean detection.mute[0].from?"),
        ("{name: a, start: 2026-12-24}", "mute[0]: names no time"),
        ("{name: a, start: tomorrow, end: 5}", "mute[0].start: must be a time in ISO 8601 such as 2026-12-24T18:00"),
        (
            "{name: a, start: 2026-12-24T18:00:00, end: 2026-12-24}",
            "mute[0]: end (2026-12-24T00:00:00) is not after start (2026-12-24T18:00:00)",
        ),
        (
            "{name: a, start: 2026-12-24T18:00:00Z, end: 2026-12-24T18:30:00}",
            "detection.mute, a: end (2026-12-24T18:30:00) is not after start (2026-12-24T18:00:00+00:00)",
        ),
    ],
)
def test_a_wrong_one_is_an_error_that_names_its_key_and_what_to_write(written, window: str, expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        written(window)
    assert expected in str(caught.value)


def test_a_name_stands_once(written) -> None:
    with pytest.raises(ConfigurationError, match=r"daemon.yaml:\d: detection.mute: windows named twice: a"):
        written("{name: a, weekdays: [sun]}", "{name: b, weekdays: [sun]}", "{name: a, weekdays: [mon]}")


def test_what_is_printed_is_a_configuration_again_and_fits_the_schema(written, tmp_path: Path) -> None:
    settings = written(
        '{name: a, from: "02:00", to: "03:00"}', "{name: b, start: 2026-12-24T18:00:00, end: 2027-01-02}"
    )
    told = resolved(settings)
    assert told["detection"]["mute"][0] == {
        "name": "a",
        "from": "02:00",
        "to": "03:00",
        "streams": ["*"],
        "learn": False,
    }
    again = tmp_path / "again.yaml"
    again.write_text(yaml.safe_dump(told), encoding="utf-8")
    assert rules_of(load(again, (), {})) == rules_of(settings)
    jsonschema.validate({"detection": {"mute": told["detection"]["mute"]}}, json_schema() | {"required": []})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(
            {"detection": {"mute": [{"name": "a", "weekdays": ["monday"]}]}}, json_schema() | {"required": []}
        )


def test_windows_may_come_from_the_environment_too() -> None:
    window = json.dumps([{"name": "a", "weekdays": ["sun"]}])
    base = ['stream.numeric=["level"]', "source.topic=readings"]
    assert rules_of(load(None, base, {"ANOMALY_DAEMON__DETECTION__MUTE": window})).mute[0].weekdays == (6,)


def test_windows_are_part_of_the_rules_and_of_the_digest(written) -> None:
    one, other = written('{name: a, from: "02:00", to: "03:00"}'), written('{name: a, from: "02:00", to: "03:01"}')
    assert config_digest(one) != config_digest(other)
    stored = json.loads(json.dumps(rules_of(one).as_mapping()))
    assert Rules.of_mapping(stored) == rules_of(one) != rules_of(other)


def test_the_example_of_the_docs_is_a_configuration(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
    example = page.split("## Mute windows")[1].split("```yaml\n")[1].split("```")[0]
    (tmp_path / "daemon.yaml").write_text(BASE + example, encoding="utf-8")
    settings = load(tmp_path / "daemon.yaml", (), {})
    names = [one.name for one in rules_of(settings).mute]
    assert settings.mute_doubts() == ()
    assert names == ["nightly backup", "shutdown", "weekends of the pilot"]


@pytest.mark.parametrize(
    ("window", "days"),
    [
        ("{name: a, start: 2026-12-24T18:00, end: 2027-01-02}", 8.25),
        ('{name: a, from: "22:00", to: "04:00"}', 0.25),
        ('{name: a, from: "12:00", to: "24:00", weekdays: [mon]}', 0.5),
        ("{name: a, weekdays: [sat, sun]}", 2),
        ("{name: a, weekdays: [sat, mon, sun, wed]}", 3),
        ("{name: a, weekdays: [sat, sun], start: 2026-09-05, end: 2026-09-06}", 1),
        ('{name: a, from: "00:00", to: "24:00"}', inf),
        ('{name: a, from: "00:00", to: "24:00", start: 2026-03-01, end: 2026-03-11}', 10),
    ],
)
def test_how_long_one_lasts_without_a_pause(written, window: str, days: float) -> None:
    assert rule(written, window).longest_seconds() == days * 86_400


def test_one_as_long_as_a_stream_is_remembered_is_doubtful(written) -> None:
    shutdown = "{name: shutdown, start: 2026-12-24T18:00, end: 2026-12-31T18:00}"
    (doubt,) = written(shutdown, "{name: b, weekdays: [sun]}").mute_doubts()
    assert doubt.startswith("shutdown covers 7 days or more (limits.idle_stream_seconds): ")
    assert written("{name: a, start: 2026-12-24T18:00, end: 2026-12-31}").mute_doubts() == ()


def test_the_windows_that_are_shown_are_shorter(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    for page in ("configs/sensors.yaml", "deploy/kubernetes/base/sensors.yaml"):
        text = (root / page).read_text(encoding="utf-8").split("  # mute:\n")[1].split("\n\n")[0]
        lines = "".join(f"{line.replace('#', ' ', 1)}\n" for line in text.splitlines())
        (tmp_path / "daemon.yaml").write_text(f"{BASE}detection:\n  mute:\n{lines}", encoding="utf-8")
        assert len((settings := load(tmp_path / "daemon.yaml", (), {})).mute_rules()) == 2
        assert settings.mute_doubts() == ()

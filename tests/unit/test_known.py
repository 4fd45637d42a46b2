"""What training leaves out: episodes, unless a person has labelled them as normal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from report_samples import alert
from training_samples import SECOND, observations, series, write_recording

from anomaly_daemon.commands.common import readable
from anomaly_daemon.configuration import load
from anomaly_daemon.detection.alert import Alert, Event, Kind
from anomaly_daemon.detection.feedback import Label
from anomaly_daemon.detection.rules import MuteRule
from anomaly_daemon.errors import ConfigurationError, Incompatible
from anomaly_daemon.training.build import build, fit
from anomaly_daemon.training.dataset import cut_points, gather
from anomaly_daemon.training.judge import stream_days
from anomaly_daemon.training.known import Stretch, both, cut_heard, left_out, micros, muted, stretches, within
from anomaly_daemon.transport.feedback_codec import decode, labels, of_file


def message(event: Event, start: int, now: int, *, alert_id: str = "one", reason: str = "odd") -> Alert:
    """Return a message of an episode that began at second `start`."""
    made = alert(event)
    ended = at(now) if event is Event.CLOSE else None
    episode = replace(made.episode, start=at(start), last=at(now), end=ended)
    return replace(
        made,
        alert_id=alert_id,
        episode=episode,
        reason=reason,
        times=replace(made.times, event=at(now)),
        kind=Kind.PATTERN,
    )


def at(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()


def spans(*messages: Alert, said: Mapping[str, Label] | None = None) -> list[tuple[int, int, bool]]:
    (found,) = stretches(messages, said or {}).values() or [[]]
    return [(one.start // SECOND, one.end // SECOND, one.confirmed) for one in found]


def test_an_episode_is_left_out_from_its_start_to_its_end() -> None:
    assert spans(message(Event.OPEN, 10, 12), message(Event.CLOSE, 10, 30)) == [(10, 30, False)]


def test_an_open_episode_is_left_out_up_to_its_last_message_and_messages_may_come_twice() -> None:
    first, second = message(Event.OPEN, 10, 12), message(Event.UPDATE, 10, 20)
    assert spans(first, second, first) == [(10, 20, False)]
    assert spans(first, message(Event.CLOSE, 10, 30), second) == [(10, 30, False)]


def test_what_was_accepted_as_the_new_level_is_normal_unless_a_person_says_otherwise() -> None:
    accepted = message(Event.CLOSE, 10, 30, reason="new level accepted after 1 d")
    assert stretches([accepted], {}) == {}
    assert spans(accepted, said={"one": Label.TRUE}) == [(10, 30, True)]


@pytest.mark.parametrize("label", [Label.EXPECTED, Label.FALSE, Label.NEW_NORMAL])
def test_what_a_person_calls_normal_is_trained_on(label: Label) -> None:
    assert stretches([message(Event.CLOSE, 10, 30)], {"one": label, "two": Label.TRUE}) == {}


def test_left_out_events_are_missing_and_all_others_are_as_they_were() -> None:
    one, other = series("s", 100), series("t", 100)
    (kept, whole), share = left_out([one, other], {"s": [Stretch(10 * SECOND, 19 * SECOND)]})
    assert np.isnan(kept.values_TD[10:20]).all()
    assert (kept.categories_TC[10:20] == 0).all()
    for outside in (slice(0, 10), slice(20, None)):
        np.testing.assert_array_equal(kept.values_TD[outside], one.values_TD[outside])
    np.testing.assert_array_equal(kept.time_T, one.time_T)
    assert whole is other
    assert share == 0.05
    assert np.isfinite(one.values_TD).all()


QUIET = MuteRule("w", 10 * SECOND, 20 * SECOND, streams=("s*",))


def test_what_lies_in_a_mute_window_is_left_out_of_the_streams_that_it_is_for() -> None:
    one, other = series("s", 100), series("t", 100)
    known = muted([one, other], [QUIET, replace(QUIET, start=15 * SECOND, end=90 * SECOND, learn=True)], "UTC")
    assert known == {"s": [Stretch(10 * SECOND, 19 * SECOND)]}
    (kept, whole), _share = left_out([one, other], known)
    assert np.flatnonzero(np.isnan(kept.values_TD[:, 0])).tolist() == list(range(10, 20))
    assert whole is other


def test_windows_that_recur_are_as_many_stretches_as_a_series_has_events_in() -> None:
    daily = MuteRule("w", begin=10, until=20)
    day = 86_400
    one = replace(series("s", 40), time_T=np.array([*range(20), *range(day, day + 20)]) * SECOND)
    assert muted([one], [daily], "UTC")["s"] == [
        Stretch(10 * SECOND, 19 * SECOND),
        Stretch((day + 10) * SECOND, (day + 19) * SECOND),
    ]
    assert muted([series("s", 5)], [daily], "UTC") == muted([one], [], "UTC") == {}


def test_stretches_of_both_are_known() -> None:
    first, second = Stretch(1, 2), Stretch(5, 6)
    assert both({"a": [first]}, {"a": [second], "b": [second]}) == {"a": [first, second], "b": [second]}


def test_a_model_is_trained_as_if_what_is_muted_were_missing(tmp_path: Path) -> None:
    config, streams = write_recording(tmp_path, 10, 1), [series(f"s{n}", 700, 1_700_000_000, seed=n) for n in range(12)]
    window = [{"name": "w", "start": "2023-11-14T22:14:20Z", "end": "2023-11-14T22:15:20Z"}]  # seconds 60 to 120
    quiet, plain = (
        load(config, ["training.epochs=1", f"detection.mute={json.dumps(mute)}"], {}) for mute in (window, [])
    )
    missing = [replace(one, values_TD=one.values_TD.copy(), categories_TC=one.categories_TC.copy()) for one in streams]
    for one in missing:
        one.values_TD[60:120], one.categories_TC[60:120] = np.nan, 0
    made = build(quiet, [observations(streams)], name="m")
    known = {one.key: [Stretch(1_700_000_060 * SECOND, 1_700_000_119 * SECOND)] for one in streams}
    gone, names = gather([observations(missing)])
    cuts = cut_heard(gone, known, plain.training.validation_share, plain.training.test_share)
    assert made.digest == fit(plain, gone, names, cuts, name="m").digest
    assert made.digest != build(plain, [observations(streams)], name="m").digest


def test_a_long_window_at_the_end_does_not_take_the_later_parts() -> None:
    """An example is an ordinary weekend before a training at night."""
    one = series("s", 600)
    quiet = muted([one], [MuteRule("weekend", 400 * SECOND, 1000 * SECOND)], "UTC")
    cuts = cut_heard([one], quiet, 0.2, 0.2)
    assert (cuts.validation, cuts.test) == (240 * SECOND, 320 * SECOND)
    assert cut_heard([one], {}, 0.2, 0.2) == cut_points([one], 0.2, 0.2)


def test_who_has_too_few_events_left_is_told_of_the_windows(tmp_path: Path) -> None:
    config = write_recording(tmp_path, 10, 1)
    streams = [series("s", 600, 1_700_000_000)]
    for end in ("2023-11-14T22:23:18Z", "2023-11-15T22:23:20Z"):
        window = [{"name": "w", "start": "2023-11-14T22:13:20Z", "end": end}]
        settings = load(config, [f"detection.mute={json.dumps(window)}"], {})
        with pytest.raises(ConfigurationError, match=r"detection.mute excludes (598|600) of 600 events"):
            build(settings, [observations(streams)], name="m")


def test_the_days_of_a_stream_are_without_what_is_muted() -> None:
    one = series("s", 100)
    quiet = muted([one], [MuteRule("w", 10 * SECOND, 30 * SECOND), MuteRule("v", 80 * SECOND, 100 * SECOND)], "UTC")
    assert stream_days([one], 20 * SECOND) * 86_400 == pytest.approx(79)
    assert stream_days([one], 20 * SECOND, quiet) * 86_400 == pytest.approx(79 - 9 - 19)


def test_stretches_may_overlap_and_lie_outside() -> None:
    known = [Stretch(3, 5), Stretch(5, 6), Stretch(50, 60)]
    assert within(known, np.arange(8)).tolist() == [False] * 3 + [True] * 4 + [False]


def test_times_are_read_to_the_microsecond() -> None:
    assert micros("2026-01-01T00:00:00.000001Z") == 1_767_225_600_000_001


def test_the_last_word_on_an_alert_counts() -> None:
    lines = [b'{"alert_id": "a", "label": "false", "by": "me"}', b'{"alert_id": "a", "label": "true"}']
    said = labels(map(decode, lines))
    assert said == {"a": Label.TRUE}


@pytest.mark.parametrize("value", [b"", b"{}", b'{"alert_id": "a", "label": "maybe"}', b"\xff", b"[" * 100_000])
def test_what_is_no_feedback_says_so(value: bytes) -> None:
    with pytest.raises(Incompatible, match="not feedback"):
        decode(value)


def test_of_a_file_of_labels_the_wrong_one_is_named_with_what_it_may_be() -> None:
    lines = [b'{"alert_id": "a", "label": "true"}', b'{"alert_id": "b", "label": "flase"}']
    with pytest.raises(
        Incompatible, match=r"said.jsonl, label 2: .*flase.*\(labels are true, expected, false, new_normal;"
    ):
        list(of_file("said.jsonl", lines))


def test_of_a_label_with_a_wrong_kind_the_kinds_are_named() -> None:
    with pytest.raises(Incompatible, match=r"patern.*kinds are pattern, silence, stuck, schema\)"):
        decode(b'{"alert_id": "a", "label": "true", "kind": "patern"}')


def test_of_a_topics_messages_the_wrong_one_is_told_of_and_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = b'{"alert_id": "a", "label": "true"}', b'{"alert_id": "b", "label": "flase"}'
    assert [one.alert_id for one in readable([bad, good, b"\xff"], decode)] == ["a"]
    assert capsys.readouterr().err.count("skipped") == 2

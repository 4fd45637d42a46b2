"""What training leaves out: episodes, unless somebody said that they are normal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from report_samples import alert
from training_samples import SECOND, series

from anomaly_daemon.commands.common import readable
from anomaly_daemon.detection.alert import Alert, Event, Kind
from anomaly_daemon.detection.feedback import Label
from anomaly_daemon.errors import Incompatible
from anomaly_daemon.training.known import Stretch, left_out, micros, stretches, within
from anomaly_daemon.transport.feedback_codec import decode, labels, of_file


def message(event: Event, start: int, now: int, *, alert_id: str = "one", reason: str = "odd") -> Alert:
    """Of an episode that began at second `start`."""
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
        Incompatible, match=r"said.jsonl, label 2: .*flase.*\(labels are true, expected, false, new_normal\)"
    ):
        list(of_file("said.jsonl", lines))


def test_of_a_topics_messages_the_wrong_one_is_told_of_and_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = b'{"alert_id": "a", "label": "true"}', b'{"alert_id": "b", "label": "flase"}'
    assert [one.alert_id for one in readable([bad, good, b"\xff"], decode)] == ["a"]
    assert capsys.readouterr().err.count("passed over") == 2

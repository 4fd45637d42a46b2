"""`replay`: an episode that is recomputed from its records gives what was published, or the differences are reported."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from replaying import (
    START,
    ZERO,
    MemoryRecords,
    ids,
    published,
    ran,
    recorded,
    replayed,
    settings,
    stored,
    tampered,
    told,
    troubled,
)

from anomaly_daemon.bootstrap import replay_detector
from anomaly_daemon.checkpoint.envelope import ENVELOPE
from anomaly_daemon.checkpoint.evidence import BUILD, HEADER, Opening, decode_evidence, encode_evidence
from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.checkpoint.snapshot import Bucket, encode_bucket
from anomaly_daemon.detection.alert import Event, Kind
from anomaly_daemon.detection.evidence import Evidence
from anomaly_daemon.detection.feedback import Label
from anomaly_daemon.detection.state import Column, Rows, StateLayout
from anomaly_daemon.errors import Incompatible, NotComparable
from anomaly_daemon.replay.compare import Verdict
from anomaly_daemon.replay.recorded import Recorded, find
from anomaly_daemon.report.episodes import micros
from anomaly_daemon.transport.codec import Decoder
from anomaly_daemon.transport.memory import MemoryBroker


def test_the_records_raise_every_kind_of_alert() -> None:
    assert all(ids(told(), kind=kind) for kind in Kind)


@pytest.mark.parametrize("kind", list(Kind))
def test_every_message_of_an_episode_is_identical(kind: Kind) -> None:
    for alert_id in ids(told(), kind=kind):
        outcome = replayed(told(), alert_id)
        assert outcome.differences == ()
        assert outcome.verdict is Verdict.IDENTICAL
        assert outcome.notes == ()
        assert outcome.pairs[0].name == "open"


@pytest.mark.parametrize("batch", [1, 64])
def test_how_the_daemon_cut_its_batches_does_not_matter(batch: int) -> None:
    broker = ran(stored(troubled()), batch=batch)
    for alert_id in ids(broker):
        assert replayed(broker, alert_id).verdict is Verdict.IDENTICAL


def test_only_the_records_from_the_opening_on_are_read() -> None:
    (alert_id,) = ids(told(), kind="pattern", event="open")[:1]
    outcome = replayed(told(), alert_id)
    assert outcome.start == outcome.then.first.provenance.first_offset
    assert outcome.records == outcome.then.last_offset + 1 - outcome.start


def minutes(first: int, after: int) -> dict[str, str]:
    """Return a mute window from one minute of the records until before another."""
    start, end = (datetime.fromtimestamp(START + 60 * at, UTC).isoformat() for at in (first, after))
    return {"name": f"from {first}", "start": start, "end": end}


def test_a_silence_that_a_window_put_off_and_whose_end_lay_in_another_is_identical() -> None:
    windows = "detection.mute=" + json.dumps([minutes(152, 170), minutes(198, 204)])
    broker = ran(stored(troubled()), windows)
    (silence,) = ids(broker, kind="silence", event="open")
    outcome = replayed(broker, silence, windows)
    assert (outcome.verdict, outcome.differences) == (Verdict.IDENTICAL, ())
    assert [pair.name for pair in outcome.pairs] == ["open", "close"]
    messages = [json.loads(value) for value, _ in published(broker) if silence in value.decode()]
    at = [(micros(one["times"]["event"]) / 1e6 - START) / 60 for one in messages]
    assert 170 < at[0] < 180
    assert at[1] == 200
    assert replayed(broker, silence).verdict is Verdict.DIFFERENT  # without the windows


def test_a_silence_after_a_muted_record_is_another_and_identical_too() -> None:
    windows, last = "detection.mute=" + json.dumps([minutes(198, 202)]), START + 60 * 201
    broker = ran(stored([one for one in troubled() if one["id"] != "stops" or one["time"] <= last]), windows)
    first, second = ids(broker, kind="silence", event="open")
    for silence in (first, second):
        assert replayed(broker, silence, windows).verdict is Verdict.IDENTICAL
    stood_on = broker.records(ZERO.topic)[recorded(broker, second).first.provenance.first_offset]
    assert json.loads(stood_on.value or b"")["time"] == last


def jump() -> str:
    return next(one for one in ids(told(), kind="pattern") if recorded(told(), one).first.stream.key == "jumps")


def test_one_changed_value_makes_it_different_and_the_fields_are_named() -> None:
    at = recorded(told(), jump()).first.provenance.first_offset

    def warmer(record: dict[str, float]) -> None:
        record["temperature"] += 0.001

    outcome = replayed(told(), jump(), records=tampered(warmer, at))
    assert outcome.verdict is Verdict.DIFFERENT
    opened = {one.field: one for one in outcome.differences if one.message == "open"}
    assert opened["features.temperature.actual"].by == pytest.approx(0.001)
    assert {"score", "p_value"} <= set(opened)


def test_a_record_that_is_normal_now_opens_nothing_and_its_score_is_told() -> None:
    at = recorded(told(), jump()).first.provenance.first_offset

    def calm(record: dict[str, float]) -> None:
        record["temperature"] = 20.0

    outcome = replayed(told(), jump(), records=tampered(calm, at))
    assert outcome.verdict is Verdict.DIFFERENT
    first = outcome.differences[0]
    assert (first.message, first.field, first.then, first.now) == ("open", "decision", "open", None)
    _score, p_value, threshold, _severity = outcome.scores[at]
    assert p_value > threshold


def test_another_streams_values_change_nothing() -> None:
    at = recorded(told(), jump()).first.provenance.first_offset + 1
    assert troubled()[at]["id"] != "jumps"
    assert replayed(told(), jump(), records=tampered(lambda record: record.update(flow=99.0), at)).verdict is (
        Verdict.IDENTICAL
    )


def without_evidence(alert_id: str) -> Recorded:
    return replace(recorded(told(), alert_id), opening=None)


def test_without_evidence_the_state_is_rebuilt_from_the_first_record_on() -> None:
    outcome = replayed(told(), jump(), recorded=without_evidence(jump()))
    assert outcome.verdict is Verdict.IDENTICAL
    assert outcome.start == 0
    assert "rebuilt" in outcome.notes[0]


@pytest.mark.parametrize(
    ("label", "feedback_topic", "verdict"),
    [
        (Label.FALSE, None, Verdict.DIFFERENT),  # there were no labels: something else is
        (Label.FALSE, "said", Verdict.NOT_COMPARABLE),
        (Label.TRUE, "said", Verdict.IDENTICAL),  # it moved nothing
    ],
)
def test_without_evidence_the_labels_that_moved_the_threshold_are_not_known(
    label: Label, feedback_topic: str | None, verdict: Verdict
) -> None:
    configured, model = settings(), read_model(settings().model.path)
    detector, decoder = replay_detector(configured, model, ZERO), Decoder(configured.stream, configured.limits)
    alerts = []
    for start, end in ((0, 400), (400, 1000)):
        for batch in MemoryRecords(told()).read(start, end):
            alerts += detector.step(decoder.decode(batch).observations).alerts
        detector.take_in("jumps", "an earlier alert", label, offset=0)
    messages = tuple(one for one in alerts if one.alert_id == jump())
    more = [] if feedback_topic is None else [f"retraining.feedback_topic={feedback_topic}"]
    outcome = replayed(told(), jump(), *more, recorded=Recorded(messages, None, whole=False))
    assert outcome.verdict is verdict
    assert any("labels of said" in note for note in outcome.notes) is (feedback_topic is not None)
    assert {one.field for one in outcome.differences} >= ({"threshold"} if label is Label.FALSE else set())


def shortened(first: int) -> MemoryBroker:
    broker = tampered(lambda _record: None, 0)
    broker.expire(ZERO, first)
    return broker


def test_without_evidence_and_with_the_first_records_gone_nothing_is_claimed() -> None:
    outcome = replayed(told(), jump(), records=shortened(50), recorded=without_evidence(jump()))
    assert outcome.verdict is Verdict.NOT_COMPARABLE
    assert "record 50" in outcome.notes[0]


def test_with_evidence_what_was_before_may_be_gone() -> None:
    first = recorded(told(), jump()).first.provenance.first_offset
    assert replayed(told(), jump(), records=shortened(first)).verdict is Verdict.IDENTICAL


def test_records_that_retention_removed_are_named() -> None:
    first = recorded(told(), jump()).first.provenance.first_offset
    with pytest.raises(NotComparable, match=rf"records {first} to {first + 2} of readings-0 are gone"):
        replayed(told(), jump(), records=shortened(first + 3))


def test_a_partition_that_ends_too_early_is_no_difference() -> None:
    broker = MemoryBroker()
    broker.create("readings")
    first = recorded(told(), jump()).first.provenance.first_offset
    broker.produce(ZERO, stored(troubled()[: first + 1]))
    with pytest.raises(NotComparable, match="ends at"):
        replayed(told(), jump(), records=broker)


def test_another_model_is_refused() -> None:
    then = recorded(told(), jump())
    others = tuple(replace(one, model=replace(one.model, digest="sha256:0", name="older")) for one in then.messages)
    with pytest.raises(Incompatible, match=r"older.*--model"):
        replayed(told(), jump(), recorded=replace(then, messages=others))


def test_other_fields_are_refused_by_name() -> None:
    with pytest.raises(Incompatible, match=r"stream\.numeric was"):
        replayed(told(), jump(), 'stream.numeric=["temperature", "pressure"]')


def test_other_settings_are_said_and_still_compared() -> None:
    outcome = replayed(told(), jump(), "detection.budget.alarms_per_stream_per_day=25")
    assert "config_digest" in outcome.notes[0]
    assert {"threshold", "budget.alarms_per_day"} <= {one.field for one in outcome.differences}
    assert "score" not in {one.field for one in outcome.differences}


def test_a_number_of_buckets_does_not_matter() -> None:
    assert replayed(told(), jump(), "snapshot.buckets=7").verdict is Verdict.IDENTICAL


def test_messages_that_another_model_decided_are_left_out() -> None:
    then = recorded(told(), jump())
    last = replace(then.messages[-1], model=replace(then.messages[-1].model, digest="sha256:0"))
    outcome = replayed(told(), jump(), recorded=replace(then, messages=(*then.messages[:-1], last)))
    assert outcome.verdict is Verdict.IDENTICAL
    assert len(outcome.pairs) == len(then.messages) - 1
    assert "not compared" in outcome.notes[0]


def test_a_close_that_made_room_for_another_stream_is_left_out() -> None:
    then = recorded(told(), jump())
    evicted = replace(then.messages[-1], reason="the stream was forgotten: limits.streams is reached")
    outcome = replayed(told(), jump(), recorded=replace(then, messages=(*then.messages[:-1], evicted)))
    assert outcome.verdict is Verdict.IDENTICAL
    assert "another stream" in outcome.notes[0]


def test_another_build_is_said() -> None:
    then = recorded(told(), jump())
    assert then.opening is not None
    outcome = replayed(told(), jump(), recorded=replace(then, opening=replace(then.opening, build="torch 1.0, vax")))
    assert outcome.verdict is Verdict.IDENTICAL
    assert "torch 1.0, vax" in outcome.notes[0]


def test_a_message_that_was_never_published_is_a_difference_once_all_were_looked_at() -> None:
    then = recorded(told(), jump())
    assert then.messages[-1].event is Event.CLOSE
    moved = replace(then.messages[0], provenance=replace(then.messages[0].provenance, last_offset=then.last_offset))
    opened = replace(then, messages=(moved,))
    assert "close" in {one.message for one in replayed(told(), jump(), recorded=opened).differences}
    partly = replayed(told(), jump(), recorded=replace(opened, whole=False))
    assert {one.message for one in partly.differences} == {"open"}


def test_reading_on_for_a_picture_changes_nothing() -> None:
    assert replayed(told(), jump(), after=True).differences == ()


def test_an_open_alert_has_evidence_and_later_messages_have_none() -> None:
    for value, headers in published(told()):
        assert (HEADER in dict(headers)) == (json.loads(value)["event"] == "open")


def test_an_alerts_value_is_the_same_with_and_without_evidence() -> None:
    off = ran(stored(troubled()), "sink.evidence=false")
    assert all(HEADER not in dict(headers) for _, headers in published(off))
    values = [[json.loads(value) | {"times": None} for value, _ in published(one)] for one in (off, told())]
    assert values[0] == values[1]


def test_evidence_that_does_not_fit_is_left_out_and_the_alert_is_whole() -> None:
    tight = ran(stored(troubled()), "limits.alert_bytes=2500")
    assert all(HEADER not in dict(headers) for _, headers in published(tight))
    assert len(published(tight)) == len(published(told()))
    assert all(len(json.loads(value)["features"]) == 2 for value, _ in published(tight) if b'"pattern"' in value)


def test_evidence_of_a_format_that_is_not_read_any_more_is_left_out() -> None:
    older = []
    for value, headers in published(told()):
        kept = {name: bytes(blob) for name, blob in headers}
        if HEADER in kept:
            magic, version, *rest = ENVELOPE.unpack_from(kept[HEADER])
            kept[HEADER] = ENVELOPE.pack(magic, version - 1, *rest) + kept[HEADER][ENVELOPE.size :]
        older.append((value, tuple(kept.items())))
    found = find(jump(), iter(older))
    assert found is not None
    assert found.opening is None
    assert replayed(told(), jump(), recorded=found).verdict is Verdict.IDENTICAL


def test_evidence_whose_rows_have_other_columns_is_left_out_and_said_to_be() -> None:
    found = recorded(told(), jump())
    assert found.opening is not None
    state = found.opening.state
    narrow = replace(state, arrays={**state.arrays, "statistics": state.arrays["statistics"][:, 1:]})
    outcome = replayed(told(), jump(), recorded=replace(found, opening=replace(found.opening, state=narrow)))
    assert outcome.verdict is Verdict.IDENTICAL
    assert any("of another release" in note for note in outcome.notes)


def test_evidence_of_as_many_columns_in_another_order_is_left_out_too() -> None:
    """Another release wrote it, in whose rows the same places have another meaning."""
    opening = recorded(told(), jump()).opening
    assert opening is not None
    layout = replay_detector(settings(), read_model("pretrained"), ZERO).slab.layout
    blocks = (reversed(layout.block(carried).items()) for carried in (True, False))
    turned = StateLayout(*([Column(name, place.shape) for name, place in block] for block in blocks))
    row = Rows(turned, opening.state.arrays["carried"], opening.state.arrays["statistics"])  # type: ignore[arg-type]
    evidence = Evidence(opening.state.keys[0], opening.offset, opening.index, opening.watermark, opening.clock, row)
    found = with_opening(decode_evidence(encode_evidence(opening.make, evidence)))
    outcome = replayed(told(), jump(), recorded=found)
    assert outcome.verdict is Verdict.IDENTICAL
    assert outcome.start == 0
    assert any("of another release" in note for note in outcome.notes)


def test_evidence_that_does_not_say_which_columns_it_has_is_taken_for_another_releases() -> None:
    opening = recorded(told(), jump()).opening
    assert opening is not None
    head = {**opening.make.decides, BUILD: opening.build}
    extra = {"watermark": opening.watermark, "index": opening.index}
    state = replace(opening.state, extra=extra)
    older = decode_evidence(encode_bucket(Bucket(replace(opening.make, decides=head), 0, opening.offset, state)))
    assert older.columns == ""
    outcome = replayed(told(), jump(), recorded=with_opening(older))
    assert (outcome.verdict, outcome.start) == (Verdict.IDENTICAL, 0)
    assert any("do not name them" in note for note in outcome.notes)
    assert replayed(told(), jump(), recorded=with_opening(opening)).start == opening.offset


def with_opening(opening: Opening) -> Recorded:
    return replace(recorded(told(), jump()), opening=opening)


def test_evidence_is_a_few_kilobytes() -> None:
    sizes = [len(dict(headers)[HEADER]) for _, headers in published(told()) if HEADER in dict(headers)]
    assert sizes
    assert max(sizes) < 9000, "of two fields, with twelve kinds of evidence and their weeks"


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "long"])
def test_damaged_evidence_is_refused(damage: str) -> None:
    blob = next(dict(headers)[HEADER] for _, headers in published(told()) if HEADER in dict(headers))
    bad = {"cut": blob[:-1], "changed": blob[:-1] + bytes([blob[-1] ^ 1]), "empty": b"", "long": blob + b"\0"}
    with pytest.raises(Incompatible):
        decode_evidence(bad[damage])


def test_an_episode_is_found_among_others_and_read_no_further_than_its_close() -> None:
    messages = published(told())
    found = find(jump(), iter(messages))
    assert found is not None
    assert [one.event for one in found.messages][:1] == [Event.OPEN]
    close = max(at for at, (value, _) in enumerate(messages) if jump().encode() in value and b'"close"' in value)
    left = iter(messages)
    find(jump(), left)
    assert len(list(left)) == len(messages) - 1 - close


def test_a_message_that_was_sent_twice_is_one() -> None:
    twice = [one for one in published(told()) for _ in range(2)]
    found = find(jump(), twice)
    assert found is not None
    assert found.messages == recorded(told(), jump()).messages


def test_what_is_no_alert_is_passed_over() -> None:
    assert find(jump(), [(jump().encode(), ()), (b"{", ())]) is None
    assert find("\udcff", [(b"\xff", ()), (b"{", ())]) is None, "an argument that is not UTF-8"


def test_an_episode_whose_opening_is_not_there_any_more_lacks_no_message() -> None:
    later = [one for one in published(told()) if b'"open"' not in one[0]]
    found = find(jump(), later)
    assert found is not None
    outcome = replayed(told(), jump(), recorded=found)
    assert outcome.verdict is Verdict.IDENTICAL
    assert [pair.name for pair in outcome.pairs][-1] == "close"

"""Alerts as bytes and back, and the JSON schema and AsyncAPI document that describe them."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from anomaly_daemon.detection import alert as types
from anomaly_daemon.detection.alert import Alert, Event, Feature, Kind
from anomaly_daemon.errors import Incompatible
from anomaly_daemon.transport import alert_codec

texts = st.text(st.characters(codec="utf-8"), max_size=10)
numbers = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, 2**53)
features = st.builds(
    Feature,
    texts,
    numbers | texts | st.none(),
    numbers | texts | st.none(),
    numbers | st.none(),
    numbers | st.none(),
    numbers,
    numbers,
    st.booleans(),
)
alerts = st.builds(
    Alert,
    schema_version=st.just(types.SCHEMA_VERSION),
    alert_id=texts,
    event=st.sampled_from(Event),
    kind=st.sampled_from(Kind),
    reason=texts,
    stream=st.builds(types.Stream, texts, st.dictionaries(texts, texts, max_size=3)),
    episode=st.builds(types.Episode, texts, texts, texts | st.none(), counts, numbers),
    severity=numbers,
    score=numbers | st.none(),
    p_value=numbers | st.none(),
    p_method=texts,
    threshold=numbers | st.none(),
    budget=st.builds(types.Budget, numbers, numbers | st.none()),
    direction=st.sampled_from(["up", "down", "none"]),
    features=st.lists(features, max_size=4).map(tuple),
    phase=st.builds(types.Phase, texts, counts, counts),
    model=st.builds(types.ModelRef, texts, texts, texts),
    config_digest=texts,
    provenance=st.builds(types.Provenance, texts, counts, counts, counts),
    times=st.builds(types.Times, texts, texts | st.none(), texts | st.none(), texts | st.none()),
)
PUBLISHED = "2026-01-02T03:04:05Z"


def published(alert: Alert) -> Alert:
    return dataclasses.replace(alert, times=dataclasses.replace(alert.times, published=PUBLISHED))


def example() -> Alert:
    return Alert(
        1, "readings-3-100", Event.UPDATE, Kind.PATTERN, "a rose", types.Stream("pump/ü", {"site": "x"}),
        types.Episode("2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", None, 7, 80.5), 60.0, 4.5, 1e-6, "tail", 1e-5,
        types.Budget(1.0, None), "up", (Feature("a", 9.0, 1.0, 0.5, 1.5, 0.6, 0.4, False),),
        types.Phase("calibrated", 500, 50), types.ModelRef("m", "1", "d"), "c",
        types.Provenance("readings", 3, 90, 100), types.Times("2026-01-01T00:01:00Z", None),
    )  # fmt: skip


@given(alerts)
def test_what_is_encoded_is_decoded_again(alert: Alert) -> None:
    message = alert_codec.encode(alert, "plant", PUBLISHED)
    assert alert_codec.decode(message.value or b"") == published(alert)
    assert b"\n" not in (message.value or b"")


VALIDATOR = Draft202012Validator(alert_codec.json_schema())


@given(alerts)
def test_an_encoded_alert_is_valid_under_the_json_schema(alert: Alert) -> None:
    VALIDATOR.validate(json.loads(alert_codec.encode(alert, "plant", PUBLISHED).value or b""))


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Alert)])
def test_the_json_schema_misses_every_field_that_is_left_out(field: str) -> None:
    value = json.loads(alert_codec.encode(example(), "plant", PUBLISHED).value or b"")
    del value[field]
    with pytest.raises(ValidationError, match=field):
        VALIDATOR.validate(value)


def test_the_headers_are_those_of_cloudevents_over_kafka() -> None:
    message = alert_codec.encode(example(), "plant 1", PUBLISHED)
    assert message.key == "pump/ü".encode()
    assert {name: text.decode() for name, text in message.headers} == {
        "ce_specversion": "1.0",
        "ce_id": "readings-3-100/update7",
        "ce_type": "anomaly-daemon.pattern.update",
        "ce_source": "/anomaly-daemon/plant%201",
        "ce_subject": "pump/ü",
        "ce_time": "2026-01-01T00:01:00Z",
        "content-type": "application/json",
    }
    assert [name for name, _ in message.headers] == list(alert_codec.HEADERS)


@pytest.mark.parametrize(
    ("key", "subject"),
    [
        ("p7\r\nce_id: 1", "p7%0D%0Ace_id: 1"),
        ("\x1b[2Jp\0\x7f\x85", "%1B[2Jp%00%7F%C2%85"),
        ("\ufdd0\U0001ffff", "%EF%B7%90%F0%9F%BF%BF"),
        ("50%/ü\u2028\U0001f600", "50%/ü\u2028\U0001f600"),
    ],
)
def test_what_cloudevents_forbids_in_a_text_is_no_part_of_the_subject(key: str, subject: str) -> None:
    message = alert_codec.encode(dataclasses.replace(example(), stream=types.Stream(key, {})), "plant", PUBLISHED)
    assert dict(message.headers)["ce_subject"].decode() == subject
    assert message.key == key.encode()
    assert alert_codec.decode(message.value or b"").stream.key == key


def test_an_alert_past_its_limit_keeps_its_largest_features() -> None:
    many = tuple(Feature(f"f{number}", 1.0, 0.0, None, None, number / 5000, 0.0, False) for number in range(100))
    alert = dataclasses.replace(example(), features=many)
    message = alert_codec.encode(alert, "plant", PUBLISHED, most_bytes=4000)
    assert len(message.value or b"") <= 4000
    kept = [feature.name for feature in alert_codec.decode(message.value or b"").features]
    assert kept == [f"f{number}" for number in range(99, 99 - len(kept), -1)]
    assert len(kept) > 10


@pytest.mark.parametrize("value", [b"", b"{}", b"[" * 100_000, b'{"alert_id": "\xff"}', b"null"])
def test_a_value_that_is_no_alert_says_so(value: bytes) -> None:
    with pytest.raises(Incompatible, match="not an alert"):
        alert_codec.decode(value)


def test_an_alert_of_another_schema_version_is_refused() -> None:
    message = alert_codec.encode(dataclasses.replace(example(), schema_version=2), "plant", PUBLISHED)
    with pytest.raises(Incompatible, match="schema version 2"):
        alert_codec.decode(message.value or b"")


def test_a_field_that_a_later_program_adds_is_passed_over() -> None:
    value = json.loads(alert_codec.encode(example(), "plant", PUBLISHED).value or b"") | {"new": 1}
    assert alert_codec.decode(json.dumps(value).encode()) == published(example())
    VALIDATOR.validate(value)


def references(tree: Any) -> list[str]:
    if isinstance(tree, dict):
        here = [tree["$ref"]] if "$ref" in tree else []
        return here + [found for value in tree.values() for found in references(value)]
    return [found for value in tree for found in references(value)] if isinstance(tree, list) else []


def test_the_asyncapi_document_names_topic_headers_and_payload_and_its_references_lead_somewhere() -> None:
    document = alert_codec.asyncapi("plant-alerts", "plant")
    assert document["asyncapi"] == "3.0.0"
    assert document["channels"]["alerts"]["address"] == "plant-alerts"
    assert document["operations"]["publishAlert"]["action"] == "send"
    assert set(document["channels"]["alerts"]["messages"]) == {"alert", "digest"}
    for message in document["components"]["messages"].values():
        assert set(message["headers"]["required"]) == set(alert_codec.HEADERS)
    for reference in references(document):
        found: Any = document
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]
        assert found
    json.dumps(document)


def test_the_asyncapi_document_tells_an_alert_and_a_digest_apart() -> None:
    document = alert_codec.asyncapi("plant-alerts", "plant")
    messages = {
        "alert": alert_codec.encode(example(), "plant", PUBLISHED),
        "digest": alert_codec.encode_digest(12, "readings/0/1", "plant", PUBLISHED),
    }
    for name, told in document["components"]["messages"].items():
        payload = Draft202012Validator({**told["payload"], "components": document["components"]})
        headers = Draft202012Validator(told["headers"])
        for other, message in messages.items():
            value = json.loads(message.value or b"")
            assert payload.is_valid(value) is (other == name)
            texts = {key: text.decode() for key, text in message.headers}
            assert headers.is_valid(texts) is (other == name or name == "alert")

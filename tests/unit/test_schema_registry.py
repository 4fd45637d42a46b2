"""The schemas of a registry: which errors are waited for, which end the daemon, and which are the record's own fault."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from anomaly_daemon.errors import ConfigurationError, DaemonError, NoInput, NotPermitted, Unavailable
from anomaly_daemon.settings import AvroSettings
from anomaly_daemon.transport.avro_records import LANGUAGE
from anomaly_daemon.transport.avro_schema import Schema
from anomaly_daemon.transport.rejection import NoSchema
from anomaly_daemon.transport.schema_registry import PATIENCE_SECONDS, UNKNOWN_SECONDS, SchemaRegistry
from tests.registries import Registry, registry
from tests.slept import Time

READING = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "double"}]}


REFERS_TO_NOTHING = b'{"schema": "{}", "references": [{"subject": "s"}]}'


@pytest.fixture
def schemas() -> Iterator[Registry]:
    with registry() as one:
        yield one


@pytest.fixture
def time() -> Time:
    return Time()


def reader(url: str, time: Time, **more: Any) -> SchemaRegistry[Schema]:
    return SchemaRegistry(AvroSettings(registry_url=url, **more), LANGUAGE, lambda: time.now, time.sleep)


def test_what_is_broken_for_a_moment_is_waited_for(schemas: Registry, time: Time) -> None:
    schemas.failures = [500, 503, 429]
    assert reader(schemas.url, time).schema(schemas.register(READING)).fields == ("a",)
    assert time.slept == [0.2, 0.4, 0.8]


def test_a_registry_that_stays_away_is_told_of_after_a_while(time: Time) -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        reader("http://127.0.0.1:1", time).schema(1)
    assert PATIENCE_SECONDS <= time.now <= PATIENCE_SECONDS + 5


@pytest.mark.parametrize(("code", "kind"), [(401, NotPermitted), (403, NotPermitted), (400, ConfigurationError)])
def test_a_refusal_is_not_waited_for(schemas: Registry, time: Time, code: int, kind: type[DaemonError]) -> None:
    schemas.failures = [code]
    with pytest.raises(kind, match=str(code)):
        reader(schemas.url, time).schema(1)
    assert time.slept == []


def test_it_logs_in(schemas: Registry, time: Time) -> None:
    number, schemas.login = schemas.register(READING), "key:secret"
    login = {"registry_username": "key", "registry_password": "secret"}
    assert reader(schemas.url, time, **login).schema(number).name == "R"
    with pytest.raises(NotPermitted, match="registry_username"):
        reader(schemas.url, time).schema(number)


def test_a_password_goes_to_no_other_place(schemas: Registry, time: Time) -> None:
    with registry() as other:
        schemas.moved = f"{other.url}/schemas/ids/1"
        with pytest.raises(ConfigurationError, match=f", redirecting to {other.url}"):
            reader(schemas.url, time, registry_username="key", registry_password="secret").schema(1)
        assert other.asked == []


def test_an_id_that_is_not_known_is_asked_for_again_after_a_minute(schemas: Registry, time: Time) -> None:
    one = reader(schemas.url, time)
    for _ in range(3):
        with pytest.raises(NoSchema, match="has no such schema"):
            one.schema(1)
    assert len(schemas.asked) == 1
    assert schemas.register(READING) == 1
    time.now += UNKNOWN_SECONDS
    assert one.schema(1).name == "R"


def test_the_error_of_an_unknown_id_does_not_grow_with_the_records_that_have_it(schemas: Registry, time: Time) -> None:
    one, lengths, messages = reader(schemas.url, time), [], set()
    for _ in range(5):
        with pytest.raises(NoSchema) as told:
            one.schema(1)
        lengths.append(len(told.traceback))
        messages.add(str(told.value))
    assert lengths[1:] == [2] * 4  # the frame of this test and of `schema`
    assert len(messages) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[" * 100_000,
        b"[]",
        b"{}",
        b'{"schema": 3}',
        REFERS_TO_NOTHING,
        b'{"schema": "{}", "references": 3}',
    ],
)
def test_what_is_no_registry_is_told_apart_from_an_unknown_id(schemas: Registry, time: Time, body: bytes) -> None:
    schemas.register(READING)
    schemas.body = body
    with pytest.raises(ConfigurationError, match="not as a schema registry does"):
        reader(schemas.url, time).schema(1)


def test_a_path_that_leads_to_no_registry_is_a_matter_of_the_configuration(schemas: Registry, time: Time) -> None:
    with pytest.raises(ConfigurationError, match="404"):
        reader(schemas.url + "/apis", time).schema(1)


def test_a_url_may_end_in_a_slash(schemas: Registry, time: Time) -> None:
    assert reader(schemas.url + "/", time).schema(schemas.register(READING)).name == "R"


def test_the_newest_schema_of_a_subject(schemas: Registry, time: Time) -> None:
    schemas.register(READING)
    schemas.register(READING | {"fields": [{"name": "b", "type": "int"}]})
    assert reader(schemas.url, time).newest("readings-value").fields == ("b",)
    with pytest.raises(NoSchema, match="has no such subject"):
        reader(schemas.url, time).newest("others-value")


def test_a_schema_that_refers_to_itself_ends(schemas: Registry, time: Time) -> None:
    to = [{"name": "S", "subject": "readings-value", "version": 1}]
    number = schemas.register({"type": "record", "name": "S", "fields": []}, references=to)
    assert reader(schemas.url, time).schema(number).name == "S"


def test_what_a_schema_refers_to_may_come_later(schemas: Registry, time: Time) -> None:
    whole = {"type": "record", "name": "W", "fields": [{"name": "p", "type": "R"}]}
    number = schemas.register(whole, "whole", [{"name": "R", "subject": "part", "version": 1}])
    one = reader(schemas.url, time)
    with pytest.raises(NoSchema, match="has no such subject"):
        one.schema(number)
    schemas.register(READING, "part")
    time.now += UNKNOWN_SECONDS
    assert one.schema(number).name == "W"


def test_certificates_that_are_none_are_told_of_at_the_start(tmp_path, time: Time) -> None:
    with pytest.raises(NoInput, match="registry_cafile"):
        reader("https://localhost:1", time, registry_cafile=tmp_path / "none.pem")
    (tmp_path / "empty.pem").write_text("nothing", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="no certificates in PEM"):
        reader("https://localhost:1", time, registry_cafile=tmp_path / "empty.pem")

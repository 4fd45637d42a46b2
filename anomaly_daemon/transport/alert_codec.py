"""Encodes alerts as bytes: JSON values with CloudEvents headers (Kafka binding, binary mode).

The JSON Schema and the AsyncAPI document are generated from the same types as the encoding, so they always match it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import msgspec

from anomaly_daemon import __version__
from anomaly_daemon.detection.alert import SCHEMA_VERSION, Alert, Event, Kind
from anomaly_daemon.errors import Incompatible
from anomaly_daemon.transport.ports import Headers, Outgoing

MOST_BYTES = 900_000
"""Largest value of an alert. With headers and key it stays below the megabyte that a broker accepts by default."""
DIGEST_TYPE = "anomaly-daemon.digest"
"""The `ce_type` of a digest. Alerts have `anomaly-daemon.<kind>.<event>`; a digest is not a message of an episode."""
HEADERS = {
    "ce_specversion": "The CloudEvents version, 1.0.",
    "ce_id": "alert_id/event+count: the same for a message that was sent twice, so it can be dropped.",
    "ce_type": "anomaly-daemon.<kind>.<event>, to choose by without reading the value.",
    "ce_source": "/anomaly-daemon/<deployment name>.",
    "ce_subject": "The stream key; characters that CloudEvents forbids (control characters) as %0A and so on.",
    "ce_time": "The event time of the record that caused this message.",
    "content-type": "application/json",
}
OF_A_DIGEST = {
    "ce_id": "Unique to this message.",
    "ce_type": f"{DIGEST_TYPE}.",
    "ce_subject": "The deployment's name.",
    "ce_time": "When it was published.",
}
"""The headers whose content differs from `HEADERS` in a digest."""
_decoder = msgspec.json.Decoder(Alert)
_FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | 0xFFFE) + chr(plane << 16 | 0xFFFF) for plane in range(17))
    + "]"
)
"""Characters that a CloudEvents text must not contain: control characters and Unicode noncharacters. Lone surrogates
are forbidden as well, but no stream key contains one."""


class HeldBack(msgspec.Struct, frozen=True):
    """How many messages of episodes were not published."""

    held_back: int


class Digest(msgspec.Struct, frozen=True):
    """The message that replaces the alerts beyond `limits.alerts_per_minute`. It belongs to no stream and has none of
    an alert's other fields."""

    schema_version: int
    digest: HeldBack
    reason: str
    """One sentence for a human reader."""
    published: str


def encode(alert: Alert, source_name: str, published: str, most_bytes: int = MOST_BYTES) -> Outgoing:
    """Return the message to publish. `published` is its time of publication in ISO 8601, `source_name` the deployment's
    name.

    While the value of an alert is longer than `most_bytes`, the half of its features with the smaller shares is
    dropped.
    """
    alert = replace(alert, times=replace(alert.times, published=published))
    value = msgspec.json.encode(alert)
    while len(value) > most_bytes and alert.features:
        ranked = sorted(alert.features, key=lambda part: -(part.prediction_share + part.reconstruction_share))
        alert = replace(alert, features=tuple(ranked[: len(ranked) // 2]))
        value = msgspec.json.encode(alert)
    return Outgoing(alert.stream.key.encode("utf-8"), value, _headers(alert, source_name))


def encode_digest(held_back: int, place: str, source_name: str, published: str) -> Outgoing:
    """Return the message that replaces `held_back` alerts. `place` is the position in the input; it is part of the id,
    so that no two digests have the same id."""
    reason = f"{held_back} alerts were held back: more were opened than limits.alerts_per_minute allows"
    texts = {
        "ce_specversion": "1.0",
        "ce_id": f"{source_name}/digest/{place}/{published}",  # the clock alone can hold back more at the same place
        "ce_type": DIGEST_TYPE,
        "ce_source": f"/anomaly-daemon/{quote(source_name)}",
        "ce_subject": _allowed(source_name),
        "ce_time": published,
        "content-type": "application/json",
    }
    value = msgspec.json.encode(Digest(SCHEMA_VERSION, HeldBack(held_back), reason, published))
    return Outgoing(source_name.encode(), value, tuple((name, text.encode()) for name, text in texts.items()))


def decode(value: bytes) -> Alert:
    """Return the alert in a message's value. Raises Incompatible if it is no alert or has another schema version."""
    try:
        alert = _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Incompatible(f"not an alert of this program: {error}") from error
    if alert.schema_version != SCHEMA_VERSION:
        raise Incompatible(f"an alert of schema version {alert.schema_version}: this program reads {SCHEMA_VERSION}")
    return alert


def _headers(alert: Alert, source_name: str) -> Headers:
    texts = {
        "ce_specversion": "1.0",
        "ce_id": f"{alert.alert_id}/{alert.event}{alert.episode.count}",
        "ce_type": f"anomaly-daemon.{alert.kind}.{alert.event}",
        "ce_source": f"/anomaly-daemon/{quote(source_name)}",
        "ce_subject": _allowed(alert.stream.key),
        "ce_time": alert.times.event,
        "content-type": "application/json",
    }
    return tuple((name, text.encode("utf-8")) for name, text in texts.items())


def _allowed(text: str) -> str:
    """Return the text with forbidden characters percent-encoded, so that a header is one line in any log, whatever
    names a producer gives its streams."""
    return _FORBIDDEN.sub(lambda found: quote(found[0]), text)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of an alert's value. Subscribers should ignore fields that they do not know."""
    root, components = _schemas("#/$defs/{name}")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root, "$defs": components}


def _schemas(template: str, *types: type) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the schema of an alert, and the schemas of `types` and of all types used in an alert, by name."""
    (root, *_), components = msgspec.json.schema_components((Alert, *types), ref_template=template)
    for name in ("Alert", *(one.__name__ for one in types)):
        components[name]["properties"]["schema_version"] = {"const": SCHEMA_VERSION}
    return root, components


def _message(name: str, title: str, key: str, headers: dict[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "title": title,
        "contentType": "application/json",
        "headers": {
            "type": "object",
            "required": list(headers),
            "properties": {name: {"type": "string", "description": text} for name, text in headers.items()},
        },
        "payload": {"$ref": f"#/components/schemas/{name.capitalize()}"},
        "bindings": {"kafka": {"key": {"type": "string", "description": key}}},
    }


def asyncapi(alerts_topic: str, source_name: str = "anomaly-daemon") -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document of the alert topic, for subscribers and their code generators."""
    _, schemas = _schemas("#/components/schemas/{name}", Digest)
    digest = _message(
        "digest", "What limits.alerts_per_minute held back", "The deployment's name.", HEADERS | OF_A_DIGEST
    )
    digest["headers"]["properties"]["ce_type"]["const"] = DIGEST_TYPE
    messages = {
        "alert": _message("alert", "One message of an anomaly episode", "The stream key.", HEADERS),
        "digest": digest,
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"Alerts of {source_name}",
            "version": __version__,
            "description": f"Kinds: {', '.join(Kind)}. Events of an episode: {', '.join(Event)}.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "alerts": {
                "address": alerts_topic,
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                "bindings": {"kafka": {"topic": alerts_topic}},
            }
        },
        "operations": {
            "publishAlert": {
                "action": "send",
                "channel": {"$ref": "#/channels/alerts"},
                "messages": [{"$ref": f"#/channels/alerts/messages/{name}"} for name in messages],
            }
        },
        "components": {"messages": messages, "schemas": schemas},
    }

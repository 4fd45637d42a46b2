"""Episodes as alerts of Prometheus' Alertmanager, by version 2 of its interface.

An alert there is known by its labels, so those of an episode stay as they are from its open to its close; what changes
(severity, reason) is in annotations. It ends when it is told so, or at an end that was told beforehand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote
from urllib.request import Request

import msgspec

from anomaly_daemon.detection.alert import Event
from anomaly_daemon.forwarding.message import Message, Unfit

PATH = "/api/v2/alerts"
OPEN_FOR = timedelta(days=7)
"""An open episode ends by itself so long after its last message: its close comes before, unless the daemon is gone."""
SOURCE = "/anomaly-daemon/"
MOST_OPEN = 10_000
DIGEST_FOR = timedelta(minutes=10)
NAME, DIGEST_NAME = "AnomalyEpisode", "AnomaliesHeldBack"
_NO_NAME = re.compile(r"[^a-zA-Z0-9_]")
OURS = ("alertname", "deployment", "stream", "kind")


class Alertmanager:
    """A `Target`. Alertmanager keeps no alerts over a restart of its own, as Prometheus tells it of them again and again:
    so are those told again that were open when they were last heard of."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url, self._headers = url.rstrip("/") + PATH, dict(headers)
        self._open: dict[tuple[str, str, str], dict[str, Any]] = {}

    def request(self, message: Message) -> Request:
        alert, is_open = _told(message)
        if alert["labels"]["alertname"] == NAME:
            self._remember(alert, is_open)
        return self._of([alert])

    def again(self) -> Request | None:
        return self._of(list(self._open.values())) if self._open else None

    def _of(self, alerts: list[dict[str, Any]]) -> Request:
        return Request(self._url, msgspec.json.encode(alerts), {"Content-Type": "application/json"} | self._headers)

    def _remember(self, alert: dict[str, Any], is_open: bool) -> None:
        """The newest last; past `MOST_OPEN` the oldest is told of no more, but by its own updates."""
        deployment, stream, kind = (alert["labels"][name] for name in OURS[1:])
        self._open.pop((deployment, stream, kind), None)
        if is_open:
            self._open[deployment, stream, kind] = alert
        if len(self._open) > MOST_OPEN:
            del self._open[next(iter(self._open))]


def alert_of(message: Message) -> dict[str, Any]:
    """The alert of one message. Raises Unfit."""
    return _told(message)[0]


def _told(message: Message) -> tuple[dict[str, Any], bool]:
    """The alert, and whether its episode is open."""
    deployment = unquote(message.headers.get("ce_source", "")).removeprefix(SOURCE)
    try:
        value = msgspec.json.decode(message.value, type=dict[str, Any])
        if "digest" in value:
            return _digest(value, deployment), False
        return _episode(value, deployment), value["event"] != Event.CLOSE
    except (msgspec.DecodeError, RecursionError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unfit(f"not an alert of this program: {type(error).__name__}: {error}") from error


def _episode(value: Mapping[str, Any], deployment: str) -> dict[str, Any]:
    published = _moment(value["times"]["published"])
    over = value["event"] == Event.CLOSE
    own = {"deployment": deployment, "stream": value["stream"]["key"], "kind": value["kind"]}
    return {
        "labels": _labels(value["stream"]["labels"]) | {"alertname": NAME} | own,
        "annotations": _annotations(value),
        "startsAt": _text(min(_moment(value["episode"]["start"]), published)),
        "endsAt": _text(published if over else published + OPEN_FOR),
    }


def _annotations(value: Mapping[str, Any]) -> dict[str, str]:
    place = value["provenance"]
    return {
        "summary": f"{value['stream']['key']}: {value['reason']}",
        "severity": f"{value['severity']:.0f} of 100 (50 is the threshold)",
        "alert_id": value["alert_id"],
        "records": f"{place['topic']}-{place['partition']}, offsets {place['first_offset']} to {place['last_offset']}",
        "events": str(value["episode"]["count"]),
    }


def _digest(value: Mapping[str, Any], deployment: str) -> dict[str, Any]:
    published = _moment(value["published"])
    return {
        "labels": {"alertname": DIGEST_NAME, "deployment": deployment},
        "annotations": {"summary": value["reason"]},
        "startsAt": _text(published),
        "endsAt": _text(published + DIGEST_FOR),
    }


def _labels(given: Mapping[str, str]) -> dict[str, str]:
    """The configuration's labels, under names that Prometheus takes."""
    named = {_NO_NAME.sub("_", name): text for name, text in given.items()}
    named = {f"_{name}" if name[:1].isdigit() else name: text for name, text in named.items() if name}
    return {f"label_{name}" if name in OURS else name: text for name, text in named.items()}


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _text(moment: datetime) -> str:
    return moment.isoformat()

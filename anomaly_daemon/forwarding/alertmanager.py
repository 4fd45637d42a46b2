"""Episodes as alerts of Prometheus' Alertmanager, by version 2 of its API.

Alertmanager identifies an alert by its labels, so the labels of an episode do not change from its open to its close.
What does change (severity, reason) is in annotations. An alert ends when a message says so, or at the end time that the
last message gave.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import unquote
from urllib.request import Request

import msgspec

from anomaly_daemon.detection.alert import SCHEMA_VERSION, Event
from anomaly_daemon.errors import Incompatible
from anomaly_daemon.forwarding.message import Message, Unfit

PATH = "/api/v2/alerts"
OPEN_FOR = timedelta(days=7)
"""How long after its last message an open episode ends in Alertmanager if nothing more is sent. The close of the
episode comes earlier, unless the daemon is gone."""
SOURCE = "/anomaly-daemon/"
MAX_EPISODES = 10_000
"""The most open episodes, and the most closed ones, that are sent repeatedly."""
CLOSED_FOR = timedelta(minutes=15)
"""How long a closed episode is sent repeatedly, as long as Prometheus repeats a resolved alert. An Alertmanager whose
clock is behind ignores an end that is in its future, and keeps the end that the open episode had."""
BATCH_SIZE = 500
"""Alerts in one request, a third of a megabyte. Proxies accept one megabyte by default, and often no more."""
DIGEST_FOR = timedelta(minutes=10)
"""How long a digest fires from when it is sent. Nobody is notified of an alert that has ended when it arrives."""
NAME, DIGEST_NAME = "AnomalyEpisode", "AnomaliesHeldBack"
_NO_NAME = re.compile(r"[^a-zA-Z0-9_]")
OUR_LABELS = ("alertname", "deployment", "stream", "kind")
MALFORMED = (msgspec.DecodeError, RecursionError, KeyError, TypeError, ValueError, AttributeError, OverflowError)
"""Exceptions that a message which is not an alert of this program may raise. The last is raised for times near the
first and the last year of a calendar."""


def _now() -> datetime:
    return datetime.now(UTC)


class EpisodeKey(NamedTuple):
    """What identifies an alert, and the partition on which its messages arrive."""

    partition: int
    deployment: str
    stream: str
    kind: str


class Alertmanager:
    """A `Target`. Alertmanager does not keep alerts over a restart of its own, because Prometheus sends them
    repeatedly. Therefore the episodes that were open at their last message are sent repeatedly here too, and those that
    were closed, for `CLOSED_FOR`."""

    def __init__(self, url: str, headers: Mapping[str, str], now: Callable[[], datetime] = _now) -> None:
        self._url, self._headers, self._now = url.rstrip("/") + PATH, dict(headers), now
        self._open: dict[EpisodeKey, dict[str, Any]] = {}
        self._closed: dict[EpisodeKey, dict[str, Any]] = {}

    def request(self, message: Message) -> Request:
        alert = alert_of(message)
        if alert["labels"]["alertname"] == DIGEST_NAME:
            alert["endsAt"] = _iso(max(_moment(alert["startsAt"]), self._now()) + DIGEST_FOR)
        return self._of([alert])

    def accepted(self, message: Message) -> None:
        """Remember the episode as the newest of the open or of the closed ones. Beyond `MAX_EPISODES` episodes the
        oldest is not sent again, except by messages of its own."""
        alert, is_open = _decoded(message)
        if alert["labels"]["alertname"] != NAME:
            return
        key = EpisodeKey(message.partition, *(alert["labels"][name] for name in OUR_LABELS[1:]))
        for episodes in (self._open, self._closed):
            episodes.pop(key, None)
        episodes = self._open if is_open else self._closed
        episodes[key] = alert
        if len(episodes) > MAX_EPISODES:
            del episodes[next(iter(episodes))]

    def to_resend(self) -> Iterable[Request]:
        now = self._now()
        self._open = _ending_after(now, self._open)
        self._closed = _ending_after(now - CLOSED_FOR, self._closed)
        for some in _batches([*self._open, *self._closed]):
            latest = self._open | self._closed  # a rebalance may have removed some since the last part
            still = [latest[key] for key in some if key in latest]
            if still:
                yield self._of(still)

    def partitions_lost(self, partitions: Iterable[int]) -> None:
        lost = set(partitions)
        for episodes in (self._open, self._closed):
            for key in [key for key in episodes if key.partition in lost]:
                del episodes[key]

    def _of(self, alerts: Sequence[dict[str, Any]]) -> Request:
        return Request(self._url, msgspec.json.encode(alerts), {"Content-Type": "application/json"} | self._headers)


def _ending_after(moment: datetime, episodes: Mapping[EpisodeKey, dict[str, Any]]) -> dict[EpisodeKey, dict[str, Any]]:
    return {key: one for key, one in episodes.items() if _moment(one["endsAt"]) > moment}


def alert_of(message: Message) -> dict[str, Any]:
    """Return the alert of one message. Raises Unfit."""
    return _decoded(message)[0]


def _decoded(message: Message) -> tuple[dict[str, Any], bool]:
    """Return the alert, and whether its episode is open. Raises Unfit, and Incompatible for a later schema version."""
    source = unquote(message.headers.get("ce_source", ""))
    deployment = source.removeprefix(SOURCE)
    try:
        value = msgspec.json.decode(message.value, type=dict[str, Any])
        if source.startswith(SOURCE):
            _check_version(value)
        if "digest" in value:
            return _digest(value, deployment), False
        return _episode(value, deployment), Event(value["event"]) != Event.CLOSE
    except MALFORMED as error:
        raise Unfit(f"not an alert of this program: {type(error).__name__}: {error}") from error


def _check_version(value: Mapping[str, Any]) -> None:
    """Raise Incompatible for a later schema version. The same names may mean something else there, so the message is
    neither interpreted nor skipped."""
    version = value.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        versions = f"an alert of schema version {version}, and this program reads {SCHEMA_VERSION}"
        raise Incompatible(f"{versions}: update `forward` to the daemon's version. Nothing is lost")


def _episode(value: Mapping[str, Any], deployment: str) -> dict[str, Any]:
    published = _moment(value["times"]["published"])
    over = value["event"] == Event.CLOSE
    own = {"deployment": deployment, "stream": value["stream"]["key"], "kind": value["kind"]}
    return {
        "labels": _labels(value["stream"]["labels"]) | {"alertname": NAME} | own,
        "annotations": _annotations(value),
        "startsAt": _iso(min(_moment(value["episode"]["start"]), published)),
        "endsAt": _iso(published if over else published + OPEN_FOR),
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
        "startsAt": _iso(published),
        "endsAt": _iso(published + DIGEST_FOR),
    }


def _labels(given: Mapping[str, str]) -> dict[str, str]:
    """Return the configuration's labels under names that Prometheus accepts."""
    named = {_NO_NAME.sub("_", name): text for name, text in given.items()}
    named = {f"_{name}" if name[:1].isdigit() else name: text for name, text in named.items() if name}
    return {f"label_{name}" if name in OUR_LABELS else name: text for name, text in named.items()}


def _batches(keys: Iterable[EpisodeKey]) -> Iterator[list[EpisodeKey]]:
    rest = iter(keys)
    while some := list(islice(rest, BATCH_SIZE)):
        yield some


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _iso(moment: datetime) -> str:
    return moment.isoformat()

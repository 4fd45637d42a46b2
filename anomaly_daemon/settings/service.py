"""Keys of `model`, `sink`, `snapshot`, `commit`, `limits`, `http` and `log`: the service around the detector."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from anomaly_daemon.settings.section import LONGEST_SECONDS, Section, TopicName

PRETRAINED = "pretrained"
"""The model path that means the network shipped in the package."""


class ModelSettings(Section):
    path: str = PRETRAINED
    """A folder that `train` wrote; "pretrained", the network in the package; or a registry's version, `URL@champion`."""
    watch_seconds: float = Field(30.0, ge=0, le=LONGEST_SECONDS)
    """A name that moves (`URL@champion`) is checked about this often, and followed without a restart; 0: never."""
    shadow: bool = False
    """Where the champion is followed: score the registry's challenger beside it, without alerts. Costs a step more."""
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """Where the network runs; auto: cuda if available. Last digits differ between devices: change it like a model."""
    threads: int = Field(1, ge=1, le=1024)
    """Torch threads. Bit-identical replay holds for 1."""


class SinkSettings(Section):
    kind: Literal["kafka", "files"] = "kafka"
    """kafka: alerts and offsets in one transaction. files: JSON lines. By default the kind of `source`."""
    delivery: Literal["exactly_once", "at_least_once"] = "exactly_once"
    """Kafka: alerts and offsets in one transaction, or (at_least_once) without any: alerts sooner, repeated by a crash."""
    alerts_topic: TopicName = "anomaly-alerts"
    """Kafka: where alert episodes go, keyed by stream."""
    dead_letter_topic: TopicName = "anomaly-dead-letters"
    """Kafka: where unreadable records go, byte for byte, with reason and origin in their headers."""
    path: str = "-"
    """Alerts as JSON lines; "-" is standard output."""
    dead_letter_path: str | None = None
    """Dead letters as JSON lines with the original bytes in base64; none: they are counted, and one a minute is logged."""
    evidence: bool = True
    """Kafka: an opened alert carries its stream's state in a header, so that `replay` can compute it again."""
    create_topics: bool = False
    """Create missing alert, dead-letter and snapshot topics at start."""
    replication_factor: int = Field(-1, ge=-1)
    """For created topics; -1 is the broker's default."""


class SnapshotSettings(Section):
    seconds: float = Field(60.0, ge=0)
    """Every stream's state is written at least this often. A longer period means a longer replay after a crash."""
    buckets: int = Field(64, ge=1, le=4096)
    """Streams are written in this many groups, in turn."""
    topic: TopicName = "anomaly-snapshots"
    """Kafka: a compacted topic with the input topic's number of partitions."""
    path: Path | None = None
    """Files: a folder; none: no snapshots, every run starts anew."""


class CommitSettings(Section):
    seconds: float = Field(0.5, gt=0)
    """At least this often, and at once where an alert waits for it (with at_least_once none does)."""
    events: int = Field(20_000, gt=0)
    """Or after this many observations."""


class LimitSettings(Section):
    """Bounds: everything that could grow has one."""

    streams: int = Field(1_000_000, gt=0)
    """Streams in memory, per partition, divided over the buckets. Past it the longest unseen are evicted and counted."""
    idle_stream_seconds: float = Field(604_800.0, gt=0)
    """Event time after which an unseen stream is forgotten; its episodes are closed by then."""
    alerts_per_minute: int = Field(600, gt=0)
    """Opened alerts, per daemon. Episodes beyond that are held back; one digest a minute counts their messages."""
    dead_letters_per_minute: int = Field(10_000, gt=0)
    """Beyond that the daemon ends with code 65: most likely the configuration is wrong, not the records."""
    alert_bytes: int = Field(900_000, gt=1000)
    """The largest alert; a larger one is published with fewer features."""
    record_bytes: int = Field(10_000_000, gt=0)
    """A larger input record is dead-lettered unread."""
    readings_per_record: int = Field(100_000, gt=0)
    """The most readings of one message (packed, influx, otlp_*, or with stream.unnest)."""
    retry_seconds: float = Field(120.0, gt=0, le=LONGEST_SECONDS)
    """How long an unavailable broker is waited for before the daemon ends with code 69."""
    stop_seconds: float = Field(30.0, gt=0, le=LONGEST_SECONDS)
    """The deadline of a clean stop, and of a hand-over; past it what was not written is replayed."""


class HttpSettings(Section):
    enabled: bool = True
    """Serve /live, /ready and /metrics."""
    host: str = Field("127.0.0.1", min_length=1)
    """The address to listen on; "0.0.0.0" in a container."""
    port: int = Field(8080, ge=0, le=65535)
    """0: any free port, written to the log."""
    stalled_seconds: float = Field(60.0, gt=0)
    """/live fails when the loop has not turned for this long."""


class LogSettings(Section):
    format: Literal["auto", "json", "console"] = "auto"
    """auto: console on a terminal, JSON elsewhere."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe line that is written."""

"""Encodes the evidence of an alert as bytes, for a header of the alert.

The bytes are a snapshot bucket with one stream's row, in its envelope.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from anomaly_daemon.checkpoint.envelope import Corrupt
from anomaly_daemon.checkpoint.snapshot import Bucket, Make, decode_bucket, encode_bucket
from anomaly_daemon.detection.columns import digest
from anomaly_daemon.detection.detector import Exported
from anomaly_daemon.detection.evidence import Evidence
from anomaly_daemon.transport.ports import Outgoing

HEADER = "anomaly-daemon-evidence"
BUILD = "build"
"""Key in `Make.decides` of evidence for what decides the last bits of its numbers. The other keys there are settings
that decide what the numbers mean."""
COLUMNS = "columns"
"""Key in `Make.decides` of evidence for the digest of the columns, which decide what each number is. The table itself
would make evidence a third larger."""


@dataclass(frozen=True, slots=True)
class Opening:
    """Where the recomputation of an episode begins: the contents of an `Evidence` as they were read back."""

    make: Make
    """The make of the stored row, without build and columns."""
    build: str
    """The torch build and processor type on which the episode was scored."""
    offset: int
    index: int
    watermark: int
    clock: int | None
    columns: str
    """The digest of the columns of the row; "" where the release that wrote it did not state it."""
    state: Exported
    """The state of the one stream, for `Detector.restore`."""


def build() -> str:
    """Return what bit-identical replay depends on besides the weights (law L5), as text: the torch version and the
    processor."""
    return f"torch {torch.__version__}, {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def encode_evidence(make: Make, evidence: Evidence) -> bytes:
    """Return the evidence as bytes, which `decode_evidence` reads."""
    extra: dict[str, int | float] = {"watermark": evidence.watermark, "index": evidence.index}
    if evidence.clock is not None:
        extra["clock"] = evidence.clock
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "carried": evidence.row.carried_BP,
        "statistics": evidence.row.statistics_BQ,
    }
    header = {BUILD: build(), COLUMNS: evidence.row.layout.of(digest)}
    stamped = replace(make, decides={**make.decides, **header})
    return encode_bucket(Bucket(stamped, 0, evidence.offset, Exported([evidence.key], arrays, extra)))


def decode_evidence(blob: bytes) -> Opening:
    """Read what `encode_evidence` wrote. Raises Corrupt for anything else, Incompatible for another format."""
    bucket = decode_bucket(blob)
    extra, decides = bucket.state.extra, dict(bucket.make.decides)
    numbers = {name: extra.get(name) for name in ("watermark", "index", "clock")}
    whole = all(isinstance(one, int) for name, one in numbers.items() if name != "clock" or one is not None)
    if not whole or len(bucket.state.keys) != 1 or BUILD not in decides:
        raise Corrupt("not the evidence of an alert")
    clock = numbers["clock"]
    return Opening(
        build=decides.pop(BUILD),
        columns=decides.pop(COLUMNS, ""),
        make=replace(bucket.make, decides=decides),
        offset=bucket.position,
        index=int(extra["index"]),
        watermark=int(extra["watermark"]),
        clock=None if clock is None else int(clock),
        state=bucket.state,
    )


def carries_evidence(record: Outgoing) -> bool:
    return any(name == HEADER for name, _ in record.headers)


def with_evidence(record: Outgoing, make: Make, evidence: Evidence, most_bytes: int) -> Outgoing:
    """Return the alert's record with its evidence, or unchanged where value and evidence together would exceed
    `most_bytes`."""
    blob = encode_evidence(make, evidence)
    if len(record.value or b"") + len(blob) > most_bytes:
        return record
    return replace(record, headers=(*record.headers, (HEADER, blob)))

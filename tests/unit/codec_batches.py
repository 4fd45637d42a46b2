"""Record batches for the codec's tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anomaly_daemon.settings import LimitSettings, StreamSettings
from anomaly_daemon.transport.codec import Decoded, Decoder
from anomaly_daemon.transport.ports import Headers, Partition, RecordBatch

APPEND = 1_700_000_000_000_000


def batch_of(
    values: Sequence[bytes | None],
    *,
    keys: Sequence[bytes | None] | None = None,
    append: int = APPEND,
    headers: Headers = (),
) -> RecordBatch:
    """Return records of one partition at offsets 100, 101 and so on. By default all have the key `pump`."""
    n = len(values)
    return RecordBatch(
        Partition("readings", 3),
        np.arange(100, 100 + n, dtype=np.int64),
        np.full(n, append, dtype=np.int64),
        list(keys) if keys is not None else [b"pump"] * n,
        list(values),
        [headers] * n,
        100 + n,
    )


def decode(values: Sequence[bytes | None], limits: LimitSettings | None = None, **given: Any) -> Decoded:
    """Decode these values. `given` are keys, append and headers of the batch; the rest are settings of the stream."""
    of_batch = {name: given.pop(name) for name in ("keys", "append", "headers") if name in given}
    stream = StreamSettings(**({"numeric": ["a"]} | given))
    return Decoder(stream, limits or LimitSettings()).decode(batch_of(values, **of_batch))


def reasons(decoded: Decoded) -> list[str]:
    return [str(rejected.reason) for rejected in decoded.rejected]

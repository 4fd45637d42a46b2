"""Whatever the snapshot store contains, only the named errors are raised, and memory use follows the size of the input."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import running_sum
from hostile import bound, mutations, peak
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anomaly_daemon.checkpoint import envelope
from anomaly_daemon.checkpoint.evidence import decode_evidence
from anomaly_daemon.checkpoint.ledger import Ledger, Regime, decode_ledger, encode_ledger, find_ledger
from anomaly_daemon.checkpoint.snapshot import Bucket, Make, decode_bucket, encode_bucket, take_buckets
from anomaly_daemon.daemon.takeover import Found, plan
from anomaly_daemon.detection.detector import Exported
from anomaly_daemon.errors import Incompatible
from anomaly_daemon.transport.ports import Partition

MAKE = Make("digest", 2, {"stream.key": "id"})
STATE = Exported(
    ["a", "b/ü"],
    {"rows": np.arange(10).reshape(2, 5)},
    {"watermark": 1_700_000_000_000_001},
    {"rows": {"sum": [2, 2], "seen": []}},
)
BUCKET = encode_bucket(Bucket(MAKE, 1, 70, STATE))
OURS = Regime(0, "digest", {"limit": 1})
LEDGER = encode_ledger(Ledger(MAKE, 100, (80, 90), (8, 9), (-1, 70), (OURS,), ("alert-1",), 2, False))
BODIES = [blob[envelope.ENVELOPE.size :] for blob in (BUCKET, LEDGER)]
MANY = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
DECODERS: list[Callable[[bytes], object]] = [decode_bucket, decode_ledger, decode_evidence]
WAYS: list[tuple[Callable[[bytes], Any], Callable[[Any], bytes]]] = [
    (decode_bucket, encode_bucket),
    (decode_ledger, encode_ledger),
]


@MANY
@given(mutations(BUCKET, LEDGER))
def test_a_damaged_record_is_refused_or_was_not_damaged(blob: bytes) -> None:
    for decode in DECODERS:
        with suppress(Incompatible):
            decode(blob)
            assert blob in (BUCKET, LEDGER)


@MANY
@given(mutations(*BODIES))
def test_a_hostile_body_behind_a_right_checksum_is_refused_by_name_or_can_be_written_again(body: bytes) -> None:
    for decode, encode in WAYS:
        with suppress(Incompatible):
            again = encode(decode(envelope.seal(body)))
            assert encode(decode(again)) == again, "what was taken in is what is stored next"
    with suppress(Incompatible):
        assert decode_evidence(envelope.seal(body)).offset >= 0


@MANY
@given(mutations(*BODIES), mutations(*BODIES), st.sampled_from([None, 0, 75, 100]))
def test_a_take_over_from_a_hostile_store_is_planned_or_refused_by_name(
    bucket: bytes, ledger: bytes, committed: int | None
) -> None:
    """A take-over that was planned can be restored, or is refused by name, too."""
    stored = {b"bucket/1/0": envelope.seal(bucket), b"ledger": envelope.seal(ledger), b"model/x/0": b"no"}
    with suppress(Incompatible):
        taken = plan(Found(committed, 0, 0, stored), MAKE, OURS, 2)
        np.asarray(taken.floors, np.int64)
        assert taken.watermark >= 0
        for one in taken.buckets:
            with suppress(KeyError, ValueError):  # raised by the test detector, which checks no shapes
                running_sum.RunningSum(Partition("readings", 0)).restore(one.state)


@pytest.mark.parametrize("decode", DECODERS)
@settings(max_examples=100, deadline=None)
@given(mutations(*BODIES))
def test_reading_takes_memory_in_proportion_to_what_is_read(decode: Callable[[bytes], object], body: bytes) -> None:
    blob = envelope.seal(body)
    assert peak(lambda: decode(blob)) <= bound(len(blob))


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([b"bucket/0/0", b"bucket/0/1", b"bucket/0.1/0", b"ledger", b"ledger/x"]), st.binary(max_size=80)
    )
)
def test_any_store_is_read_or_refused_by_name(stored: dict[bytes, bytes]) -> None:
    """So few bytes are no bucket and no ledger. Either none is found, or the store is refused."""
    with suppress(Incompatible):
        assert take_buckets(dict(stored), 2) == []
        assert not stored.keys() & {b"bucket/0/0", b"bucket/0.1/0"}
    with suppress(Incompatible):
        assert find_ledger(stored) is None
        assert not stored.keys() & {b"ledger", b"ledger/x"}


def test_a_size_that_lies_is_not_waited_for_or_allocated() -> None:
    blob = envelope.ENVELOPE.pack(envelope.MAGIC, envelope.VERSION, 2**63, bytes(32)) + b"x"
    stored = {b"bucket/0/0": blob} | {b"bucket/0/%d" % part: b"x" for part in range(1, 50)}
    with pytest.raises(Incompatible, match="part 50 is missing"):
        take_buckets(dict(stored), 1)

"""Hostile models: a manifest and weights from a folder, or from the snapshot topic, may raise nothing but
`Incompatible`."""

from __future__ import annotations

import hashlib
import json
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hostile import bound, mutations, peak
from hypothesis import given
from hypothesis import strategies as st

from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.detection.artifact import decode, encode
from anomaly_daemon.errors import Incompatible

MANIFEST, WEIGHTS = encode(read_model("pretrained"))
TOLD: dict[str, Any] = json.loads(MANIFEST)
ODD = st.sampled_from(
    [None, True, -1, 0, 1, 0.5, 2**16, 2**31, 2**63, 1e308, float("inf"), float("nan"), "", "x", [], {}, [[]]]
)
JSON = ODD | st.recursive(ODD, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)


def signed(weights: bytes, **changed: Any) -> bytes:
    """Return a manifest whose checksum is right for these weights, whatever the rest of it contains."""
    return json.dumps({**TOLD, **changed, "weights_sha256": hashlib.sha256(weights).hexdigest()}).encode()


@given(mutations(MANIFEST))
def test_a_manifest_after_accidents_is_read_or_refused(manifest: bytes) -> None:
    with suppress(Incompatible):
        decode(manifest, WEIGHTS)


@given(mutations(WEIGHTS[:2000], WEIGHTS))
def test_weights_after_accidents_behind_a_right_checksum_are_read_or_refused(weights: bytes) -> None:
    with suppress(Incompatible):
        decode(signed(weights), weights)


@given(st.sampled_from(sorted(TOLD)), JSON)
def test_any_part_of_a_manifest_may_be_anything(name: str, value: Any) -> None:
    with suppress(Incompatible):
        decode(signed(WEIGHTS, **{name: value}), WEIGHTS)


@given(st.sampled_from(["network", "calibration"]), st.data())
def test_any_figure_of_network_and_calibration_may_be_anything(part: str, data: st.DataObject) -> None:
    name, value = data.draw(st.sampled_from(sorted(TOLD[part]))), data.draw(JSON)
    with suppress(Incompatible):
        decode(signed(WEIGHTS, **{part: {**TOLD[part], name: value}}), WEIGHTS)


@pytest.mark.parametrize("size", ["hidden", "layers", "values", "reconstruct"])
def test_sizes_that_the_weights_do_not_bear_out_are_refused_before_anything_is_made_of_them(size: str) -> None:
    manifest = signed(WEIGHTS, network={**TOLD["network"], size: 65_536})
    with pytest.raises(Incompatible, match="does not fit"):
        decode(manifest, WEIGHTS)


@given(
    st.sampled_from(["F64", "F32", "F16", "BF16", "F8_E4M3", "I64", "U8", "BOOL"]),
    st.integers(0, 2**64),
    st.integers(0, 2**64),
)
def test_a_tensor_header_that_claims_more_than_there_is_is_refused(kind: str, rows: int, end: int) -> None:
    header = json.dumps({"w": {"dtype": kind, "shape": [rows, 8], "data_offsets": [0, end]}}).encode()
    weights = struct.pack("<Q", len(header)) + header + b"\0" * 64
    with pytest.raises(Incompatible):
        decode(signed(weights), weights)
    assert peak(lambda: decode(signed(weights), weights)) < bound(len(MANIFEST) + len(weights))


@given(st.integers(0, 2**64 - 1))
def test_a_header_length_that_lies_is_refused(length: int) -> None:
    weights = struct.pack("<Q", length) + WEIGHTS[8:]
    if length != struct.unpack_from("<Q", WEIGHTS)[0]:
        with pytest.raises(Incompatible):
            decode(signed(weights), weights)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(value: float) -> None:
    tensors = {name: array.copy() for name, array in safetensors.numpy.load(WEIGHTS).items()}
    next(iter(tensors.values())).flat[0] = value
    weights = safetensors.numpy.save(tensors)
    with pytest.raises(Incompatible, match="not finite"):
        decode(signed(weights), weights)


@pytest.mark.parametrize("nested", [b"[" * 1_000_000, b'{"network":' * 200_000, b'{"a":{},' * 100_000])
def test_a_manifest_nested_without_end_is_refused(nested: bytes) -> None:
    with pytest.raises(Incompatible):
        decode(nested, WEIGHTS)
    assert peak(lambda: decode(nested, WEIGHTS)) < bound(len(nested))

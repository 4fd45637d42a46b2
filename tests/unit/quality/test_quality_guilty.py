"""A small run of the guilty-feature benchmark: its faults are in the field that it reports, and alerts name that field."""

from __future__ import annotations

import numpy as np

from benchmarks.guilty_feature import EVENTS, FAULTS, run, stream


def test_a_fault_is_in_its_field_alone() -> None:
    for kind in FAULTS:
        values_TD, fault = stream(np.random.default_rng(3), 3, kind)
        plain_TD, _ = stream(np.random.default_rng(3), 3, kind)
        assert values_TD.shape == (EVENTS, 3)
        assert np.array_equal(values_TD, plain_TD)
        assert fault.first + fault.length < EVENTS


def test_alerts_name_the_field_that_is_at_fault() -> None:
    rows = run(streams=8, fields=2, per_day=1.0, seed=2)
    assert [row["fault"] for row in rows] == list(FAULTS)
    found, named = (sum(int(str(row[name])) for row in rows) for name in ("found", "named"))
    assert found >= 4
    assert named >= found - 1

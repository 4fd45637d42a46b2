"""A small run of the guilty-feature benchmark: its faults are in the field that it reports, and alerts name that field."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.guilty_feature import EVENTS, FAULTS, run, stream


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_in_its_field_alone_and_only_while_it_lasts(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values_TD, fault = stream(np.random.default_rng(3), 3, kind)
    monkeypatch.setitem(FAULTS, kind, (FAULTS[kind][0], lambda random, x_T, unit: x_T))
    plain_TD, same = stream(np.random.default_rng(3), 3, kind)
    assert same == fault
    changed_TD = values_TD != plain_TD
    within = slice(fault.first, fault.first + fault.length)
    assert changed_TD[within, fault.field].mean() > 0.9  # a drift begins at 0
    changed_TD[within, fault.field] = False
    assert not changed_TD.any()
    assert values_TD.shape == (EVENTS, 3)
    assert fault.first + fault.length < EVENTS


def test_alerts_name_the_field_that_is_at_fault() -> None:
    rows = run(streams=8, fields=2, per_day=1.0, seed=2)
    assert [row["fault"] for row in rows] == list(FAULTS)
    found, named = (sum(int(str(row[name])) for row in rows) for name in ("found", "named"))
    assert found >= 4
    assert named >= found - 1

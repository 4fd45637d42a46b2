"""A detector compiles at its first event, and never again, because in a running daemon that would be a pause of
seconds."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from streams import detector, model, schema, wave

from anomaly_daemon.detection.network import Layout


def compiled_so_far() -> int:
    modules = [module for name, module in sys.modules.items() if name.startswith("anomaly_daemon.detection")]
    functions = {id(one): one for module in modules for one in vars(module).values() if hasattr(one, "signatures")}
    return sum(len(one.signatures) for one in functions.values())


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("features", [1, 2])
def test_a_round_of_one_stream_runs_the_code_of_one_of_many(layout: Layout, features: int) -> None:
    of = schema([f"x{place}" for place in range(features)])
    many, one = wave(streams=4, events=3, features=features), wave(streams=1, events=3, features=features)
    made = model(layout, of=of)
    detector(of, made=made).step(many)
    before = compiled_so_far()
    assert before > 0
    alone = detector(of, made=made)
    for place in range(3):
        alone.step(one.take(np.array([place])))
    assert compiled_so_far() == before

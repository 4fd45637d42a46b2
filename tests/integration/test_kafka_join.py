"""A join that ends between two short polls is completed: the member stays in the group."""

from __future__ import annotations

from typing import Any

import pytest
from kafka.structs import MemberState

pytestmark = pytest.mark.kafka


def test_a_member_that_polls_in_a_hurry_comes_to_rest_in_its_group(rig: Any) -> None:
    source, told = rig.source()
    for _ in range(2000):
        source.poll(0.005)  # far shorter than a join: the client times out in the middle of it
        if told.owned and source.membership().state == MemberState.STABLE:
            break
    assert told.owned
    assert source.membership().state == MemberState.STABLE, "no heartbeats are sent before that"

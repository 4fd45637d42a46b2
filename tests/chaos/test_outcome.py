"""What the crash suite counts as lost, doubled and different."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from chaos.outcome import Outcome, compare
from chaos.records import Plan

ROW = {"carried": np.array([1.0, np.nan])}
WANTED = Outcome({"a": ["open", "close"], "b": ["open"]}, {"ledger": {"ledger": np.array("7")}, "row of a": ROW})


def counts(found: Outcome) -> tuple[int, int, int]:
    verdict = compare(WANTED, found)
    return verdict.lost, verdict.doubled, verdict.state_differences


def with_messages(**messages: list[str]) -> Outcome:
    return replace(WANTED, messages={**WANTED.messages, **messages})


def test_the_same_is_clean() -> None:
    assert compare(WANTED, WANTED).clean


def test_a_message_that_is_not_there_is_lost() -> None:
    assert counts(with_messages(a=["open"])) == (1, 0, 0)
    assert counts(replace(WANTED, messages={"b": ["open"]})) == (2, 0, 0)


def test_a_message_that_is_there_twice_or_should_not_be_there_is_doubled() -> None:
    assert counts(with_messages(a=["open", "close", "close"])) == (0, 1, 0)
    assert counts(with_messages(c=["open"])) == (0, 1, 0)


def test_a_message_that_reads_otherwise_is_one_lost_and_one_doubled() -> None:
    assert counts(with_messages(a=["open", "close!"])) == (1, 1, 0)


def test_messages_out_of_order_are_both() -> None:
    assert counts(with_messages(a=["close", "open"])) == (2, 2, 0)


def with_state(**state: dict[str, Any]) -> Outcome:
    return replace(WANTED, state={**WANTED.state, **state})


def test_state_that_is_missing_added_or_other_differs() -> None:
    assert counts(replace(WANTED, state={"row of a": ROW})) == (0, 0, 1)
    assert counts(with_state(b=ROW)) == (0, 0, 1)
    assert counts(with_state(ledger={"ledger": np.array("8")})) == (0, 0, 1)
    assert counts(replace(WANTED, state={**WANTED.state, "row of a": {"carried": np.array([1.0, -np.nan])}})) == (
        0,
        0,
        1,
    )


def test_the_first_differences_are_told() -> None:
    assert compare(WANTED, with_messages(a=["open"])).first == ("lost: close",)


def test_the_records_are_the_same_for_the_same_seed_and_in_order() -> None:
    plan = Plan(seed=3, events=3000, streams=20)
    records = plan.records()
    assert records == plan.records()
    assert records != replace(plan, seed=4).records()
    assert [record.milliseconds for record in records] == sorted(record.milliseconds for record in records)
    assert {record.partition for record in records} == set(range(plan.partitions))

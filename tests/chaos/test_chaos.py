"""The crash suite, short: a death at every place, random kills, and a zombie. `make chaos` runs the long one."""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from chaos.campaign import Campaign, Fates, Strikes
from chaos.deployment import BROKER_PROPERTIES, Deployment, Feed
from chaos.fate import PLACES, WIRE, Death
from chaos.group import Group
from chaos.outcome import uninterrupted
from chaos.records import Plan

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]

STATIC_SLOT = 1

Run = Callable[[str, int, Fates, Strikes], Group]


@pytest.fixture(scope="module")
def node(broker_script: Any) -> Iterator[Any]:
    with broker_script.Broker(properties=BROKER_PROPERTIES) as broker:
        yield broker


@pytest.fixture
def run(node: Any, tmp_path: Path) -> Run:
    """run(name, members, fates, strikes): run a campaign over generated records, one of which arrives twice. Fails
    unless nothing was lost or doubled and no state differs."""

    def to_the_end(name: str, members: int, fates: Fates, strikes: Strikes) -> Group:
        plan = Plan(seed=1, events=6000, streams=40)
        deployment, records = Deployment(node.bootstrap, name, plan.partitions), plan.records()
        expected = uninterrupted(deployment, records)
        assert expected.count > 200
        deployment.create_input()
        twice = Feed(deployment, records[:1])
        with closing(twice):
            twice.rest()
        with closing(Group(deployment, members, tmp_path, fates)) as group:
            verdict = Campaign(deployment, records, group, [node], fates, strikes, random.Random(1)).run(expected)
        assert verdict.first == ()
        assert group.surprises == []
        return group

    return to_the_end


def test_a_death_at_any_place_and_a_zombie_neither_lose_nor_double_anything(run: Run) -> None:
    zombie = Death("commit", visit=3, how=signal.SIGSTOP)  # meanwhile another takes its identity and its place
    disturbing = ("load", "assigned")  # each makes the group revoke some of the other's partitions
    first = ("revoked", "handed over")
    rest = [place for place in PLACES if place not in (*disturbing, *first)]
    identity = [zombie, *map(Death, first), *(Death(place, visit=2 if place in WIRE else 1) for place in rest)]
    fates = Fates(map(Death, disturbing), {STATIC_SLOT: identity})

    all_of_them = Strikes(len(PLACES) + 1, seconds=3.0, kill=1.0, pause=0.0, broker=0.0, at_places=True)
    group = run("places", 2, fates, all_of_them)

    assert group.places == Counter([*PLACES, zombie.place])
    assert group.pauses == 1
    assert group.fenced >= 1


def test_random_kills_neither_lose_nor_double_anything(run: Run) -> None:
    group = run("strikes", 3, Fates([]), Strikes(8, seconds=2.5, kill=1.0, pause=0.0, broker=0.0))
    assert group.kills == 8

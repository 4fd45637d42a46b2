"""A whole run: compute the expected outcome, feed records and kill members, let the group settle, and compare."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

from chaos.deployment import Deployment, Feed
from chaos.fate import REBALANCE, RESTORE, STEPS, WIRE, Death
from chaos.group import Group
from chaos.outcome import Outcome, Verdict, compare, left_behind, uninterrupted
from chaos.records import Record, by_partition

TICK_SECONDS = 0.05
TELL_SECONDS = 20.0
PATIENCE_SECONDS = 180.0
"""The longest wait for a kill, and at the end for the whole input to be committed and for each clean stop."""
BROKER_AWAY_SECONDS = 3.0


class Node(Protocol):
    """The parts of a broker in `deploy/local-kafka` that are used here."""

    def kill(self) -> None: ...
    def launch(self) -> None: ...


class Fates:
    """Returns the death that each start of a member is to die, or None. Once it is `over`, always None."""

    def __init__(self, deaths: Iterable[Death | None], of_slots: Mapping[int, Iterable[Death]] | None = None) -> None:
        """`of_slots` are the deaths of some slots alone; `deaths` are shared by the others."""
        self._deaths = iter(deaths)
        self._of_slots = {slot: iter(own) for slot, own in (of_slots or {}).items()}
        self.over = False

    def __call__(self, slot: int) -> Death | None:
        return None if self.over else next(self._of_slots.get(slot, self._deaths), None)


def drawn(chance: random.Random, doomed: float = 0.5, asleep: float = 0.15) -> Iterable[Death | None]:
    """Yield deaths endlessly. With probability `doomed` a start is to die at a place; otherwise None is given, and it
    lives until it is struck. `asleep` is the share of deaths that are pauses."""
    while True:
        if chance.random() >= doomed:
            yield None
            continue
        place, most = chance.choice(
            [(each, 25) for each in (*STEPS, *WIRE)] + [(each, 3) for each in (*RESTORE, *REBALANCE)]
        )
        how = signal.SIGSTOP if chance.random() < asleep else signal.SIGKILL
        yield Death(place, chance.randint(1, most), how)


@dataclass(frozen=True, slots=True)
class Strikes:
    """The strikes from outside: about every `seconds` on a member, or at times on a broker, until there were `kills`."""

    kills: int
    seconds: float
    kill: float = 0.85
    pause: float = 0.1
    broker: float = 0.05
    """Relative probabilities of a kill, a pause and a kill of a broker."""
    at_places: bool = False
    """Whether only deaths at a place count. If so, a member that is doomed to one is not struck."""

    def share(self, kills: int, since: float) -> float:
        """Return the share of the input that is to be appended after so many kills, the last of them `since` seconds
        ago. After a kill the next part of the input is appended more and more slowly, but it does not end before the
        next kill, because a member that is to die at a record would otherwise never get it."""
        return min(1.0, (kills + since / (since + self.seconds)) / self.kills)


class Campaign:
    """Kills members of a group while its records arrive. `run` does all of it."""

    def __init__(
        self,
        deployment: Deployment,
        records: Sequence[Record],
        group: Group,
        nodes: Sequence[Node],
        fates: Fates,
        strikes: Strikes,
        chance: random.Random,
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._deployment, self._group, self._nodes, self._fates = deployment, group, nodes, fates
        self._strikes, self._chance, self._say = strikes, chance, say
        self._feed = Feed(deployment, records)
        self._away: dict[int, float] = {}
        """The brokers that were killed, by number, and the monotonic time at which each is started again."""
        self._brokers_killed = 0
        self._began = self._last_kill = self._told = time.monotonic()

    def run(self, expected: Outcome) -> Verdict:
        with closing(self._feed):
            self._let_die()
            self._fates.over = True
            self._settle()
        self._tell()
        return compare(self._of_what_arrived(expected), left_behind(self._deployment))

    def _of_what_arrived(self, expected: Outcome) -> Outcome:
        """Return the expected outcome for the records that the input holds. These may differ from the planned ones, and
        the daemon is only responsible for what is in the input."""
        arrived = self._deployment.arrived()
        if by_partition(arrived) == by_partition(self._feed.records):
            return expected
        self._say(
            f"the input holds {len(arrived)} records, not {len(self._feed.records)}: working out anew what should come"
        )
        return uninterrupted(self._deployment, arrived)

    def _let_die(self) -> None:
        next_strike = self._began + self._gap()
        while self._deaths() < self._strikes.kills:
            now = self._turn()
            if now - self._last_kill > PATIENCE_SECONDS:
                waiting = [life.death for life in self._group.lives.values()]
                raise AssertionError(f"nobody has died for {PATIENCE_SECONDS:g} s, waiting for {waiting}")
            if now >= next_strike:
                self._strike(now)
                next_strike = now + self._gap()

    def _deaths(self) -> int:
        return self._group.places.total() if self._strikes.at_places else self._group.kills

    def _gap(self) -> float:
        return self._strikes.seconds * self._chance.uniform(0.3, 1.7)

    def _turn(self) -> float:
        """Do everything but a strike, and return the monotonic time."""
        time.sleep(TICK_SECONDS)
        now, before = time.monotonic(), self._deaths()
        self._group.tick(now)
        if self._deaths() > before:
            self._last_kill = now
        for number in [number for number, until in self._away.items() if now >= until]:
            del self._away[number]
            self._nodes[number].launch()
        share = self._strikes.share(self._deaths(), now - self._last_kill)
        self._feed.to(int(share * len(self._feed.records)))
        if now - self._told >= TELL_SECONDS:
            self._tell()
        return now

    def _strike(self, now: float) -> None:
        odds = self._strikes
        (what,) = self._chance.choices(("kill", "pause", "broker"), (odds.kill, odds.pause, odds.broker))
        if what == "broker" and not self._away:
            number = self._chance.randrange(len(self._nodes))
            self._nodes[number].kill()
            self._away[number] = now + self._chance.uniform(0.0, BROKER_AWAY_SECONDS)
            self._brokers_killed += 1
        elif what in ("kill", "pause") and (awake := self._group.awake(doomed=not odds.at_places)):
            how = signal.SIGSTOP if what == "pause" else signal.SIGKILL
            self._group.strike(self._chance.choice(awake), how)

    def _settle(self) -> None:
        """Wait until the whole input is committed and every zombie is gone; then stop the members so that all state is
        written."""
        self._feed.rest()
        deadline, committed = time.monotonic() + PATIENCE_SECONDS, dict[Any, int]()
        with closing(self._deployment.watcher()) as watcher:
            wanted = self._deployment.ends(watcher)
            while self._group.unsettled() or self._away or committed != wanted:
                if self._turn() > deadline:
                    raise AssertionError(f"after {PATIENCE_SECONDS:g} s {committed} is committed of {wanted}")
                committed = self._deployment.committed(watcher)
        self._group.settle(PATIENCE_SECONDS)

    def _tell(self) -> None:
        self._told = now = time.monotonic()
        group = self._group
        deaths = f"{group.owners_killed} held partitions, {group.pauses} were pauses, {group.places.total()} at a place"
        self._say(
            f"{now - self._began:5.0f} s: {group.kills} kills for {self._strikes.kills} ({deaths}), "
            f"{self._brokers_killed} of a broker; by themselves ended {group.fenced} with 75, {group.unavailable} with 69; "
            f"{self._feed.fed} records fed"
        )

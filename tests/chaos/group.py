"""The members of one group, from their supervisor's view: started, killed, paused, woken, and restarted."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from anomaly_daemon.errors import ExitCode
from chaos.deployment import SESSION_SECONDS, Deployment
from chaos.fate import Death
from chaos.member import begin, nursery

PAUSE_SECONDS = SESSION_SECONDS + 2.0
"""How long a member stays paused: longer than the session timeout, so that the group has removed it."""
ZOMBIE_SECONDS = 30.0
"""How long a woken member then has to end by itself, if another has taken its place."""
EXPECTED = {-signal.SIGKILL, ExitCode.TEMPORARY, ExitCode.UNAVAILABLE}
"""Exit codes after which a supervisor starts the member again."""


@dataclass(slots=True)
class Life:
    """One start of a member."""

    slot: int
    process: ForkServerProcess
    log: Path
    death: Death | None
    """The death that it is to die, unless it ends otherwise before."""
    struck: bool = False
    """Whether it was killed or paused by `Group.strike`."""
    wake_at: float | None = None
    """The monotonic time at which it is to be woken; set only while it is paused."""
    was_paused: bool = False
    end_by: float | None = None
    """The monotonic time by which it has to end; set once it was woken while another has its identity."""

    @property
    def ended(self) -> bool:
        return self.process.exitcode is not None

    @property
    def stopped(self) -> bool:
        """Whether the process is stopped by SIGSTOP, whoever sent it."""
        with suppress(OSError):
            return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        return False

    @property
    def took_over(self) -> bool:
        """Whether it has ever taken over partitions."""
        return self.log.exists() and '"partition taken over"' in self.log.read_text()

    def signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.process.pid or 0, number)

    def running(self) -> int:
        """The number of live partitions according to /ready; -1 while the member is not ready."""
        if not self.log.exists():
            return -1
        said = [line for line in self.log.read_text().splitlines() if '"listening"' in line and line.endswith("}")]
        if not said:
            return -1
        try:
            with urlopen(f"http://127.0.0.1:{json.loads(said[0])['port']}/ready", timeout=5) as answer:
                return int(json.loads(answer.read())["partitions"]["running"])
        except (HTTPError, OSError):
            return -1


class Group:
    """The members of one group, by slot. A slot of odd number keeps its identity from one member to the next (static
    membership); a slot of even number has a new identity each time.

    `tick` does what a supervisor does. It counts what happened, and lists in `surprises` what should not have happened.
    """

    def __init__(self, deployment: Deployment, slots: int, folder: Path, fates: Callable[[int], Death | None]) -> None:
        """`fates` is called with the slot at every start."""
        self._deployment, self._folder, self._fates = deployment, folder, fates
        self._context = nursery()
        self._starts = 0
        self.lives: dict[int, Life] = {}
        self.zombies: list[Life] = []
        """Members that are paused, or were just woken, while another runs in their slot."""
        self.kills = self.owners_killed = self.pauses = self.fenced = self.unavailable = 0
        self.places: Counter[str] = Counter()
        """Counts, by place, of members that died their planned death and were not struck."""
        self.surprises: list[str] = []
        for slot in range(slots):
            self.start(slot)

    def is_static(self, slot: int) -> bool:
        return slot % 2 == 1

    def start(self, slot: int) -> Life:
        self._starts += 1
        overrides = self._deployment.overrides
        if self.is_static(slot):
            overrides.append(f"kafka.group_instance_id=member-{slot}")
        death = self._fates(slot)
        doom = f"-{death.place.replace(' ', '-')}-{death.visit}" if death else ""
        log = self._folder / f"{self._starts:04}-slot-{slot}{doom}.jsonl"
        life = Life(slot, begin(self._context, overrides, death, log), log, death)
        self.lives[slot] = life
        return life

    def awake(self, *, doomed: bool) -> list[int]:
        """Return the slots that may be struck; without `doomed`, none whose member is to die at a place."""
        lives = [life for _, life in sorted(self.lives.items()) if life.wake_at is None and not life.ended]
        return [life.slot for life in lives if doomed or life.death is None]

    def strike(self, slot: int, how: signal.Signals) -> None:
        """Send SIGKILL, or SIGSTOP for longer than the session timeout."""
        self.lives[slot].struck = True
        self.lives[slot].signal(how)

    def tick(self, now: float) -> None:
        """Count the members that died or paused, start their successors, and wake members whose time has come."""
        for life in list(self.lives.values()):
            if life.ended:
                self._note_end(life)
                self.start(life.slot)
            elif life.wake_at is None and life.stopped:
                self._note_pause(life, now)
        for life in [*self.zombies, *self.lives.values()]:
            if life.wake_at is not None and now >= life.wake_at:
                self._wake(life, now)
        for life in list(self.zombies):
            self._see_out(life, now)

    def _note_end(self, life: Life) -> None:
        code = life.process.exitcode
        if code == -signal.SIGKILL:
            self._count(life)
        self.fenced += code == ExitCode.TEMPORARY
        self.unavailable += code == ExitCode.UNAVAILABLE
        if code not in EXPECTED:
            self.surprises.append(f"{life.log.name} ended with {code}")

    def _count(self, life: Life) -> None:
        self.kills += 1
        self.owners_killed += life.took_over
        if life.death is not None and not life.struck:
            self.places[life.death.place] += 1
            life.death = None

    def _note_pause(self, life: Life, now: float) -> None:
        self._count(life)
        self.pauses += 1
        life.wake_at, life.was_paused = now + PAUSE_SECONDS, True
        if self.is_static(life.slot):  # its supervisor takes it for dead
            self.zombies.append(life)
            self.start(life.slot)

    def _wake(self, life: Life, now: float) -> None:
        life.signal(signal.SIGCONT)
        life.wake_at = None
        if life in self.zombies:
            life.end_by = now + ZOMBIE_SECONDS

    def _see_out(self, life: Life, now: float) -> None:
        """Check that a zombie ends by itself, and with exit code `TEMPORARY`."""
        if life.ended:
            self.zombies.remove(life)
            self.fenced += 1
            if life.process.exitcode != ExitCode.TEMPORARY:
                self.surprises.append(f"{life.log.name}, a zombie, ended with {life.process.exitcode}")
        elif life.end_by is not None and now > life.end_by:
            self.surprises.append(f"{life.log.name}, a zombie, lives on")
            self.zombies.remove(life)
            life.signal(signal.SIGKILL)

    def unsettled(self) -> bool:
        """Return whether any member is paused or not ready, or any zombie has not ended."""
        return bool(self.zombies) or any(life.wake_at is not None or life.running() < 0 for life in self.lives.values())

    def settle(self, patience: float) -> None:
        """Stop every member in an orderly way. Then let one alone take over all partitions, and stop it too."""
        for life in self.lives.values():
            life.signal(signal.SIGTERM)
        for life in self.lives.values():
            self._join(life, patience)
        last = self.start(0)
        deadline = time.monotonic() + patience
        while last.running() != self._deployment.partitions:
            if last.ended or time.monotonic() > deadline:
                raise AssertionError(f"the last member did not take everything over, see {last.log}")
            time.sleep(0.1)
        last.signal(signal.SIGTERM)
        self._join(last, patience)

    def _join(self, life: Life, patience: float) -> None:
        life.process.join(patience)
        code = life.process.exitcode
        at_its_place = code == -signal.SIGKILL and life.death is not None
        put_out = code == ExitCode.TEMPORARY and life.was_paused
        self.fenced += put_out
        if not (code == ExitCode.OK or at_its_place or put_out):
            self.surprises.append(f"{life.log.name} stopped with {code}")

    def close(self) -> None:
        for life in self._all():
            life.signal(signal.SIGKILL)
            life.process.join(10)

    def _all(self) -> Iterator[Life]:
        yield from self.lives.values()
        yield from self.zombies

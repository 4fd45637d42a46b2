from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog

from anomaly_daemon.daemon.lifecycle import Bounds, Lifecycle
from anomaly_daemon.daemon.notify import Notify
from anomaly_daemon.daemon.policy import SessionPolicy
from anomaly_daemon.daemon.progress import Progress
from anomaly_daemon.errors import ExitCode, Fenced, TooManyMalformed

LOG: Any = structlog.wrap_logger(structlog.ReturnLogger(), processors=[])
BOUNDS = Bounds(20.0, stalled_seconds=60.0, hung_seconds=300.0, session=SessionPolicy(45.0))


@dataclass
class Loop:
    """The part of a worker that the lifecycle uses; `work` is what its `run` does."""

    work: Callable[[], None] = lambda: None
    last_turn: float = 0.0
    progress: Progress = field(default_factory=Progress)
    stopped: int = 0
    fenced: list[str] = field(default_factory=list)
    looked: int = 0

    @property
    def silence(self) -> Loop:
        return self

    def look(self) -> None:
        self.looked += 1

    def idle_since(self, now: float) -> float:
        return self.last_turn

    def fence(self, why: str) -> None:
        self.fenced.append(why)

    def run(self) -> None:
        self.work()

    def stop(self) -> None:
        self.stopped += 1


@dataclass
class Ended:
    """Records the exit codes with which the process would have ended."""

    codes: list[int] = field(default_factory=list)
    now: float = 0.0

    def over(self, loop: Loop, notify: Notify | None = None) -> Lifecycle:
        return Lifecycle(loop, BOUNDS, notify or Notify(), LOG, lambda: self.now, self.codes.append)  # type: ignore[arg-type]


def test_a_loop_that_ends_is_code_0() -> None:
    assert Ended().over(Loop()).run() == ExitCode.OK


def test_at_the_end_of_its_input_it_is_asked_whether_that_was_a_good_end() -> None:
    def refused() -> None:
        raise TooManyMalformed("all of it")

    def over(loop: Loop) -> Lifecycle:
        return Lifecycle(loop, BOUNDS, Notify(), LOG, lambda: 0.0, exhausted=refused)  # type: ignore[arg-type]

    with pytest.raises(TooManyMalformed):
        over(Loop()).run()
    assert over(Loop(lambda: os.kill(os.getpid(), signal.SIGTERM))).run() == ExitCode.OK  # it was told to stop


def test_what_the_loop_raises_is_raised() -> None:
    def fenced() -> None:
        raise Fenced("another member")

    with pytest.raises(Fenced):
        Ended().over(Loop(fenced)).run()


def test_the_first_signal_asks_the_loop_to_stop_and_the_second_would_kill() -> None:
    seen: list[object] = []

    def work() -> None:
        signal.raise_signal(signal.SIGTERM)
        seen.extend(signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT))

    before = signal.getsignal(signal.SIGTERM)
    loop = Loop(work)
    Ended().over(loop).run()
    assert loop.stopped == 1
    assert seen == [signal.SIG_DFL, signal.SIG_DFL]
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.usefixtures("in_a_terminal")
def test_a_terminal_that_goes_stops_it_in_good_order_however_often_it_says_so() -> None:
    def work() -> None:
        for _ in range(2):
            signal.raise_signal(signal.SIGHUP)

    loop = Loop(work)
    assert Ended().over(loop).run() == ExitCode.OK
    assert loop.stopped == 1
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


@pytest.mark.usefixtures("in_a_terminal")
def test_a_terminal_that_goes_while_it_stops_does_not_cut_that_short() -> None:
    def work() -> None:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGHUP)

    loop = Loop(work)
    assert Ended().over(loop).run() == ExitCode.OK
    assert loop.stopped == 1


def test_under_nohup_a_terminal_that_goes_stops_nothing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        loop = Loop(lambda: signal.raise_signal(signal.SIGHUP))
        assert Ended().over(loop).run() == ExitCode.OK
        assert loop.stopped == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_stop_that_outlasts_its_deadline_ends_the_process() -> None:
    ended = Ended()

    def work() -> None:
        signal.raise_signal(signal.SIGINT)
        ended.now = 21.9
        lifecycle.look()
        assert ended.codes == []
        ended.now = 22.1
        lifecycle.look()

    lifecycle = ended.over(Loop(work, last_turn=20.0))
    lifecycle.run()
    assert ended.codes == [ExitCode.TEMPORARY]


def test_a_loop_that_hangs_ends_the_process() -> None:
    ended = Ended(now=300.0)
    ended.over(Loop(last_turn=0.0)).look()
    assert ended.codes == []
    ended.now = 300.1
    ended.over(Loop(last_turn=0.0)).look()
    assert ended.codes == [ExitCode.TEMPORARY]


def test_a_process_that_slept_through_its_session_fences_its_loop() -> None:
    ended, loop = Ended(now=100.0), Loop(last_turn=100.0)
    lifecycle = ended.over(loop)
    for ended.now in (101.0, 146.0):
        lifecycle.look()
    assert loop.fenced == []
    ended.now = 192.0
    lifecycle.look()
    assert len(loop.fenced) == 1
    assert "stood still for 46 s" in loop.fenced[0]


@pytest.fixture
def systemd(tmp_path: Path) -> tuple[socket.socket, str]:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    address = str(tmp_path / "notify")
    listening.bind(address)
    listening.settimeout(5.0)
    return listening, address


def test_systemd_hears_ready_beats_and_the_end(systemd: tuple[socket.socket, str]) -> None:
    listening, address = systemd
    with listening:
        loop = Loop(progress=Progress(joined=True, running=1))
        lifecycle = Ended().over(loop, Notify(address))
        lifecycle.look()
        lifecycle.look()
        lifecycle.run()
        heard = [listening.recv(100).decode() for _ in range(4)]
    assert heard == ["WATCHDOG=1", "READY=1\nSTATUS=assigned and restored", "WATCHDOG=1", "STOPPING=1"]


def test_systemd_hears_no_beat_of_a_stalled_loop(systemd: tuple[socket.socket, str]) -> None:
    listening, address = systemd
    with listening:
        lifecycle = Ended(now=61.0).over(Loop(last_turn=0.0), Notify(address))
        lifecycle.look()
        lifecycle.run()
        assert listening.recv(100) == b"STOPPING=1"


def test_the_abstract_socket_of_containers_is_understood() -> None:
    name = f"anomaly-daemon-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name)
        Notify(f"@{name}").tell("READY=1")
        assert listening.recv(100) == b"READY=1"


def test_without_systemd_nothing_happens() -> None:
    for address in (None, "", "relative", "/not/there"):
        Notify(address).tell("READY=1")


def test_the_watchdog_of_another_process_is_not_ours() -> None:
    told = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "5"}
    assert Notify.of(told, 5) == Notify("/run/x", 30.0)
    assert Notify.of(told, 6) == Notify("/run/x", None)
    assert Notify.of({"WATCHDOG_USEC": "soon"}, 6) == Notify(None, None)


SCRIPT = """
    import sys, time, structlog
    sys.path.insert(0, {tests!r})
    from test_lifecycle import BOUNDS, LOG, Loop
    from anomaly_daemon.daemon.lifecycle import Lifecycle
    from anomaly_daemon.daemon.notify import Notify

    def work():
        print("running", flush=True)
        while True:
            time.sleep(0.01)
            if loop.stopped:
                print("stopping", flush=True)
                loop.stopped = 0

    loop = Loop(work)
    Lifecycle(loop, BOUNDS, Notify(), LOG, lambda: 0.0).run()
"""


def test_a_second_signal_kills_a_process_that_is_slow_to_stop() -> None:
    script = textwrap.dedent(SCRIPT.format(tests=str(Path(__file__).parent)))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "stopping\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == -signal.SIGTERM

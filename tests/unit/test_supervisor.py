"""Several processes under one supervisor, tested with real processes that end as they are told to."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import structlog

from anomaly_daemon.errors import ExitCode
from anomaly_daemon.supervision.member import Member
from anomaly_daemon.supervision.restart import RestartPolicy
from anomaly_daemon.supervision.supervisor import Supervisor

LOG: Any = structlog.wrap_logger(structlog.ReturnLogger(), processors=[])
AT_ONCE = RestartPolicy(first_seconds=0.0)
PATIENCE_SECONDS = 60.0
"""Only a failing test waits this long."""

OBEYS = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit({code}))
print("up", flush=True)
signal.pause()
"""
STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
while True:
    signal.pause()
"""

SLOW = """
import signal
def first(*_):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    print("stopping", flush=True)
signal.signal(signal.SIGTERM, first)
print("up", flush=True)
while True:
    signal.pause()
"""


class Crew:
    """Members that run scripts: the first start of each runs its first script, and so on. The last script is repeated."""

    def __init__(self, *scripts: Sequence[str], policy: RestartPolicy = AT_ONCE, stop_seconds: float = 60.0) -> None:
        self.started: list[subprocess.Popen[bytes]] = []
        members = [Member(number, self._launch(list(each)), policy) for number, each in enumerate(scripts)]
        self.supervisor = Supervisor(members, stop_seconds, LOG, time.monotonic)

    def _launch(self, scripts: list[str]) -> Callable[[], subprocess.Popen[bytes]]:
        def launch() -> subprocess.Popen[bytes]:
            script = scripts.pop(0) if len(scripts) > 1 else scripts[0]
            pipe = subprocess.PIPE
            process = subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe, start_new_session=True)
            self.started.append(process)
            return process

        return launch

    def run(self, once: Callable[[], object]) -> int:
        """Return the supervisor's exit code. `once` runs on a thread beside it."""
        beside = threading.Thread(target=once)
        beside.start()
        try:
            return self.supervisor.run()
        finally:
            beside.join()
            self.end()

    def end(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                pipe.close()

    def up(self, count: int) -> None:
        """Wait until so many processes have started, and report that they are ready for a signal."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(self.started) < count:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for process in self.started[:count]:
            assert process.stdout is not None
            process.stdout.readline()


def stop(how: signal.Signals = signal.SIGTERM) -> None:
    os.kill(os.getpid(), how)


def test_one_signal_stops_all_and_a_clean_stop_is_code_0() -> None:
    crew = Crew([OBEYS.format(code=0)], [OBEYS.format(code=0)])
    assert crew.run(lambda: (crew.up(2), stop())) == ExitCode.OK
    assert [process.returncode for process in crew.started] == [0, 0]


@pytest.mark.usefixtures("in_a_terminal")
def test_a_terminal_that_goes_stops_all_as_well() -> None:
    crew = Crew([OBEYS.format(code=0)])
    assert crew.run(lambda: (crew.up(1), stop(signal.SIGHUP), stop(signal.SIGHUP))) == ExitCode.OK
    assert [process.returncode for process in crew.started] == [0]


STARTING = """
import signal
print("up", flush=True)
signal.pause()
"""


def test_a_member_that_is_stopped_while_it_starts_has_stopped_cleanly() -> None:
    crew = Crew([STARTING])
    assert crew.run(lambda: (crew.up(1), stop())) == ExitCode.OK
    assert crew.started[0].returncode == -signal.SIGTERM


def test_a_second_signal_is_passed_on_and_ends_what_still_stops() -> None:
    crew = Crew([SLOW])

    def once() -> None:
        crew.up(1)
        stop()
        assert crew.started[0].stdout is not None
        crew.started[0].stdout.readline()
        stop()

    assert crew.run(once) == ExitCode.TEMPORARY
    assert crew.started[0].returncode == -signal.SIGTERM


def test_what_a_member_ends_with_when_it_is_stopped_is_passed_on() -> None:
    crew = Crew([OBEYS.format(code=0)], [OBEYS.format(code=75)])
    assert crew.run(lambda: (crew.up(2), stop())) == ExitCode.TEMPORARY


@pytest.mark.parametrize(
    "failing", ["raise SystemExit(69)", "raise SystemExit(70)", "import os; os.kill(os.getpid(), 9)"]
)
def test_a_member_that_fails_is_started_again_and_the_others_go_on(failing: str) -> None:
    crew = Crew([OBEYS.format(code=0)], [failing, OBEYS.format(code=0)])

    def once() -> None:
        crew.up(3)
        assert crew.started[0].poll() is None
        stop()

    assert crew.run(once) == ExitCode.OK
    assert [member.starts for member in crew.supervisor.members] == [1, 2]


def test_a_member_that_the_system_cannot_start_now_is_started_later_and_the_others_go_on() -> None:
    crew = Crew([OBEYS.format(code=0)], ["raise SystemExit(75)", OBEYS.format(code=0)])
    full, launch = [OSError(errno.EAGAIN, "Resource temporarily unavailable")] * 2, crew.supervisor.members[1]._launch

    def launch_later() -> subprocess.Popen[bytes]:
        if len(crew.started) == 2 and full:
            raise full.pop()
        return launch()

    crew.supervisor.members[1]._launch = launch_later

    def once() -> None:
        crew.up(3)
        assert crew.started[0].poll() is None
        stop()

    assert crew.run(once) == ExitCode.OK
    assert full == []
    assert [member.starts for member in crew.supervisor.members] == [1, 2]


@pytest.mark.parametrize("code", [ExitCode.CONFIGURATION, ExitCode.NOT_PERMITTED, ExitCode.INPUT])
def test_a_code_that_waits_for_a_person_stops_all_and_is_passed_on(code: ExitCode) -> None:
    crew = Crew([OBEYS.format(code=0)], [f"print('up', flush=True); input(); raise SystemExit({int(code)})"])

    def once() -> None:
        crew.up(2)
        assert crew.started[1].stdin is not None
        crew.started[1].stdin.write(b"go\n")
        crew.started[1].stdin.flush()

    assert crew.run(once) == code
    assert len(crew.started) == 2
    assert crew.started[0].returncode == 0


def test_a_first_signal_while_all_are_stopping_does_not_cut_that_short() -> None:
    """Each of its own signals counts: a second SIGTERM ends a member at once."""
    crew, told = Crew([OBEYS.format(code=0)], ["raise SystemExit(78)"]), list[int]()
    crew.supervisor.members[0].tell = told.append  # type: ignore[method-assign, assignment]
    crew.supervisor.look(0.0)
    try:
        crew.started[1].wait()
        crew.supervisor.look(1.0)
        assert told == [signal.SIGTERM]
        crew.supervisor._on_signal()
        crew.supervisor.look(2.0)
        assert told == [signal.SIGTERM]
        crew.supervisor._on_signal()
        crew.supervisor.look(3.0)
        assert told == [signal.SIGTERM] * 2
    finally:
        crew.end()


def test_a_member_that_does_not_stop_in_time_is_killed_and_that_is_said() -> None:
    crew = Crew([STUBBORN], stop_seconds=-5.0)
    assert crew.run(lambda: (crew.up(1), stop())) == ExitCode.TEMPORARY
    assert crew.started[0].returncode == -signal.SIGKILL


def test_a_member_that_waits_for_its_next_start_does_not_hold_up_the_end() -> None:
    crew = Crew(["raise SystemExit(75)"], [OBEYS.format(code=0)], policy=RestartPolicy(first_seconds=3600.0))

    def once() -> None:
        crew.up(2)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while crew.supervisor.members[0].running:
            assert time.monotonic() < deadline
        stop()

    assert crew.run(once) == ExitCode.OK
    assert [member.starts for member in crew.supervisor.members] == [1, 1]


def test_the_signals_are_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    crew = Crew([OBEYS.format(code=0)])
    crew.run(lambda: (crew.up(1), stop()))
    assert signal.getsignal(signal.SIGTERM) is before


def test_pauses_double_up_to_a_bound_and_begin_anew_after_a_steady_run() -> None:
    policy = RestartPolicy(first_seconds=1.0, most_seconds=60.0, steady_seconds=120.0)
    assert [policy.pause(failures) for failures in (1, 2, 3, 6, 7, 1000)] == [1.0, 2.0, 4.0, 32.0, 60.0, 60.0]
    assert policy.failures(4, ran_seconds=119.0) == 5
    assert policy.failures(4, ran_seconds=120.0) == 1


def test_a_member_is_not_started_before_its_pause_is_over() -> None:
    started: list[str] = []

    def launch() -> subprocess.Popen[bytes]:
        started.append("again")
        return subprocess.Popen([sys.executable, "-c", ""])

    member = Member(0, launch, RestartPolicy(first_seconds=10.0))
    assert member.start_if_due(100.0)
    assert not member.start_if_due(100.0), "it runs"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while member.ended(101.0) is None:
        assert time.monotonic() < deadline
    assert (member.pause(101.0), member.start_if_due(110.9)) == (10.0, False)
    assert member.start_if_due(111.0)
    assert len(started) == 2
    while member.ended(112.0) is None:
        assert time.monotonic() < deadline
    assert member.pause(112.0) == 20.0, "its second failure in a row"


def test_a_member_leaves_when_its_supervisor_is_gone(tmp_path: Path) -> None:
    script = """
import signal, sys
from anomaly_daemon.supervision.tether import leave_with_supervisor
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
leave_with_supervisor()
print("up", flush=True)
signal.pause()
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"up\n"
    process.stdin.close()
    assert process.wait(PATIENCE_SECONDS) == 7
    process.stdout.close()

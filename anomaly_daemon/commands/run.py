"""`run`: the service, as one process or as several."""

from __future__ import annotations

import argparse
import socket
import sys
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from anomaly_daemon.commands import common
from anomaly_daemon.errors import UsageError

if TYPE_CHECKING:
    from anomaly_daemon.daemon.worker import Worker
    from anomaly_daemon.settings import Settings

HELP = "run the service: read records and publish alert episodes until told to stop"
EXAMPLE = """\
  anomaly-daemon run --config sensors.yaml
  anomaly-daemon run --config sensors.yaml --processes 4
  anomaly-daemon run --config sensors.yaml --set kafka.bootstrap_servers=kafka:9092 --set log.format=json
  tail -F readings.jsonl | anomaly-daemon run --config sensors.yaml --set source.kind=files --set 'source.paths=["-"]'"""

MOST_PROCESSES = 256


def arguments(parser: argparse.ArgumentParser) -> None:
    common.add_config_arguments(parser)
    parser.add_argument(
        "--processes", type=int, default=1, metavar="N", help="members of the group on this machine, one core each"
    )
    # Set by a supervisor when it starts its members: see `supervision.run` and `supervision.member`.
    parser.add_argument("--member", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--listen-fd", type=int, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    settings = common.load(args)
    if not 1 <= args.processes <= MOST_PROCESSES:
        raise UsageError(f"--processes {args.processes}: 1 to {MOST_PROCESSES}")
    return _one(args, settings) if args.processes == 1 else _several(args, settings)


def _several(args: argparse.Namespace, settings: Settings) -> int:
    from anomaly_daemon.supervision.run import supervise

    if settings.source.kind != "kafka":
        raise UsageError("--processes: files are read by one process; several share the partitions of a topic")
    _log(settings)
    files = ["--config", str(args.config)] if args.config else []
    words = [sys.executable, "-m", "anomaly_daemon.cli", "run", *files, *(f"--set={one}" for one in args.overrides)]
    return supervise(settings, args.processes, words)


def _one(args: argparse.Namespace, settings: Settings) -> int:
    import structlog

    from anomaly_daemon import __version__
    from anomaly_daemon.bootstrap import build_worker
    from anomaly_daemon.supervision.tether import leave_with_supervisor

    _log(settings, **({} if args.member is None else {"process": str(args.member)}))
    if args.member is not None:
        leave_with_supervisor()
    log = structlog.get_logger("anomaly_daemon")
    log.info("starting", version=__version__, source=settings.source.topic or settings.source.paths)
    worker = build_worker(settings)
    with ExitStack() as stack:
        if settings.http.enabled or args.listen_fd is not None:
            _serve(settings, worker, args.listen_fd, stack)
        return _live(settings, worker, supervised=args.member is not None)


def _log(settings: Settings, **bound: str) -> None:
    from anomaly_daemon.daemon import logs

    logs.configure(settings.log.format, settings.log.level, sys.stderr, deployment=settings.name, **bound)


def _serve(settings: Settings, worker: Worker, listen_fd: int | None, stack: ExitStack) -> None:
    import structlog

    from anomaly_daemon.daemon.http import HealthServer, listen
    from anomaly_daemon.daemon.pages import Pages

    http = settings.http
    listening = listen(http.host, http.port) if listen_fd is None else socket.socket(fileno=listen_fd)
    server = HealthServer(listening, Pages(worker, worker.metrics, time.monotonic, http.stalled_seconds))
    server.start()
    stack.callback(server.close)
    if listen_fd is None:
        structlog.get_logger("anomaly_daemon").info("listening", host=http.host, port=server.port)


def _live(settings: Settings, worker: Worker, *, supervised: bool) -> int:
    """Run the worker until it stops, and return the exit code. `supervised`: systemd watches the supervisor, so this
    process does not notify it."""
    import structlog

    from anomaly_daemon.commands.ended import exhausted
    from anomaly_daemon.daemon.lifecycle import Lifecycle
    from anomaly_daemon.daemon.notify import Notify
    from anomaly_daemon.daemon.totals import totals
    from anomaly_daemon.policies import bounds_of
    from anomaly_daemon.supervision.systemd import notify

    bounds, log = bounds_of(settings), structlog.get_logger("anomaly_daemon")
    lifecycle = Lifecycle(
        worker,
        bounds,
        Notify() if supervised else notify(),
        log,
        time.monotonic,
        totals=partial(totals, worker.metrics),
        exhausted=partial(exhausted, settings, worker.metrics),
    )
    return int(lifecycle.run())

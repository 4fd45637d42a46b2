"""`run`: the service."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from anomaly_daemon.commands import common

if TYPE_CHECKING:
    from anomaly_daemon.daemon.worker import Worker
    from anomaly_daemon.settings import Settings

HELP = "the service: reads records, publishes alert episodes, until it is told to stop"
EXAMPLE = """\
  anomaly-daemon run --config sensors.yaml
  anomaly-daemon run --config sensors.yaml --set kafka.bootstrap_servers=kafka:9092 --set log.format=json
  tail -F readings.jsonl | anomaly-daemon run --config sensors.yaml --set source.kind=files --set 'source.paths=["-"]'"""


def arguments(parser: argparse.ArgumentParser) -> None:
    common.add_config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    settings = common.load(args)
    import structlog

    from anomaly_daemon import __version__
    from anomaly_daemon.bootstrap import build_worker
    from anomaly_daemon.daemon import logs

    logs.configure(settings.log.format, settings.log.level, sys.stderr, deployment=settings.name)
    log = structlog.get_logger("anomaly_daemon")
    log.info("starting", version=__version__, source=settings.source.topic or settings.source.paths)
    worker = build_worker(settings)
    with ExitStack() as stack:
        if settings.http.enabled:
            _serve(settings, worker, stack)
        return int(_live(settings, worker))


def _serve(settings: Settings, worker: Worker, stack: ExitStack) -> None:
    import structlog

    from anomaly_daemon.daemon.http import HealthServer, Pages

    http = settings.http
    server = HealthServer(http.host, http.port, Pages(worker, worker.metrics, time.monotonic, http.stalled_seconds))
    server.start()
    stack.callback(server.close)
    structlog.get_logger("anomaly_daemon").info("listening", host=http.host, port=server.port)


def _live(settings: Settings, worker: Worker) -> int:
    import structlog

    from anomaly_daemon.bootstrap import notify
    from anomaly_daemon.daemon.lifecycle import Lifecycle
    from anomaly_daemon.policies import bounds_of

    bounds, log = bounds_of(settings), structlog.get_logger("anomaly_daemon")
    return int(Lifecycle(worker, bounds, notify(), log, time.monotonic).run())

"""`retrain --request` and `retrain --worker`: ask for a new model, and serve such requests."""

from __future__ import annotations

import argparse
import math
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

from anomaly_daemon.commands import challenger, common, retrain, train
from anomaly_daemon.errors import DaemonError, Unavailable, UsageError

if TYPE_CHECKING:
    import torch
    from structlog.typing import FilteringBoundLogger

    from anomaly_daemon.detection.artifact import Model
    from anomaly_daemon.registry.registry import Registry
    from anomaly_daemon.settings import Settings
    from anomaly_daemon.training.parallel import Ranks
    from anomaly_daemon.training.requests import Request, Result, Tenure, Work
    from anomaly_daemon.training.retrain import Retrained
    from anomaly_daemon.transport.kafka.requests import RequestQueue

IGNORED_BY_REQUEST = ("dry_run", "checkpoint", "feedback", "seed")
IGNORED_BY_WORKER = ("request", "dry_run", "checkpoint", "start", "end", "input")
"""Options that have no effect on a training which a worker does."""
READ_FOR_DRIFT = ("input", "alerts")
"""Options that have an effect on the drift test before a request, and none on the training."""

CHECK_SECONDS = 5.0
"""Seconds between two checks of which trainings are due."""


def refuse_ignored(args: argparse.Namespace) -> None:
    """Raise UsageError where --request has no reason, or where it or --worker is given with options that a worker would
    not follow."""
    if args.request is not None and not args.request.strip():
        raise UsageError("--request: give a reason, which the result and the history of the registry name")
    of_request = IGNORED_BY_REQUEST if args.if_drifted else (*IGNORED_BY_REQUEST, *READ_FOR_DRIFT)
    asked, refused = ("--worker", IGNORED_BY_WORKER) if args.worker else ("--request", of_request)
    given = {name: getattr(args, name) for name in refused}
    idle = [f"--{name.replace('_', '-')}" for name, one in given.items() if one is not None and one is not False]
    if idle:
        raise UsageError(f"{asked} and {' and '.join(idle)}: a worker would not follow this; give one or the other")


def post(settings: Settings, args: argparse.Namespace) -> int:
    """Publish one request on the topic of requests."""
    import msgspec

    from anomaly_daemon.training.requests import Request
    from anomaly_daemon.transport.kafka.publish import create_topic, publish
    from anomaly_daemon.transport.ports import Outgoing

    request = Request(uuid4().hex, args.request, args.start, args.end)
    topic = settings.retraining.requests_topic
    create_topic(settings.kafka, topic, 1, replication_factor=settings.sink.replication_factor)
    publish(settings.kafka, topic, [Outgoing(request.id.encode(), msgspec.json.encode(request))])
    if args.json:
        common.print_json({"id": request.id, "topic": topic})
    else:
        print(
            f"request {request.id} is on topic {topic}; its result will be on topic {settings.retraining.results_topic}"
        )
    return 0


def worker(settings: Settings, args: argparse.Namespace) -> int:
    """Serve requests until the process is told to stop. A request that is not answered by then goes to another worker.
    Of several training processes, only the leader is a member of the consumer group. Raises UsageError where it could
    only answer every request with a failure."""
    if not train.reads_topic(settings, args):
        raise UsageError("--worker: requests name ranges of a topic: set source.kind to kafka, or give --from-topic")
    challenger.registry_of(settings)
    try:
        return train.in_processes(settings, args, partial(_serve, settings, args))
    except KeyboardInterrupt:
        return 0


def _serve(settings: Settings, args: argparse.Namespace, on: torch.device, ranks: Ranks) -> int:
    import structlog

    from anomaly_daemon.daemon import logs
    from anomaly_daemon.training import requests
    from anomaly_daemon.transport.kafka.requests import RequestQueue

    logs.configure(settings.log.format, settings.log.level, sys.stderr, deployment=settings.name)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings.retraining.checkpoints.mkdir(parents=True, exist_ok=True)
    with closing(RequestQueue(settings.kafka, settings.retraining, settings.sink.replication_factor)) as queue:
        log = structlog.get_logger("anomaly_daemon")
        log.info("waiting for requests", topic=settings.retraining.requests_topic, processes=ranks.world)
        work = _deleting_checkpoints(settings, _work(settings, args, on, ranks, log))
        requests.serve(queue, work, log, between=_between(settings, queue, log))
    return 0


def _between(settings: Settings, queue: RequestQueue, log: FilteringBoundLogger) -> Callable[[], None]:
    """Return the function that `serve` calls between two requests. At most every `CHECK_SECONDS`, and only where this
    worker leads the group, it checks which trainings are due and asks for them."""
    import msgspec

    from anomaly_daemon.training.triggers import Age, Asking, DriftLook, Schedule, Trigger

    retraining, last = settings.retraining, -math.inf
    triggers: list[Trigger] = [
        *([Schedule(retraining.schedule)] if retraining.schedule else []),
        *([Age(retraining.age_days)] if retraining.age_days else []),
        *([DriftLook(retraining.drift_seconds)] if retraining.drift_seconds else []),
    ]

    def ask(request: Request) -> None:
        log.info("requesting a retraining", request=request.id, reason=request.reason)
        queue.ask(request.id, msgspec.json.encode(request))

    asking = Asking(
        settings.name, triggers, retraining.jitter_seconds, retraining.recent_days, _LastTraining(settings), ask, log
    )

    def between() -> None:
        nonlocal last
        if triggers and time.monotonic() - last >= CHECK_SECONDS and queue.leads():
            last = time.monotonic()
            asking.look(datetime.now(UTC))

    return between


class _LastTraining:
    """When the registry last got a version that it had not had. A rollback, and the promotion of a version that an alias
    stood for before, are no training."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._places: list[str] = []
        """The last move of each alias when `_at` was determined: moves are files, and only new ones are read."""
        self._at = datetime.min.replace(tzinfo=UTC)

    def __call__(self) -> datetime:
        """Raises NoInput if the registry has no champion."""
        from anomaly_daemon.registry.reference import Alias
        from anomaly_daemon.registry.registry import last_new

        registry = challenger.registry_of(self._settings)
        places = registry.places(Alias)
        if places != self._places:
            registry.current(Alias.CHAMPION)
            self._at = last_new([move for alias in Alias for move in registry.history(alias)])
            self._places = places
        return self._at


def _work(
    settings: Settings, args: argparse.Namespace, on: torch.device, ranks: Ranks, log: FilteringBoundLogger
) -> Work:
    def work(request: Request, tenure: Tenure) -> Result:
        from anomaly_daemon.training.requests import Result

        registry, champion = challenger.champion_of(settings)
        if answered := _without_training(settings, registry, request):
            return _finished(settings, request, answered)
        asked = {"start": _text(request.start), "end": _text(request.end), "asked": request.asked}
        as_asked = argparse.Namespace(**{**vars(args), **asked})
        if request.if_drifted and (fits := _no_drift(settings, as_asked, champion)):
            return Result(request.id, request.reason, "skipped", fits)
        found = trained(request, tenure, as_asked, champion)
        tenure.check()
        # It may have been done by another worker while this one was out of the group.
        if done := _earlier_result(settings, registry, request):
            return _finished(settings, request, done)
        promoted, why = challenger.store(settings, registry, found, _reason_prefix(request))
        challenger.prune(settings, registry, lambda text: log.info("pruning old versions", what=text))
        outcome = "promoted" if promoted else "kept"
        return _finished(settings, request, Result(request.id, request.reason, outcome, why, found.challenger.digest))

    def trained(request: Request, tenure: Tenure, asked: argparse.Namespace, champion: Model) -> Retrained:
        from anomaly_daemon.training.loop import Course
        from anomaly_daemon.training.under_way import UnderWay

        saved = settings.retraining.checkpoints / f"{request.id}-{champion.digest[:12]}.checkpoint"
        tell = tenure.watched(UnderWay(partial(_log_progress, log, request)))
        note = partial(_log_warning, log, request)
        return retrain.retrained(
            settings, asked, champion, Course(on, saved, True, ranks, tell=tell, anew=True, note=note)
        )

    return work


def _deleting_checkpoints(settings: Settings, work: Work) -> Work:
    """Return `work`, which also deletes the checkpoints of a request that fails. Such a request is answered, and no
    worker resumes it."""

    def deleting(request: Request, tenure: Tenure) -> Result:
        try:
            return work(request, tenure)
        except Unavailable:
            raise
        except DaemonError:
            _delete_checkpoints(settings, request)
            raise

    return deleting


def _log_progress(
    log: FilteringBoundLogger, request: Request, phase: str, share: float, seconds_left: float, note: str
) -> None:
    """Log the progress of a training. A figure that is not known (NaN) is logged as null."""
    figures = {"done": round(share, 3), "seconds_left": round(seconds_left, 1)}
    known = {name: None if math.isnan(figure) else figure for name, figure in figures.items()}
    log.info("retraining progress", request=request.id, phase=phase, **known, note=note)


def _log_warning(log: FilteringBoundLogger, request: Request, text: str) -> None:
    log.warning("retraining warning", request=request.id, what=text)


def _no_drift(settings: Settings, args: argparse.Namespace, champion: Model) -> str:
    """Return the findings of the drift tests where none of them found drift, else an empty text."""
    reasons = retrain.drift_tests(settings, args, champion)
    return "" if any(one.passed for one in reasons) else "; ".join(f"{one.name}: {one.text}" for one in reasons)


def _without_training(settings: Settings, registry: Registry, request: Request) -> Result | None:
    """Return the result of a request that needs no training, else None. Either a worker did the work and died before it
    could answer, or the request comes too soon after the last challenger."""
    from anomaly_daemon.registry.reference import Alias
    from anomaly_daemon.training.requests import Result, too_soon

    if found := _earlier_result(settings, registry, request):
        return found
    last = next((move.at for move in registry.history(Alias.CHALLENGER)[-1:]), None)
    if too_soon(last, datetime.now(UTC), settings.retraining.minimum_seconds):
        return Result(request.id, request.reason, "skipped", f"the last challenger is of {last}")
    return None


def _earlier_result(settings: Settings, registry: Registry, request: Request) -> Result | None:
    from anomaly_daemon.registry.reference import Alias
    from anomaly_daemon.training.requests import Result

    prefix = _reason_prefix(request)
    found = challenger.earlier_move(settings, registry, prefix)
    if found is None:
        return None
    alias, move = found
    outcome = "promoted" if alias == Alias.CHAMPION else "kept"
    return Result(request.id, request.reason, outcome, move.reason.removeprefix(prefix), move.digest)


def _finished(settings: Settings, request: Request, result: Result) -> Result:
    """Delete the request's checkpoints and return the result."""
    _delete_checkpoints(settings, request)
    return result


def _delete_checkpoints(settings: Settings, request: Request) -> None:
    """Delete the request's checkpoints. No worker will resume from them: those of any champion, and partial files of
    workers that died while they wrote one."""
    for one in settings.retraining.checkpoints.glob(f"{request.id}-*"):
        one.unlink(missing_ok=True)


def _reason_prefix(request: Request) -> str:
    """Return the text with which the registry's history begins the reason of each move made for this request."""
    return f"request {request.id} ({request.reason}): "


def _text(place: str | int | None) -> str | None:
    return None if place is None else str(place)

"""Runs recorded files through the daemon's own worker, and collects the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from anomaly_daemon.bootstrap import build_worker
from anomaly_daemon.daemon.intake import Observer
from anomaly_daemon.daemon.worker import Worker
from anomaly_daemon.detection.alert import Alert
from anomaly_daemon.detection.observation import Observations
from anomaly_daemon.detection.scores import Step
from anomaly_daemon.errors import NoInput, UsageError
from anomaly_daemon.registry.reference import read_model
from anomaly_daemon.report.episodes import EpisodeBook
from anomaly_daemon.report.labels import for_streams, within
from anomaly_daemon.report.listening import Listening
from anomaly_daemon.report.matching import Matched, Window, match
from anomaly_daemon.report.summary import Outcome
from anomaly_daemon.report.tally import Tally
from anomaly_daemon.settings import HttpSettings, Settings, SnapshotSettings, SourceSettings
from anomaly_daemon.transport.files import FilesSource
from anomaly_daemon.transport.legible import Legible
from anomaly_daemon.transport.ports import Partition

NO_LIMIT = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Labels:
    """The windows that are known to be anomalous, and how long after a window's end an alarm still finds it
    (microseconds)."""

    windows: tuple[Window, ...]
    tolerance: int = 0


def over_files(settings: Settings, paths: Sequence[str]) -> Settings:
    """Return settings for the same detection over `paths`, or over the configuration's own files, without stored state
    and without an HTTP port.

    The limits per minute of wall time are lifted, as a day of records passes in a second here. Raises UsageError when
    there is no file to read.
    """
    if not paths and settings.source.kind != "files":
        raise UsageError("name the recorded files: anomaly-daemon backtest --config FILE RECORDS...")
    limits = settings.limits.model_copy(update={"alerts_per_minute": NO_LIMIT, "dead_letters_per_minute": NO_LIMIT})
    sink = settings.sink.model_copy(update={"delivery": "exactly_once"})
    alone = {
        "sink": sink,
        "snapshot": SnapshotSettings(path=None),
        "http": HttpSettings(enabled=False),
        "limits": limits,
    }
    source = SourceSettings(kind="files", paths=list(paths)) if paths else settings.source
    return settings.model_copy(update={"source": source, **alone})


def backtest(
    settings: Settings,
    on_alert: Callable[[Alert], None],
    labels: Labels | None = None,
    observers: Sequence[Observer] = (),
    progress: Callable[[int], None] | None = None,
    *,
    together: bool = False,
) -> Outcome:
    """Run to the end of the files and return the outcome; `on_alert` is called with every alert on the way. `together`:
    the files are one input, and a stream keeps its state from one to the next. Otherwise each file begins with its own
    state. Raises NoInput where no file holds a record."""
    book, tally, legible = EpisodeBook(), Tally(), Legible(settings.stream)

    def note(alert: Alert) -> None:
        book.add(alert)
        on_alert(alert)

    model, delivery = read_model(settings.model.path), Listening(note, refused=legible.refused)
    seen: list[Observer] = [tally, lambda observations, step: legible.read(observations)]
    source = FilesSource(settings.source.paths, settings.stream, limits=settings.limits, together=together)
    seen += [_standing(source, one) for one in observers] if together else observers
    worker = build_worker(settings, source=source, delivery=delivery, observers=seen, progress=progress, model=model)
    seconds = _run(worker, settings.source.paths)
    matched, unseen, outside = _judged(labels or Labels(()), tally, book)
    return Outcome(
        name=settings.name,
        model=model.ref,
        tally=tally,
        rejected=delivery.dead_letters,
        episodes=book.episodes,
        alarms_per_day=settings.detection.budget.alarms_per_stream_per_day,
        matched=matched if labels else None,
        unseen=unseen,
        outside=outside,
        seconds=seconds,
        legible=legible,
        apart=len(settings.source.paths) > 1 and not together,
    )


def _judged(labels: Labels, tally: Tally, book: EpisodeBook) -> tuple[Matched[Window], tuple[str, ...], int]:
    """Return which windows the episodes found, the labelled streams that are not in the records, and the number of
    windows outside the time of the recordings of their streams."""
    windows, unseen = for_streams(labels.windows, tally.streams)
    inside = within(windows, tally.recordings_of, labels.tolerance)
    return match(inside, book.episodes, labels.tolerance), unseen, len(windows) - len(inside)


def _run(worker: Worker, paths: Sequence[str]) -> float:
    """Run the worker and return the seconds that it took. Raises NoInput where there was no record."""
    began = time.perf_counter()
    worker.run()
    if not worker.metrics.value("records_total"):
        raise NoInput(f"there is no record to read in {', '.join(paths)}")
    return time.perf_counter() - began


def _standing(source: FilesSource, observer: Observer) -> Observer:
    """Return an observer that calls `observer` with each event's place in its own file (path, number and offset)."""

    def observe(observations: Observations, step: Step) -> None:
        if len(observations):
            read = Partition(observations.topic, observations.partition)
            path, number, first = source.place(read, int(observations.offset_N[0]))
            standing = {"topic": path, "partition": number, "offset_N": observations.offset_N - first}
            observer(replace(observations, **standing), step)  # type: ignore[arg-type]

    return observe

"""Cost against size: streams, fields, hidden units and events of a batch, each with the exponent of the power law
through its rates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from time import process_time

from anomaly_daemon.detection.detector import Detector
from anomaly_daemon.detection.observation import Observations
from performance.rows import Row, slope
from performance.workload import MINUTE, detector_of, joint_model, observations, part_of

FIELDS = 8


def measure(events: int, most_streams: int) -> Iterator[Row]:
    """Yield the figures of every axis. About `events` events are stepped through at each point."""
    streams = [size for size in (1_000, 10_000, 100_000, 1_000_000) if size <= most_streams]
    yield from _axis("streams", streams, lambda size: (detector_of(1, joint_model(1)), size, 1, 10_000), events)
    fields = lambda size: (detector_of(size), 1_000, size, 10_000)  # noqa: E731
    yield from _axis("fields", [1, 4, 16, 64], fields, events)
    hidden = lambda size: (detector_of(FIELDS, joint_model(FIELDS, size)), 1_000, FIELDS, 10_000)  # noqa: E731
    yield from _axis("hidden", [32, 64, 128, 200], hidden, events)
    batch = lambda size: (detector_of(FIELDS, joint_model(FIELDS)), 1_000, FIELDS, size)  # noqa: E731
    yield from _axis("batch", [1, 10, 100, 1_000, 10_000], batch, events)


def _axis(
    name: str, sizes: list[int], point: Callable[[int], tuple[Detector, int, int, int]], events: int
) -> Iterator[Row]:
    rates = []
    for size in sizes:
        detector, streams, fields, batch = point(size)
        rates.append(_rate(detector, observations(streams, max(streams, 10_000), fields), batch, events))
        yield Row("size", f"{name} {size}", "events_per_second", rates[-1])
        slab = detector.slab
        width = slab.carried_SP.strides[0] + slab.statistics_SQ.strides[0]
        yield Row("size", f"{name} {size}", "bytes_per_stream", width)
    yield Row("size", name, "exponent", slope([float(size) for size in sizes], rates))


def _rate(detector: Detector, all_N: Observations, batch: int, events: int) -> float:
    """Return events a second, measured after every stream has been given its row."""
    parts = [part_of(all_N, at, at + batch) for at in range(0, len(all_N), batch)]
    for part in parts if batch >= 1000 else [all_N]:
        detector.step(part)
    done, began, turn = 0, process_time(), 0
    while done < events and process_time() - began < 5.0:
        turn, place = turn + (done % len(all_N) == 0), (done // batch) % len(parts)
        part = parts[place]
        shift = turn * max(1, len(all_N) // len(all_N.keys)) * MINUTE
        detector.step(replace(part, time_N=part.time_N + shift, offset_N=part.offset_N + turn * len(all_N)))
        done += len(part)
    return done / (process_time() - began)

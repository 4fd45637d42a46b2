"""The time from a record's append until a subscriber has its alert, at several shares of what one process can handle.

The records are packed messages of a hundred readings of 8 fields, so that neither producer nor broker is what is
measured. One reading in 211 is far off, in a stream that has been calm. A commit is made every 100 ms; with the default
of 500 ms an alert waits longer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from daemons import Broker, Deployment, local_broker, subscriber

from performance.rows import Row
from performance.workload import PACKED_READINGS, names, packed_messages, times_of, values_of

STREAMS, FIELDS = 1000, 8
WARM_EVENTS = 60
"""Events of each stream before the measurement begins."""
FAR_EVERY = 211
SHARES = (0.1, 0.5, 0.8)
QUANTILES = (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))


def measure(seconds: float, events: int) -> Iterator[Row]:
    """Yield the delays for each delivery and share. The maximum rate is measured over a backlog of `events`; each share
    of it runs for `seconds`."""
    with local_broker() as broker, TemporaryDirectory() as folder:
        for delivery in ("exactly_once", "at_least_once"):
            most = _most(_deployment(broker, Path(folder), delivery), events)
            yield Row("latency", f"{delivery}: a backlog", "events_per_second", most)
            for share in SHARES:
                one = _deployment(broker, Path(folder), delivery)
                yield from _at(one, f"{delivery}, {share:.0%} of that", share * most, seconds)


def _deployment(broker: Broker, folder: Path, delivery: str) -> Deployment:
    numeric = ", ".join(f'"{name}"' for name in names(FIELDS))
    stream = [f"stream.numeric=[{numeric}]", "stream.format=packed", "stream.key=[]", "stream.time=null"]
    budget = "detection.budget.alarms_per_stream_per_day=50"
    return Deployment(broker, folder, *stream, budget, f"sink.delivery={delivery}", "commit.seconds=0.1", partitions=1)


def _messages(first: int, events: int) -> list[bytes]:
    """Return messages of readings of all streams in turn, from reading number `first` on."""
    at_N = first + np.arange(events)
    time_N, values_ND = (
        all_of[first:] for all_of in (times_of(STREAMS, first + events), values_of(STREAMS, first + events, FIELDS))
    )
    values_ND[(at_N % FAR_EVERY == 0) & (at_N >= STREAMS * WARM_EVENTS), 0] += 100.0
    return packed_messages(time_N, values_ND, at_N % STREAMS)


def _most(one: Deployment, events: int) -> float:
    one.produce([(0, message) for message in _messages(0, events)])
    with one.daemon() as daemon:
        daemon.wait("partition taken over")
        began = time.monotonic()
        one.wait_committed(events // PACKED_READINGS)
        return events / (time.monotonic() - began)


def _at(one: Deployment, case: str, rate: float, seconds: float) -> Iterator[Row]:
    warm = STREAMS * WARM_EVENTS
    one.produce([(0, message) for message in _messages(0, warm)])
    messages = _messages(warm, int(rate * seconds) // PACKED_READINGS * PACKED_READINGS)
    with one.daemon() as daemon, subscriber(one) as heard:
        daemon.wait("partition taken over")
        one.wait_committed(warm // PACKED_READINGS)
        began = time.time()
        _send(one, messages, rate / PACKED_READINGS)
        one.wait_committed(warm // PACKED_READINGS + len(messages))
        time.sleep(1.0)  # until the alerts of the last commit have arrived
        delays = sorted(arrived - appended for appended, *_, arrived in heard(since=began))
    yield Row("latency", case, "alerts", len(delays))
    yield from (Row("latency", case, f"{name}_ms", 1000 * _quantile(delays, share)) for name, share in QUANTILES)


def _send(one: Deployment, messages: Sequence[bytes], per_second: float) -> None:
    with one.producer() as send:
        send(0, messages[0])  # blocks until the topic is known; the others must not catch up
        began = time.monotonic()
        for place, message in enumerate(messages[1:]):
            time.sleep(max(0.0, began + place / per_second - time.monotonic()))
            send(0, message)


def _quantile(delays: Sequence[float], share: float) -> float:
    return delays[max(0, ceil(share * len(delays)) - 1)] if delays else float("nan")

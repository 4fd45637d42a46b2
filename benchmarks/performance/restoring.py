"""Start and restore of many streams on Apache Kafka, and the share of a core that their snapshots take."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from daemons import Broker, Daemon, Deployment, local_broker, until

from anomaly_daemon.bootstrap import make_of
from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.checkpoint.snapshot import Bucket, encode_bucket
from performance.rows import Row, shortest
from performance.workload import PACKED_READINGS, detector_of, observations, packed_values, settings_of

PARTITIONS = 4
SNAPSHOT_STREAMS = 10_000
BUCKETS = 16
PERIOD_SECONDS = 60.0


def measure(seconds: float, most_streams: int) -> Iterator[Row]:
    """Yield the figures of a restore at each size up to `most_streams`, with 1 field and the shipped network, after
    those of snapshots."""
    yield from _snapshots(seconds)
    with local_broker() as broker, TemporaryDirectory() as folder:
        for streams in (size for size in (100_000, 1_000_000) if size <= most_streams):
            yield from _restore(broker, Path(folder), streams)


def _restore(broker: Broker, folder: Path, streams: int) -> Iterator[Row]:
    stream = ['stream.numeric=["v0"]', "stream.format=packed", "stream.key=[]", "stream.time=null"]
    one, case = Deployment(broker, folder, *stream, partitions=PARTITIONS), f"{streams:,} streams"
    messages = packed_values(streams, 2 * streams, 1)
    turn = streams // PACKED_READINGS  # messages that hold each stream once: a stream has to stay in its partition
    one.produce([(place % turn % PARTITIONS, message) for place, message in enumerate(messages)])
    with one.daemon() as daemon:
        began = time.monotonic()
        until("it to be ready", lambda: daemon.metric("anomaly_daemon_ready") == 1.0)
        yield Row("restore", f"{case}: a first start", "seconds", time.monotonic() - began)
        one.wait_committed(len(messages))
        yield Row("restore", f"{case}: running", "resident_bytes", _resident(daemon))
        began = time.monotonic()
        daemon.stop()
        yield Row("restore", f"{case}: a clean stop", "seconds", time.monotonic() - began)
    yield Row("restore", case, "stored_bytes", one.stored_bytes())
    with one.daemon() as daemon:
        yield Row("restore", f"{case}: taken over", "seconds", daemon.take_over_seconds(PARTITIONS))
        yield Row("restore", f"{case}: taken over", "resident_bytes", _resident(daemon))


def _resident(daemon: Daemon) -> float:
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return 1024.0 * float(found[1]) if found else float("nan")


def _snapshots(seconds: float) -> Iterator[Row]:
    """Yield the cost of encoding a bucket, without the producer's part, which is a few large records a minute."""
    for fields in (1, 8):
        settings, detector = settings_of(fields, "packed"), detector_of(fields)
        events = observations(SNAPSHOT_STREAMS, SNAPSHOT_STREAMS, fields)
        for start in range(0, len(events), PACKED_READINGS * 100):
            detector.step(events.take(slice(start, start + PACKED_READINGS * 100)))
        make = make_of(settings, read_model("pretrained"))
        sizes: list[int] = []

        def write(detector=detector, make=make, sizes=sizes) -> None:  # type: ignore[no-untyped-def]
            sizes.append(len(encode_bucket(Bucket(make, 0, 0, detector.export(0, BUCKETS)))))

        best = shortest({"write": write}, seconds)["write"]
        in_bucket = len(detector.slab.in_bucket(0, BUCKETS))
        each, case = best / in_bucket, f"{fields} fields"
        yield Row("snapshot", case, "bytes_per_stream", sizes[-1] / in_bucket)
        yield Row("snapshot", case, "microseconds_per_stream", 1e6 * each)
        yield Row("snapshot", f"{case}: 100,000 streams a minute", "share_of_core", 1e5 * each / PERIOD_SECONDS)

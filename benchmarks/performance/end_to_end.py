"""The daemon on Apache Kafka, exactly once, over a backlog; the upper limits that its stages set; and a plain loop in
its place.

Rates are per CPU-second of the process, without its start-up, because broker, producer and consumer share the machine.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from daemons import PATIENCE_SECONDS, Broker, Daemon, Deployment, local_broker
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from anomaly_daemon.checkpoint.models import write_model
from anomaly_daemon.settings import PRETRAINED
from anomaly_daemon.transport.codec import Decoder
from anomaly_daemon.transport.kafka.blocks import joined, read_in_blocks
from anomaly_daemon.transport.kafka.columns import record_batch
from anomaly_daemon.transport.kafka.sockets import PROXY_URL
from anomaly_daemon.transport.ports import Partition, RecordBatch
from performance.rows import Row, cpu_seconds
from performance.workload import PACKED_READINGS, joint_model, json_values, names, packed_values, settings_of

STREAMS = 1000
PLAIN_EVENTS = 5_000
"""Records that the plain loop and the other stream processors score: they are slow."""
PRODUCER = {"linger_ms": 20, "batch_size": 2**18, "acks": 1, "enable_idempotence": False}

Take = Callable[[RecordBatch], object]
Others = Mapping[str, tuple[str, Path | None]]
"""For each name of a stream processor: the program in this folder, and the Python of an environment that has the
packages it needs, or None."""


def measure(events: int, others: Others) -> Iterator[Row]:
    """Yield the rates for each format and number of fields. `events` is the number of events of the backlog."""
    with local_broker() as broker, tempfile.TemporaryDirectory() as folder:
        for form, fields in (("json", 1), ("json", 8), ("packed", 8)):
            yield from _job(broker, Path(folder), form, fields, events, others)


def _job(broker: Broker, folder: Path, form: str, fields: int, events: int, others: Others) -> Iterator[Row]:
    packed = form == "packed"
    values = (packed_values if packed else json_values)(STREAMS, events, fields)
    per_record = PACKED_READINGS if packed else 1
    case, settings = f"{form}, {fields} fields", settings_of(fields, form)
    joint = folder / f"joint-{form}-{fields}"
    write_model(joint_model(fields), joint)
    for network, path in (("shipped", PRETRAINED), ("joint", str(joint))):
        one = _filled(_deployment(broker, folder, form, fields, f"model.path={path}"), values)
        with one.daemon() as daemon:
            seconds = _daemon(one, daemon, len(values))
        yield Row("end_to_end", f"{case}: daemon, {network} network", "events_per_cpu_second", events / seconds)
    decoder = Decoder(settings.stream, settings.limits)
    ceilings: dict[str, tuple[Take, bool]] = {
        "poll alone": (len, True),
        "poll and decode": (decoder.decode, True),
        "poll of the client's own records": (len, False),
    }
    for name, (take, blocks) in ceilings.items():
        seconds = _consumed(one, len(values), take, blocks)
        yield Row("end_to_end", f"{case}: {name}", "events_per_cpu_second", len(values) * per_record / seconds)
    if not packed:
        plain = min(events, PLAIN_EVENTS)
        seconds = _consumed(one, plain, _plain_loop(fields), blocks=False)
        yield Row("end_to_end", f"{case}: plain loop of LSTMCell", "events_per_cpu_second", plain / seconds)
        yield from _others(one, case, plain, others)


def _filled(one: Deployment, values: Sequence[bytes]) -> Deployment:
    with closing(KafkaProducer(proxy_url=PROXY_URL, bootstrap_servers=one.bootstrap, **PRODUCER)) as producer:
        for value in values:
            producer.send(one.name, value, partition=0)
        producer.flush()
    return one


def _others(one: Deployment, case: str, records: int, others: Others) -> Iterator[Row]:
    """Yield the rates of stream processors in Python that do the same job, each in an environment of its own."""
    for name, (program, python) in others.items():
        if python is None:
            print(f"end_to_end  {name}: left out, no environment that has it was named")
            continue
        script = Path(__file__).with_name(program)
        words = [str(python), str(script), one.bootstrap, one.name, str(records), str(STREAMS)]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, timeout=PATIENCE_SECONDS)
        seconds = float(done.stdout.splitlines()[-1])
        yield Row("end_to_end", f"{case}: {name} and river", "events_per_cpu_second", records / seconds)


def _deployment(broker: Broker, folder: Path, form: str, fields: int, *more: str) -> Deployment:
    stream = [f"stream.numeric={json.dumps(names(fields))}", f"stream.format={form}"]
    if form == "packed":
        stream += ["stream.key=[]", "stream.time=null"]
    return Deployment(broker, folder, *stream, *more, partitions=1)


def _daemon(one: Deployment, daemon: Daemon, records: int) -> float:
    """Return the daemon's CPU-seconds from the take-over until that many records are committed."""
    daemon.wait("partition taken over")
    began = daemon.cpu_seconds()
    one.wait_committed(records)
    return daemon.cpu_seconds() - began


def _consumed(one: Deployment, records: int, take: Take, blocks: bool) -> float:
    """Return the CPU-seconds that this process takes to read so many records and pass them to `take`."""
    name = TopicPartition(one.name, 0)
    settings = {"max_poll_records": 10_000, "enable_auto_commit": False, "metrics_enabled": False}
    with closing(KafkaConsumer(proxy_url=PROXY_URL, bootstrap_servers=one.bootstrap, **settings)) as consumer:
        as_batch = joined if blocks and read_in_blocks(consumer) else record_batch
        consumer.assign([name])
        consumer.seek(name, 0)
        return cpu_seconds(
            lambda: _read(consumer, name, records, lambda found: take(as_batch(Partition(*name), found, 0)))
        )


def _read(consumer: Any, name: TopicPartition, records: int, take: Callable[[list[Any]], object]) -> None:
    deadline = time.monotonic() + 300.0
    while consumer.position(name) < records:
        if time.monotonic() > deadline:
            raise SystemExit("the records do not come")
        for found in consumer.poll(timeout_ms=500, max_records=min(10_000, records)).values():
            take(found)


def _plain_loop(fields: int) -> Take:
    """The loop that one would write first: parse each event, make one LSTM step and a linear prediction, and keep the
    states in a dictionary."""
    cell, head = torch.nn.LSTMCell(fields, 64), torch.nn.Linear(64, fields)
    states: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    torch.set_num_threads(1)

    @torch.inference_mode()
    def take(batch: RecordBatch) -> None:
        for value in batch.values:
            event = json.loads(value or b"{}")
            x = torch.tensor([[event[name] for name in names(fields)]])
            before = states.get(event["id"])
            if before is not None:
                float((head(before[0]) - x).square().mean())
            states[event["id"]] = cell(x, before)

    return take

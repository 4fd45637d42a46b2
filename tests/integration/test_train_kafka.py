"""`train` on a range of a topic of Apache Kafka."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.cli import main
from anomaly_daemon.transport.kafka.sockets import PROXY_URL

pytestmark = pytest.mark.kafka

EVENTS, STREAMS, START = 700, 12, 1_700_000_000


@pytest.fixture
def recorded(rigs: Any) -> Any:
    """A topic of two partitions with twelve streams of waves whose events are a second apart. Record times are event
    times."""
    from kafka import KafkaProducer

    rig, random = rigs(2), np.random.default_rng(0)
    producer = KafkaProducer(proxy_url=PROXY_URL, bootstrap_servers=rig.broker.bootstrap)
    for event in range(EVENTS):
        for stream in range(STREAMS):
            value = float(np.sin(event / 5 + stream) + 0.1 * random.standard_normal())
            record = json.dumps({"time": START + event, "a": value}).encode()
            milliseconds = (START + event) * 1000
            producer.send(rig.input, record, f"s{stream}".encode(), partition=stream % 2, timestamp_ms=milliseconds)
    producer.flush()
    producer.close()
    return rig


def test_a_model_is_trained_on_the_records_between_two_times(recorded: Any, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        f"""
kafka: {{bootstrap_servers: "{recorded.broker.bootstrap}"}}
source: {{topic: {recorded.input}}}
stream: {{time: time, numeric: [a]}}
training: {{epochs: 1, window: 32, batch_size: 32, hidden: 50}}
"""
    )
    span = ["--start", "2023-11-14T22:13:30Z", "--end", "2023-11-14T22:24:00Z"]  # seconds 10 and 640 of 700
    assert main(["train", "-c", str(config), "--from-topic", *span, "--output", str(tmp_path / "model")]) == 0
    model = read_model(tmp_path / "model")
    assert model.manifest.training["streams"] == STREAMS
    assert model.manifest.training["events"] == STREAMS * 630
    assert model.manifest.training["range"]["start"] == "2023-11-14T22:13:30+00:00"
    assert model.manifest.training["range"]["end"] == "2023-11-14T22:23:59+00:00"

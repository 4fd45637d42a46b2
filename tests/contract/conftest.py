"""Runs every contract test on every transport. Without a broker the tests on Kafka are skipped, and fail in CI."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from worlds import FilesWorld, MemoryWorld, World

WORLDS = ["memory", "files", pytest.param("kafka", marks=pytest.mark.kafka)]


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with ExitStack() as closing:
        if request.param == "memory":
            yield MemoryWorld(closing)
        elif request.param == "files":
            yield FilesWorld(tmp_path, closing)
        else:
            from kafka_world import KafkaWorld

            yield KafkaWorld(request.getfixturevalue("kafka_broker"), closing)

"""The benchmark's job as one would build it with PyFlink and river. A separate program: see `quix_river`.

    python flink_river.py BOOTSTRAP TOPIC RECORDS FIRST

Runs in an environment that has both packages (`pip install apache-flink river`), with Java, and with the jar of Flink's
Kafka connector (org.apache.flink:flink-sql-connector-kafka) among PyFlink's own jars, in `pyflink/lib`. The CPU-seconds
are those of all its processes: Flink's Java processes and its Python processes.
"""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

from pyflink.common import Types, WatermarkStrategy
from pyflink.common.serialization import SimpleStringSchema
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream.connectors.kafka import (
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
)
from pyflink.datastream.functions import MapFunction, RuntimeContext


class Judge(MapFunction):
    """Scores every record with the trees of its key. The result is the alert as JSON, or an empty string for none."""

    def __init__(self, records: int, first: int, root: int, told: str) -> None:
        self._records, self._first, self._root, self._told = records, first, root, told

    def open(self, runtime_context: RuntimeContext) -> None:
        from river_trees import Trees

        self._trees = Trees(self._first, self._records, lambda: cpu_seconds(self._root))

    def map(self, value: str) -> str:
        from river_trees import ALERT_ABOVE

        event = json.loads(value)
        score = self._trees.score(event)
        if (seconds := self._trees.ended) is not None:
            Path(self._told).write_text(str(seconds))
        return json.dumps(event | {"score": score}) if score > ALERT_ABOVE else ""


def cpu_seconds(root: int) -> float:
    """Return the CPU-seconds of a process and all its descendants."""
    children, ticks = defaultdict(list), {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(") ")[2].split()
        except OSError:  # the process has ended
            continue
        children[int(fields[1])].append(int(folder.name))
        ticks[int(folder.name)] = int(fields[11]) + int(fields[12])
    family = [root]
    for process in family:
        family += children[process]
    return sum(ticks.get(process, 0) for process in family) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Run one job with parallelism 1, up to the end of the topic as it is at the start, and print the CPU-seconds."""
    bootstrap, topic, records, first = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    with TemporaryDirectory() as folder:
        told = Path(folder) / "seconds"
        environment = StreamExecutionEnvironment.get_execution_environment()
        environment.set_parallelism(1)
        environment.set_python_executable(sys.executable)
        environment.add_python_file(str(Path(__file__).with_name("river_trees.py")))
        events = environment.from_source(_source(bootstrap, topic), WatermarkStrategy.no_watermarks(), "events")
        judged = events.map(Judge(records, first, os.getpid(), str(told)), output_type=Types.STRING())
        judged.filter(lambda alert: alert != "").sink_to(_sink(bootstrap, f"{topic}-flink"))
        environment.execute("flink-river")
        print(told.read_text())


def _source(bootstrap: str, topic: str) -> KafkaSource:
    return (
        KafkaSource.builder()
        .set_bootstrap_servers(bootstrap)
        .set_topics(topic)
        .set_group_id("flink")
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_bounded(KafkaOffsetsInitializer.latest())
        .set_value_only_deserializer(SimpleStringSchema())
        .build()
    )


def _sink(bootstrap: str, topic: str) -> KafkaSink:
    record = KafkaRecordSerializationSchema.builder().set_topic(topic)
    record = record.set_value_serialization_schema(SimpleStringSchema())
    return KafkaSink.builder().set_bootstrap_servers(bootstrap).set_record_serializer(record.build()).build()


if __name__ == "__main__":
    main()

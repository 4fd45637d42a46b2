"""`init`: a first configuration from a sample of what there is to read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from anomaly_daemon.commands.common import add_config_arguments, load
from anomaly_daemon.commands.numbers import whole
from anomaly_daemon.commands.outputs import refuse_unwritable
from anomaly_daemon.errors import ExitCode, NoInput, UsageError

if TYPE_CHECKING:
    from anomaly_daemon.settings import KafkaSettings

HELP = "write a commented configuration from a sample of a file or topic"
EXAMPLE = """  anomaly-daemon init readings.csv --output sensors.yaml
  anomaly-daemon init --topic readings --set kafka.bootstrap_servers=broker:9092"""


class Sampled(NamedTuple):
    """Values as they were read; `keys` are record keys worth using as stream keys."""

    values: list[bytes]
    keys: list[str] | None
    source: list[str]
    origin: str


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", help="a CSV, JSON lines or Parquet file to sample")
    parser.add_argument(
        "--topic", help="a Kafka topic to sample instead; the broker by --config or --set kafka.KEY=..."
    )
    parser.add_argument(
        "--records", type=whole, default=5000, help="how many records to look at (default: %(default)s)"
    )
    parser.add_argument("--output", "-o", default="anomaly-daemon.yaml", help='"-" prints (default: %(default)s)')
    parser.add_argument("--force", action="store_true", help="overwrite the output")
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from anomaly_daemon.transport.sample import infer
    from anomaly_daemon.transport.sample_rows import sample_rows
    from anomaly_daemon.transport.sample_yaml import written

    if bool(args.file) == bool(args.topic):
        raise UsageError("name a file or a --topic, one of the two")
    output = Path(args.output)
    if args.output != "-" and output.exists() and not args.force:
        raise UsageError(f"{output} is there already: choose another --output, or --force")
    refuse_unwritable("--output", None if args.output == "-" else output, [args.file] if args.file else [])
    sampled = _file(args.file, args.records) if args.file else _topic(_kafka(args), args.topic, args.records)
    rows = sample_rows(sampled.values, header=bool(args.file), keys=sampled.keys).first(args.records)
    if rows.format == "packed":
        raise UsageError("these are packed messages: they name no fields; see docs/input.md for their configuration")
    inferred = infer(rows)
    if not inferred.numeric and not inferred.categorical:
        raise NoInput(f"{sampled.origin}: no field of the {len(rows.rows)} records read can be watched")
    text = written(inferred, sampled.source, sampled.origin)
    if args.output == "-":
        print(text, end="")
        return ExitCode.OK
    output.write_text(text, encoding="utf-8")
    streams = f"{inferred.streams} stream{'' if inferred.streams == 1 else 's'}"
    print(f"{output}: {len(rows.rows)} records of {streams} looked at; read it, then:")
    print(f"  anomaly-daemon validate --config {output}{' --online' if args.topic else ''}")
    if args.file and inferred.time is None:
        print("no field tells the time: name one as stream.time first, without it no record of a file is read")
    if strange := sum(not _is_utf8(value) for value in sampled.values):
        print(f"{strange} are not UTF-8, and will not be read: iconv -f ISO-8859-1 -t UTF-8, if that is what they are")
    if rows.unreadable:
        print(f"{rows.unreadable} more records could not be read")
    return ExitCode.OK


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _file(path: str, records: int) -> Sampled:
    from itertools import islice

    from anomaly_daemon.transport.opening import refuse_foreign
    from anomaly_daemon.transport.parquet_rows import ParquetRows
    from anomaly_daemon.transport.sample_yaml import quoted

    if path.endswith(".parquet"):
        reader = ParquetRows(path)
        values = [value for _, value in reader.read(records, 0.0)]
        reader.close()
    else:
        if Path(path).is_dir():
            raise NoInput(f"{path}: this is a folder; name a file")
        refuse_foreign(path)
        with Path(path).open("rb") as file:
            values = [line.rstrip(b"\r\n").removeprefix(b"\xef\xbb\xbf") for line in islice(file, records + 1)]
    source = [
        f"name: {quoted(Path(path).stem)}",
        "",
        "source:",
        "  kind: files",
        f"  paths: [{quoted(path)}]",
        "",
        "sink:",
        "  kind: files",
        "  path: alerts.jsonl",
        "  dead_letter_path: dead-letters.jsonl",
        "# With a folder for state and progress a second run goes on where this one ended; without, it appends all again.",
        "# snapshot: {path: state}",
        "",
    ]
    return Sampled(values, None, source, path)


def _kafka(args: argparse.Namespace) -> KafkaSettings:
    """The kafka section alone: what else a configuration needs is what we are here to find out."""
    return load(args, f"source.topic={args.topic}", 'stream.numeric=["any"]').kafka


def _topic(kafka: KafkaSettings, topic: str, records: int) -> Sampled:
    from anomaly_daemon.transport.kafka.inspect import sample_topic
    from anomaly_daemon.transport.sample_yaml import quoted

    pairs = [
        (key, value)
        for batch in sample_topic(kafka, topic, records)
        for key, value in zip(batch.keys, batch.values, strict=True)
        if value
    ]
    keyed = bool(pairs) and all(key for key, _ in pairs)
    source = [
        f"name: {quoted(topic)}",
        "",
        "kafka:",
        f"  bootstrap_servers: {quoted(kafka.bootstrap_servers)}  # how to log in: see docs/security.md",
        f"  group_id: {quoted(topic)}  # its own: daemons of one group share their input",
        "",
        "source:",
        f"  topic: {quoted(topic)}",
        "",
        "sink:",
        f"  alerts_topic: {quoted(topic + '-alerts')}",
        f"  dead_letter_topic: {quoted(topic + '-dead-letters')}",
        "  create_topics: true  # those that are missing: alerts, dead letters and snapshots",
        "",
        "snapshot:",
        f"  topic: {quoted(topic + '-snapshots')}",
        "",
    ]
    keys = [(key or b"").decode("utf-8", "replace") for key, _ in pairs] if keyed else None
    return Sampled([value for _, value in pairs], keys, source, f"topic {topic}")

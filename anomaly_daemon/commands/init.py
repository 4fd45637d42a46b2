"""`init`: writes a first configuration from a sample of the records of a file or topic."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from anomaly_daemon.commands.common import STDIN, add_config_arguments, load
from anomaly_daemon.commands.numbers import whole
from anomaly_daemon.commands.outputs import refuse_unwritable
from anomaly_daemon.errors import ExitCode, NoInput, UsageError

if TYPE_CHECKING:
    from anomaly_daemon.settings import RegistrySettings, Settings
    from anomaly_daemon.transport.files_chain import Reader
    from anomaly_daemon.transport.sample import Inferred
    from anomaly_daemon.transport.sample_fields import FieldSeen
    from anomaly_daemon.transport.sample_rows import SampleRows

HELP = "write a commented configuration from a sample of a file or topic"
EXAMPLE = """  anomaly-daemon init readings.csv --output sensors.yaml
  zcat readings.csv.gz | anomaly-daemon init - --output sensors.yaml
  anomaly-daemon init --topic readings --set kafka.bootstrap_servers=broker:9092
  anomaly-daemon init --topic readings --set stream.format=avro --set stream.avro.registry_url=http://registry:8081"""


class Sampled(NamedTuple):
    """The sampled values as they were read. `keys` holds record keys that are useful as stream keys, `source` the lines
    of the configuration that are not about the stream, and `origin` the name of the input in messages."""

    values: list[bytes]
    keys: list[str] | None
    source: list[str]
    origin: str
    header: bool
    """Whether the first value may be a line of column names."""
    schemas: RegistrySettings | None = None
    """How the schemas were found, where the values were Avro or Protobuf; `values` then holds them as JSON. None for
    any other format."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", nargs="?", help='a CSV, JSON lines, Parquet or Avro file to sample; "-": standard input'
    )
    parser.add_argument(
        "--topic", help="a Kafka topic to sample instead; the broker by --config or --set kafka.KEY=..."
    )
    parser.add_argument(
        "--records", type=whole, default=5000, help="how many records to look at (default: %(default)s)"
    )
    parser.add_argument(
        "--output", "-o", default="anomaly-daemon.yaml", help='the file to write; "-" prints it (default: %(default)s)'
    )
    parser.add_argument("--force", action="store_true", help="overwrite the output")
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from anomaly_daemon.transport.sample import infer
    from anomaly_daemon.transport.sample_rows import sample_rows
    from anomaly_daemon.transport.sample_yaml import written

    if bool(args.file) == bool(args.topic):
        raise UsageError("give either a file or --topic")
    output = Path(args.output)
    if args.output != "-" and output.exists() and not args.force:
        raise UsageError(f"{output} exists already: choose another --output, or --force")
    refuse_unwritable("--output", None if args.output == "-" else output, [args.file] if args.file else [])
    sampled = _file(args.file, args.records) if args.file else _topic(_given(args), args.topic, args.records)
    rows = sample_rows(sampled.values, header=sampled.header, keys=sampled.keys).first(args.records)
    if sampled.schemas is not None:
        rows = replace(rows, format=sampled.schemas.FORMAT, schemas=sampled.schemas)
    if rows.format == "packed":
        raise UsageError("these are packed messages: they name no fields; see docs/input.md for their configuration")
    _refuse_misread(rows, sampled)
    inferred = infer(rows)
    if not inferred.numeric and not inferred.categorical:
        raise NoInput(_nothing_to_watch(inferred, sampled.origin))
    text = written(inferred, sampled.source, sampled.origin)
    advice = "".join(f"{line}\n" for line in _said(inferred, sampled, of_file=bool(args.file)))
    if args.output == "-":
        print(text, end="")
        print(advice, end="", file=sys.stderr)
        return ExitCode.OK
    output.write_text(text, encoding="utf-8")
    streams = f"{inferred.streams} stream{'' if inferred.streams == 1 else 's'}"
    print(f"{output}: {len(rows.rows)} records of {streams} looked at; read it, then:")
    print(f"  anomaly-daemon validate --config {output}{' --online' if args.topic else ''}")
    print(advice, end="")
    return ExitCode.OK


def _refuse_misread(rows: SampleRows, sampled: Sampled) -> None:
    """Raise NoInput, saying what to change, where the daemon could not read a file's column names as they are."""
    from anomaly_daemon.transport.csv_fields import TO_UTF8
    from anomaly_daemon.transport.sample_notes import misread

    if why := misread(rows):
        raise NoInput(f"{sampled.origin}: {why}")
    if rows.format == "csv" and rows.columns is None and rows.names and not _is_utf8(sampled.values[0]):
        raise NoInput(f"{sampled.origin}: the line of column names is not UTF-8: {TO_UTF8}")


def _nothing_to_watch(inferred: Inferred, origin: str) -> str:
    from anomaly_daemon.transport.sample_notes import legible, parted_by_spaces

    if not inferred.rows.rows and not inferred.rows.unreadable:
        return f"{origin}: there is no record in it that holds a value"
    if parted_by_spaces(inferred.rows):
        return (
            f"{origin}: columns separated by spaces cannot be read; to convert the file: "
            "awk -v OFS=';' '{$1 = $1} 1' FILE > NEW"
        )
    why = "; ".join(f"{path}: {reason}" for path, reason in list(inferred.ignored.items())[:5])
    nothing = f"{origin}: none of the fields of the {len(inferred.rows.rows)} records read is usable as a feature"
    return nothing + (f" ({legible(why)})" if why else "")


def _said(inferred: Inferred, sampled: Sampled, *, of_file: bool) -> Iterator[str]:
    """Yield what an operator should know before using the configuration, one line each."""
    from anomaly_daemon.transport.csv_fields import TO_UTF8
    from anomaly_daemon.transport.sample_notes import legible, notes, numbering, why_the_key
    from anomaly_daemon.transport.sample_times import may_tell_time

    if why := why_the_key(inferred):
        yield why
    elif not of_file and sampled.keys is None:
        yield (
            "no field was found that tells streams apart, and the keys of the records do not either, or are no text: a "
            "record without a key becomes a dead letter. Name fields in stream.key, or have the producer set a key"
        )
    if of_file and inferred.time is None:
        yield "no time field was found: set stream.time first, without it no record of a file can be read"
        may = [legible(_perhaps(field)) for field in inferred.seen.values() if may_tell_time(field)]
        yield from may or numbering(inferred)
    yield from notes(inferred)
    binary = inferred.rows.format == "otlp_proto"
    if strange := 0 if binary else sum(not _is_utf8(value) for value in sampled.values):
        yield f"{strange} records are not UTF-8, and cannot be read: {TO_UTF8}"
    if inferred.rows.unreadable:
        yield f"{inferred.rows.unreadable} more records could not be read"


def _perhaps(field: FieldSeen) -> str:
    form = 'with stream.time_format, in the codes of strptime (such as "%d.%m.%Y %H:%M")'
    return (
        f'"{field.path}" may hold the time, judging by its name: describe how times like {field.examples[0]} '
        f"are written {form}"
    )


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _file(path: str, records: int) -> Sampled:
    from anomaly_daemon.transport.avro_rows import AvroRows
    from anomaly_daemon.transport.opening import refuse_foreign, refuse_foreign_head, refuse_name
    from anomaly_daemon.transport.parquet_rows import ParquetRows
    from anomaly_daemon.transport.sample_parts import is_line
    from anomaly_daemon.transport.yaml_text import quoted

    refuse_name(path)
    if path == STDIN:
        values = _lines(sys.stdin.buffer, records)
    elif Path(path).is_dir():
        raise NoInput(f"{path}: this is a folder; name a file")
    elif path.endswith((".parquet", ".avro")):
        values = _rows(ParquetRows(path) if path.endswith(".parquet") else AvroRows(path), records)
    else:
        refuse_foreign(path, lists=True)
        with Path(path).open("rb") as file:
            values = _lines(file, records)
    origin, first = "standard input" if path == STDIN else path, values[0] if values else b""
    if not path.endswith((".parquet", ".avro")):
        refuse_foreign_head(origin, first, lists=is_line(first))
    source = [
        f"name: {'stdin' if path == STDIN else quoted(Path(path).stem)}",
        "",
        "source:",
        "  kind: files",
        f"  paths: [{quoted(path)}]",
        "",
        "sink:",
        "  kind: files",
        "  path: alerts.jsonl",
        "  dead_letter_path: dead-letters.jsonl",
        "# With a folder for state and progress a second run resumes where this one ended; without, it appends all again.",
        "# snapshot: {path: state}",
        "",
    ]
    return Sampled(values, None, source, origin, header=True)


def _lines(file: BinaryIO, records: int) -> list[bytes]:
    """Return up to `records` + 1 lines, one more than asked for because the first may hold the column names."""
    return [line.rstrip(b"\r\n").removeprefix(b"\xef\xbb\xbf") for line in islice(file, records + 1)]


def _rows(reader: Reader, records: int) -> list[bytes]:
    """Return up to `records` rows. One read of a Parquet file returns at most a part of them."""
    with closing(reader):
        values = list[bytes]()
        while len(values) < records and not reader.ended():
            values += [value for _, value in reader.read(records - len(values), 0.0)]
    return values


def _given(args: argparse.Namespace) -> Settings:
    """Return settings that say how to reach the broker, and where the schemas are. The other keys that a configuration
    requires are what `init` has to find out, so placeholders stand in for them."""
    return load(args, f"source.topic={args.topic}", 'stream.numeric=["any"]')


def _topic(given: Settings, topic: str, records: int) -> Sampled:
    from anomaly_daemon.transport.csv_fields import CSV_COLUMNS
    from anomaly_daemon.transport.kafka.inspect import sample_topic
    from anomaly_daemon.transport.record_fields import as_json, record_by_schema

    found = [
        (key, value, dict(headers).get(CSV_COLUMNS))
        for batch in sample_topic(given.kafka, topic, records)
        for key, value, headers in zip(batch.keys, batch.values, batch.headers, strict=True)
        if value
    ]
    columns = Counter(names for _, _, names in found if names)
    header = [names for names, count in columns.most_common(1) if count >= len(found) / 2]
    if header:  # the daemon reads each other record by its own column names
        found = [one for one in found if one[2] == header[0]]
    keyed = bool(found) and all(key and key[0] for key, _, _ in found)  # 0: written by a registry's serializer
    keys = [*("" for _ in header), *((key or b"").decode("utf-8", "replace") for key, _, _ in found)] if keyed else None
    values = [*header, *(value for _, value, _ in found)]
    schemas = {"avro": given.stream.avro, "protobuf": given.stream.protobuf}.get(given.stream.format)
    decoded = record_by_schema(given.stream)
    read = _unregistered(values, topic) if decoded is None else as_json(decoded, values)
    return Sampled(read, keys, _written_topic(given, topic), f"topic {topic}", header=bool(header), schemas=schemas)


def _written_topic(given: Settings, topic: str) -> list[str]:
    """Return the lines of the configuration that are not about the stream."""
    from anomaly_daemon.transport.yaml_text import quoted

    return [
        f"name: {quoted(topic)}",
        "",
        "kafka:",
        f"  bootstrap_servers: {quoted(given.kafka.bootstrap_servers)}  # how to log in: see docs/security.md",
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


def _unregistered(values: list[bytes], topic: str) -> list[bytes]:
    from anomaly_daemon.transport.sample_rows import registered

    if registered(values):
        raise UsageError(
            f"topic {topic}: its records are not JSON and begin like those of a schema registry's serializers (a zero "
            "byte and a schema id). If they are Avro: --set stream.format=avro --set stream.avro.registry_url=http://... "
            "(Protobuf: protobuf in place of avro)"
        )
    return values

"""`validate`: checks a configuration and, with --online, whether the broker and the topics that it names are there."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from anomaly_daemon.commands.common import add_config_arguments, load, print_json, table
from anomaly_daemon.errors import DaemonError, ExitCode

if TYPE_CHECKING:
    from anomaly_daemon.settings import Settings
    from anomaly_daemon.transport.ports import RecordBatch

HELP = "check a configuration; with --online also the broker, topics and permissions"
EXAMPLE = """  anomaly-daemon validate --config configs/sensors.yaml
  anomaly-daemon validate --config configs/sensors.yaml --online
  anomaly-daemon validate --schema > anomaly-daemon.schema.json"""


SAMPLED = 2000
"""Number of records of a topic that are looked at."""


class Check(NamedTuple):
    """The result of one check. `code` is the exit code that it asks for: 0 when nothing is wrong."""

    what: str
    code: ExitCode
    detail: str
    doubtful: bool = False
    """Whether an operator should look at this, although it may be right."""

    @property
    def result(self) -> str:
        return "wrong" if self.code else "look" if self.doubtful else "ok"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser)
    parser.add_argument("--online", action="store_true", help="also reach the broker: topics, partitions, rights")
    parser.add_argument("--schema", action="store_true", help="print the configuration's JSON Schema and end")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    from anomaly_daemon.configuration import config_digest, json_schema, resolved

    if args.schema:
        print(json.dumps(json_schema(), indent=2))
        return ExitCode.OK
    settings = load(args)
    checks = [Check("configuration", ExitCode.OK, f"digest {config_digest(settings)[:12]}")]
    checks += [Check("detection.mute", ExitCode.OK, doubt, doubtful=True) for doubt in settings.mute_doubts()]
    checks += [*_kinds(settings), *_files(settings), _model(settings)]
    if args.online:
        checks += _online(settings)
    if not any(check.code for check in checks):
        try:
            checks += _records(settings, online=args.online)
        except DaemonError as error:
            checks.append(Check("records", error.exit_code, str(error)))
    code = next((check.code for check in checks if check.code), ExitCode.OK)
    if args.json:
        findings = [
            {"what": one.what, "ok": not one.code, "result": one.result, "detail": one.detail} for one in checks
        ]
        print_json({"ok": not code, "checks": findings, "configuration": _in_json(resolved(settings))})
    else:
        print(yaml.safe_dump(_in_a_file(resolved(settings)), sort_keys=False, allow_unicode=True))
        print(_as_comments(checks), end="", flush=True)
        for check in checks:  # for operators who redirect the output to a file
            if check.result != "ok":
                print(f"anomaly-daemon: {check.result}: {check.what}: {check.detail}", file=sys.stderr)
    return code


def _in_json(value: Any) -> Any:
    """Return the value with each infinite number as the text "inf": JSON has no such number, and a configuration takes
    the text for it."""
    if isinstance(value, dict):
        return {name: _in_json(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_in_json(one) for one in value]
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def _in_a_file(value: Any) -> Any:
    """Return the value as a configuration file holds it: a text with `${` would be read as one with a variable."""
    if isinstance(value, dict):
        return {name: _in_a_file(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_in_a_file(one) for one in value]
    return value.replace("${", "$${") if isinstance(value, str) else value


def _as_comments(checks: Sequence[Check]) -> str:
    """Return the checks as YAML comments. They come below the resolved configuration, so that the whole output is valid
    YAML."""
    rows = [[check.what, check.result, check.detail] for check in checks]
    return "".join(f"# {line}\n" for line in table(["check", "result", "detail"], rows).splitlines())


def _kinds(settings: Settings) -> Iterator[Check]:
    """Report what `run` refuses: records of one kind and alerts of another."""
    source, sink = settings.source.kind, settings.sink.kind
    if source != sink:
        detail = f"source.kind is {source} and sink.kind {sink}: one commit cannot hold both, use one kind"
        yield Check("sink.kind", ExitCode.CONFIGURATION, detail)


def _files(settings: Settings) -> Iterator[Check]:
    """Check that the files named by the configuration can be read. Files of secrets (`..._password_file` and the like)
    were read by `load`."""
    stream = settings.stream
    sections = {"kafka": settings.kafka, "stream.avro": stream.avro, "stream.protobuf": stream.protobuf}
    named = [
        (f"{name}.{key}", value) for name, one in sections.items() for key, value in one if isinstance(value, Path)
    ]
    if settings.source.kind == "files":
        named += [("source.paths", Path(path)) for path in settings.source.paths if path != "-"]
    for key, path in named:
        try:
            if not path.is_fifo():  # opening a pipe would wait for its writer, and closing it would end the writer
                path.open("rb").close()
        except OSError as error:
            code = ExitCode.NOT_PERMITTED if isinstance(error, PermissionError) else ExitCode.CONFIGURATION
            yield Check(key, code, f"cannot read {path}: {error.strerror}")
        else:
            yield Check(key, ExitCode.OK, str(path))


def _model(settings: Settings) -> Check:
    from anomaly_daemon.registry.reference import read_model

    try:
        model = read_model(settings.model.path).for_schema(settings.stream.schema_())
    except DaemonError as error:
        return Check("model.path", error.exit_code, str(error))
    return Check("model.path", ExitCode.OK, f"{model.ref.name} {model.ref.version}, digest {model.digest[:12]}")


def _records(settings: Settings, *, online: bool) -> Iterator[Check]:
    """Check how the configuration reads the first records of each file or, online, the newest records of the topic."""
    from anomaly_daemon.transport.codec import Decoder
    from anomaly_daemon.transport.legible import Legible

    of_topic = settings.source.kind == "kafka"
    legible, decoder = Legible(settings.stream, of_topic=of_topic), Decoder(settings.stream, settings.limits)
    records, keys = 0, set[str]()
    for batch in _first_batches(settings, online=online):
        decoded = decoder.decode(batch)
        records += len(batch)
        keys.update(decoded.observations.keys)
        legible.read(decoded.observations)
        for one in decoded.rejected:
            legible.refused(one.reason, one.detail)
    if complaint := legible.complaint(records):
        yield Check("records", ExitCode.INPUT, complaint)
    elif records:
        refused = f"; not readable: {legible.reasons.total():,} ({legible.summary()})" if legible.reasons else ""
        streams = f"{len(keys):,} stream{'' if len(keys) == 1 else 's'}"
        read = f"{records:,} records checked: {legible.events:,} events of {streams}{refused}"
        yield Check("records", ExitCode.OK, read, doubtful=bool(legible.reasons))
    elif settings.source.kind == "files" and all(Path(path).is_file() for path in settings.source.paths):
        yield Check("records", ExitCode.OK, "the files hold no records", doubtful=True)
    for doubt in legible.doubts():
        what, _, detail = doubt.partition(": ")
        yield Check(what, ExitCode.OK, detail, doubtful=True)


def _first_batches(settings: Settings, *, online: bool) -> Iterator[RecordBatch]:
    if settings.source.kind == "files":
        from anomaly_daemon.training.recorded import from_files

        for path in settings.source.paths:
            if Path(path).is_file():  # reading a pipe would consume its records
                yield from islice(from_files(settings, [path]), 1)
    elif online and settings.source.topic is not None:
        from anomaly_daemon.transport.kafka.inspect import sample_topic

        yield from sample_topic(settings.kafka, settings.source.topic, SAMPLED)


def _online(settings: Settings) -> list[Check]:
    from anomaly_daemon.bootstrap import heard_topics
    from anomaly_daemon.transport.kafka.checks import check_online

    findings = check_online(settings, heard_topics(settings))
    checks = [
        Check(one.what, ExitCode.OK if one.ok else one.code, one.detail, doubtful=one.doubtful) for one in findings
    ]
    return [*checks, *_registry(settings)]


def _registry(settings: Settings) -> Iterator[Check]:
    """Check that the schema registry answers, and report what it has for the input topic."""
    from anomaly_daemon.transport import avro_records, protobuf_schema
    from anomaly_daemon.transport.rejection import NoSchema
    from anomaly_daemon.transport.schema_registry import Language, SchemaRegistry

    languages: dict[str, Language[Any]] = {"avro": avro_records.LANGUAGE, "protobuf": protobuf_schema.LANGUAGE}
    language = languages.get(settings.stream.format)
    if language is None or (url := (schemas := getattr(settings.stream, settings.stream.format)).registry_url) is None:
        return
    what, subject = f"schemas at {url}", f"{settings.source.topic}-value"
    try:
        newest = SchemaRegistry(schemas, language).newest(subject)
    except NoSchema as why:
        detail = f"reached; no schema of the subject {subject} (a producer may use another name): {why}"
        yield Check(what, ExitCode.OK, detail, doubtful=True)
    except DaemonError as error:
        yield Check(what, error.exit_code, str(error))
    else:
        yield Check(
            what, ExitCode.OK, f"reached; the newest schema of {subject} has the fields {', '.join(newest.fields)}"
        )

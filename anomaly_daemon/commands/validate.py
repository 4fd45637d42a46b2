"""`validate`: is this configuration right, and, with --online, is the world it speaks of there."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import yaml

from anomaly_daemon.commands.common import add_config_arguments, load, print_json, table
from anomaly_daemon.errors import DaemonError, ExitCode

if TYPE_CHECKING:
    from anomaly_daemon.settings import Settings

HELP = "check a configuration; with --online also the broker, topics and access rights"
EXAMPLE = """  anomaly-daemon validate --config configs/sensors.yaml
  anomaly-daemon validate --config configs/sensors.yaml --online
  anomaly-daemon validate --schema > anomaly-daemon.schema.json"""


class Check(NamedTuple):
    """One thing looked at. `code` is the exit code it asks for: 0 when all is well."""

    what: str
    code: ExitCode
    detail: str


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
    checks += [*_files(settings), _model(settings)]
    if args.online:
        checks += _online(settings)
    code = next((check.code for check in checks if check.code), ExitCode.OK)
    if args.json:
        findings = [{"what": check.what, "ok": not check.code, "detail": check.detail} for check in checks]
        print_json({"ok": not code, "checks": findings, "configuration": resolved(settings)})
    else:
        print(_as_comments(checks))
        print(yaml.safe_dump(resolved(settings), sort_keys=False, allow_unicode=True), end="")
    return code


def _as_comments(checks: Sequence[Check]) -> str:
    """The checks above the resolved configuration, so that the whole output is YAML again."""
    rows = [[check.what, "wrong" if check.code else "ok", check.detail] for check in checks]
    return "".join(f"# {line}\n" for line in table(["check", "result", "detail"], rows).splitlines())


def _files(settings: Settings) -> Iterator[Check]:
    """The files that the configuration names. Those named `..._password_file` and the like were read by `load`."""
    named = [(f"kafka.{key}", value) for key, value in settings.kafka if isinstance(value, Path)]
    if settings.source.kind == "files":
        named += [("source.paths", Path(path)) for path in settings.source.paths if path != "-"]
    for key, path in named:
        try:
            path.open("rb").close()
        except OSError as error:
            yield Check(key, ExitCode.CONFIGURATION, f"cannot read {path}: {error.strerror}")
        else:
            yield Check(key, ExitCode.OK, str(path))


def _model(settings: Settings) -> Check:
    from anomaly_daemon.registry.reference import read_model

    try:
        model = read_model(settings.model.path).for_schema(settings.stream.schema_())
    except DaemonError as error:
        return Check("model.path", ExitCode.CONFIGURATION, str(error))
    return Check("model.path", ExitCode.OK, f"{model.ref.name} {model.ref.version}, digest {model.digest[:12]}")


def _online(settings: Settings) -> list[Check]:
    from anomaly_daemon.transport.kafka.checks import check_online

    findings = check_online(settings)
    return [Check(found.what, ExitCode.OK if found.ok else found.code, found.detail) for found in findings]

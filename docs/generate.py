"""Writes the generated parts of the pages beside it: `make docs`. A test fails when one of them is out of date.

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`; everything else on a page is written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from anomaly_daemon import cli
from anomaly_daemon.commands.forward_pages import FORWARD_METRICS
from anomaly_daemon.configuration import json_schema
from anomaly_daemon.daemon import metrics
from anomaly_daemon.errors import ExitCode

DOCS = Path(__file__).parent
RULES = DOCS.parent / "deploy" / "prometheus" / "rules.yml"

EXIT_CODES = {
    ExitCode.OK: "all went well, or a clean stop on SIGTERM",
    ExitCode.DIFFERENT: "`replay`: the recomputed alert differs; `backtest --gate`: a case failed",
    ExitCode.NOT_COMPARABLE: "`replay`: the records or the state are gone; `backtest --gate`: no case could be judged",
    ExitCode.USAGE: "the command line is wrong",
    ExitCode.INPUT: "the records do not fit the configuration. On a topic: more than `limits.dead_letters_per_minute` were "
    "unreadable (look at the dead-letter topic). `validate`, `backtest`, `train`, and `run` at the end of files: most were "
    "unreadable, or most are late (not for `train`, which sorts); the message says why",
    ExitCode.NO_INPUT: "a file or an alert named on the command line does not exist, or holds nothing to read",
    ExitCode.UNAVAILABLE: "a broker, topic or file could not be reached within `limits.retry_seconds`",
    ExitCode.BUG: "a bug: report it with the traceback",
    ExitCode.TEMPORARY: "restart it: it was fenced by a newer member, or a deadline passed",
    ExitCode.NOT_PERMITTED: "credentials or access rights are missing; the message says which",
    ExitCode.CONFIGURATION: "the configuration is wrong, or does not fit its model or state; the message says how",
}


def keys() -> str:
    """One table a section, from the JSON Schema."""
    schema = json_schema()
    return "\n".join(_section(schema, schema, ()))


def _section(root: dict[str, Any], section: dict[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    inner = []
    rows = []
    for name, key in section["properties"].items():
        target = _target(root, key)
        if "properties" in target and "anyOf" not in target:
            inner.append((target, (*path, name)))
        else:
            required = name in section.get("required", [])
            rows.append(_row(".".join((*path, name)), _type(root, {**target, **key}), key, required))
            rows.extend(_of_items(root, ".".join((*path, name)), target))
    if path:
        yield f"### {'.'.join(path)}\n"
    if path and (text := section.get("description")):
        yield f"{text}\n"
    if rows:
        yield from ("| key | type | default | meaning |", "|---|---|---|---|", *rows, "")
    for target, where in inner:
        yield from _section(root, target, where)


def _of_items(root: dict[str, Any], name: str, key: dict[str, Any]) -> Iterator[str]:
    """The keys of a list's items, where those are sections."""
    items = _target(root, key.get("items", {}))
    for kind in (_target(root, one) for one in items.get("anyOf", [items])):
        for inner, told in kind.get("properties", {}).items():
            target = {**_target(root, told), **told}
            yield _row(f"{name}[].{inner}", _type(root, target), told, inner in kind.get("required", []))


def _target(root: dict[str, Any], key: dict[str, Any]) -> dict[str, Any]:
    """What a reference stands for."""
    while "$ref" in key:
        key = root["$defs"][key["$ref"].rpartition("/")[2]]
    return key


def _row(name: str, kind: str, key: dict[str, Any], required: bool) -> str:
    default = "required" if required else f"`{_literal(key.get('default'))}`"
    meaning = key.get("description", "").replace("|", "\\|")
    return f"| `{name}` | {kind} | {default} | {meaning} |"


def _literal(value: Any) -> str:
    return str(yaml.safe_dump(value, default_flow_style=True, width=1000)).removesuffix("\n...\n").strip()


def _type(root: dict[str, Any], key: dict[str, Any]) -> str:
    if "enum" in key:
        return ", ".join(f"`{value}`" for value in key["enum"])
    if "anyOf" in key:
        kinds = [_type(root, _target(root, kind)) for kind in key["anyOf"] if kind.get("type") != "null"]
        return " or ".join(kind for kind in kinds if kind)
    kind = {"array": "list", "object": "keys and values", "string": "text", "integer": "whole number"}.get(
        key.get("type", ""), key.get("type", "")
    )
    if key.get("format") == "password":
        kind = "secret"
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {key[name]:g}" for name, sign in signs.items() if name in key]
    return ", ".join([kind, *bounds])


def exit_codes() -> str:
    rows = [f"| {code} | {code.name} | {EXIT_CODES[code]} |" for code in sorted(ExitCode)]
    return "\n".join(["| code | name | what happened, and what to do |", "|---|---|---|", *rows]) + "\n"


def commands() -> str:
    rows = []
    for name in cli.COMMANDS:
        module = cli.command(name)
        rows.append(
            f"### {name}\n\n{module.HELP[0].upper()}{module.HELP[1:]}.\n\n```console\n{_dedent(module.EXAMPLE)}\n```\n"
        )
    return "\n".join(rows)


def _dedent(example: str) -> str:
    return "\n".join(line.strip() for line in example.strip().splitlines())


def alert_rules() -> str:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    rows = [
        f"| {rule['alert']} | {rule['labels']['severity']} | {rule['annotations']['description']} |"
        for group in groups
        for rule in group["rules"]
    ]
    return "\n".join(["| alert | severity | what it means, and what to do |", "|---|---|---|", *rows]) + "\n"


PARTS: dict[str, Callable[[], str]] = {
    "keys": keys,
    "exit codes": exit_codes,
    "commands": commands,
    "alert rules": alert_rules,
    "metrics": metrics.table,
    "forward metrics": lambda: metrics.table(FORWARD_METRICS),
}

_PART = re.compile(r"(<!-- generated: ([a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def current(page: str) -> str:
    """The page with every generated part as it should be now."""
    return _PART.sub(lambda part: f"{part[1]}\n{PARTS[part[2]]().strip()}\n\n{part[3]}", page)


if __name__ == "__main__":
    for file in sorted(DOCS.glob("*.md")):
        file.write_text(current(file.read_text(encoding="utf-8")), encoding="utf-8")

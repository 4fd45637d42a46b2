"""Finds out whether the messages of a sample hold several records each, and how `stream` reads them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from anomaly_daemon.transport.influx_lines import records_of_lines
from anomaly_daemon.transport.json_tree import json_tree
from anomaly_daemon.transport.otlp_metrics import points_of_json, points_of_protobuf
from anomaly_daemon.transport.record_fields import RecordsOf
from anomaly_daemon.transport.rejection import Unreadable
from anomaly_daemon.transport.sample_names import names_key, names_number, names_relative_time, names_row
from anomaly_daemon.transport.unnest import WHOLE, unnest

Format = Literal["json", "influx", "otlp_json", "otlp_proto"]
DEEPEST = 3
"""Lists below more names than this are not looked for."""
LACKING = 0.01
"""Messages with measurements of their own are records if a larger share of them than this has an empty list."""
_MOST_RECORDS = 100_000
_LIST = re.compile(rb"\s*\[\s*(?:[{\[\"\]0-9-]|true|false|null|\Z)")
"""The beginning of a list in JSON."""


@dataclass(frozen=True, slots=True)
class SampleParts:
    """The settings that read the messages, and the records in them with the key of each one's message."""

    format: Format
    unnest: str | None
    records: tuple[tuple[Mapping[str, Any], str], ...]
    unreadable: int


def sample_parts(values: Sequence[bytes], keys: Sequence[str]) -> SampleParts | None:
    """Return how to read messages of which most hold several records; None if they do not. No value is blank."""
    trees = [tree for value in values if isinstance(tree := _tree(value), dict | list)]
    if len(trees) * 2 < len(values) or not trees:
        lines = _read("influx", None, records_of_lines, values, keys)
        points = _read("otlp_proto", None, points_of_protobuf, values, keys)
        fitting = [one for one in (lines, points) if one.records and one.unreadable * 2 < len(values)]
        return fitting[0] if fitting else None
    if sum(isinstance(tree, dict) and "resourceMetrics" in tree for tree in trees) * 2 > len(values):
        return _read("otlp_json", None, points_of_json, values, keys)
    path = _list_path(trees)
    return None if path is None else _read("json", path, partial(_elements, path), values, keys)


def _elements(path: str, value: bytes) -> Iterator[Mapping[str, Any]]:
    return unnest(json_tree(value), path)


def is_line(value: bytes) -> bool:
    """Whether a value that begins with a bracket may be one record of several: a whole JSON list, or none at all, such
    as a line of Influx or CSV that begins with a name in brackets."""
    return isinstance(_tree(value), list) or _LIST.match(value) is None


def _read(
    form: Format, path: str | None, records_of: RecordsOf, values: Sequence[bytes], keys: Sequence[str]
) -> SampleParts:
    records, unreadable = list[tuple[Mapping[str, Any], str]](), 0
    for value, key in zip(values, keys, strict=True):
        try:
            records += ((record, key) for record in list(records_of(value)))
        except Unreadable:
            unreadable += 1
        if len(records) > _MOST_RECORDS:
            break
    return SampleParts(form, path, tuple(records), unreadable)


def _tree(value: bytes) -> Any:
    with suppress(Unreadable):
        return json_tree(value)
    return None


def _list_path(trees: Sequence[Any]) -> str | None:
    """Return the path of the one list of objects that most messages hold. None if there is none, or several, or if the
    messages are the records and the list is a part of them."""
    if sum(of_objects(tree) for tree in trees) * 2 > len(trees):
        return WHOLE
    messages = [tree for tree in trees if isinstance(tree, dict)]
    found = Counter(path for tree in messages for path in dict(_lists(tree)))
    usual = [path for path, count in found.items() if count * 2 > len(trees)]
    return usual[0] if len(usual) == 1 and not _are_records(messages, usual[0]) else None


def _are_records(messages: Sequence[Mapping[str, Any]], path: str) -> bool:
    """Whether the messages are the records: they have measurements of their own around the list, which would be lost
    where the list is empty, or repeated for elements that have neither a time nor a name."""
    elements = [dict(_lists(message)).get(path, []) for message in messages]
    measured: dict[str, list[float]] = defaultdict(list)
    for message, held in zip(messages, elements, strict=True):
        for name, value in _leaves(message):
            if type(value) in (int, float) and value != len(held) and not _names_place(name):
                measured[name].append(value)
    if not any(len(numbers) * 2 > len(messages) and len(set(numbers)) > 1 for numbers in measured.values()):
        return False
    names = {name for held in elements for one in held for name, _ in _leaves(one)}
    apart = any(names_relative_time(name) or names_key(name) for name in names)
    return not apart or elements.count([]) > LACKING * len(messages)


def _names_place(path: str) -> bool:
    """Whether the name is that of a time, a row, or the id of something, whose numbers are no measurements."""
    return names_relative_time(path) or names_row(path) or names_key(path) or names_number(path)


def _lists(tree: Mapping[str, Any], above: str = "", depth: int = 1) -> Iterator[tuple[str, list[Any]]]:
    for name, value in tree.items():
        if of_objects(value):
            yield f"{above}{name}", value
        elif isinstance(value, dict) and depth < DEEPEST:
            yield from _lists(value, f"{above}{name}.", depth + 1)


def _leaves(tree: Mapping[str, Any], above: str = "", depth: int = 1) -> Iterator[tuple[str, Any]]:
    """Yield the values that are neither objects nor lists, with their paths."""
    for name, value in tree.items():
        if isinstance(value, dict) and depth < DEEPEST:
            yield from _leaves(value, f"{above}{name}.", depth + 1)
        elif not isinstance(value, dict | list):
            yield f"{above}{name}", value


def of_objects(value: Any) -> bool:
    """Whether the value is a list of objects that is not empty."""
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)

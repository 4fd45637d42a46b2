"""Finds out whether the messages of a sample hold several records each, and how `stream` reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from anomaly_daemon.transport.influx_lines import records_of_lines
from anomaly_daemon.transport.json_tree import json_tree
from anomaly_daemon.transport.otlp_metrics import data_points
from anomaly_daemon.transport.record_fields import RecordsOf
from anomaly_daemon.transport.rejection import Unreadable
from anomaly_daemon.transport.unnest import WHOLE, unnest

Format = Literal["json", "influx", "otlp_json"]
DEEPEST = 3
"""Lists below more names than this are not looked for."""
_MOST_RECORDS = 100_000


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
        return lines if lines.records and lines.unreadable * 2 < len(values) else None
    if sum(isinstance(tree, dict) and "resourceMetrics" in tree for tree in trees) * 2 > len(values):
        return _read("otlp_json", None, data_points, values, keys)
    path = _list_path(trees)
    return None if path is None else _read("json", path, partial(_elements, path), values, keys)


def _elements(path: str, value: bytes) -> Iterator[Mapping[str, Any]]:
    return unnest(json_tree(value), path)


def is_list(value: bytes) -> bool:
    """Whether the value is a whole JSON list."""
    return isinstance(_tree(value), list)


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
    """Return the path of the one list of objects that most messages hold; None if there is none, or several."""
    if sum(_of_objects(tree) for tree in trees) * 2 > len(trees):
        return WHOLE
    found = Counter(path for tree in trees if isinstance(tree, dict) for path in set(_lists(tree)))
    usual = [path for path, count in found.items() if count * 2 > len(trees)]
    return usual[0] if len(usual) == 1 else None


def _lists(tree: Mapping[str, Any], above: str = "", depth: int = 1) -> Iterator[str]:
    for name, value in tree.items():
        if _of_objects(value):
            yield f"{above}{name}"
        elif isinstance(value, dict) and depth < DEEPEST:
            yield from _lists(value, f"{above}{name}.", depth + 1)


def _of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)

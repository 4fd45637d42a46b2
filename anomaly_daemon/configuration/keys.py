"""The keys that a configuration may have, found by walking through the types in `settings`."""

from __future__ import annotations

import difflib
import json
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from anomaly_daemon.configuration.problems import Origins, Path, Problem, dotted, origin_of
from anomaly_daemon.settings import Section, Settings


def bare(annotation: Any) -> Any:
    """Return the type without `None` and without pydantic's annotations."""
    if typing.get_origin(annotation) is typing.Annotated:
        return bare(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return bare(next(part for part in typing.get_args(annotation) if part is not types.NoneType))
    return annotation


def is_section(annotation: Any) -> typing.TypeGuard[type[Section]]:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def fields_of(section: type[Section]) -> dict[str, FieldInfo]:
    """Return the fields of a section by their names in the configuration. Such a name may be an alias, as for `from`,
    which is a keyword in Python."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def all_keys(section: type[Section] = Settings, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield the path of every key that holds a value, and its type."""
    for name, field in fields_of(section).items():
        inner = bare(field.annotation)
        if is_section(inner):
            yield from all_keys(inner, (*path, name))
        else:
            yield (*path, name), inner


MOST_MEANT = 3
MOST_NESTED = 100
"""Levels of nesting that are accepted. Walking through a configuration recurses once a level, and Python's limit is
near a thousand calls."""
_HALF = re.compile("[\ud800-\udfff]")
"""A lone surrogate, which is how Python represents a byte that is not UTF-8."""
SECRETS = frozenset(str(path[-1]) for path, kind in all_keys() if kind is SecretStr)
"""The names of keys whose values are never shown."""


def unknown_key(section: type[Section], path: Path, origin: str | None) -> Problem:
    """Return the problem of a key that does not exist, with the nearest key that does."""
    fields = fields_of(section)
    near = difflib.get_close_matches(str(path[-1]), fields, n=1, cutoff=0.5)
    near = near or [name for name in fields if name.startswith(str(path[-1]))]
    near = _ending(str(path[-1]), fields) or near
    if near:
        meant = " or ".join(dotted((*path[:-1], name)) for name in near)
        return Problem(path, f"unknown key; did you mean {meant}?", origin)
    elsewhere = {str(known[-1]): known for known, _ in all_keys()}
    near = difflib.get_close_matches(str(path[-1]), elsewhere, n=1, cutoff=0.8)
    if near:
        return Problem(path, f"unknown key here; did you mean {dotted(elsewhere[near[0]])}?", origin)
    return Problem(path, f"unknown key; known here: {', '.join(fields)}", origin)


def _ending(name: str, known: Iterable[str]) -> list[str]:
    """Return the keys that end in the whole name, if there are at most `MOST_MEANT`: for `password` there are two."""
    found = [key for key in known if key.endswith(f"_{name}")]
    return found if len(found) <= MOST_MEANT else []


def without_unknown(
    tree: Mapping[str, Any], section: type[Section], origins: Origins, path: Path = ()
) -> tuple[dict[str, Any], list[Problem]]:
    """Return the tree without its unknown keys, and a problem for each of those."""
    kept: dict[str, Any] = {}
    problems: list[Problem] = []
    fields = fields_of(section)
    for key, value in tree.items():
        where = (*path, key)
        if key not in fields:
            problems.append(unknown_key(section, where, origin_of(where, origins)))
            continue
        kept[key], inner = _within(value, bare(fields[key].annotation), origins, where)
        problems += inner
    return kept, problems


def _within(value: Any, annotation: Any, origins: Origins, path: Path) -> tuple[Any, list[Problem]]:
    if is_section(annotation) and isinstance(value, Mapping):
        return without_unknown(value, annotation, origins, path)
    if typing.get_origin(annotation) is list and isinstance(value, list):
        item = bare(typing.get_args(annotation)[0])
        pairs = [_within(one, item, origins, (*path, place)) for place, one in enumerate(value)]
        return [one for one, _ in pairs], [problem for _, problems in pairs for problem in problems]
    return value, []


def unfit(value: Any, origins: Origins, path: Path = ()) -> Iterator[Problem]:
    """Yield a problem for each text that is not UTF-8, which no message can hold, or has a zero byte, which no name of
    a file or topic can hold. In `stream` zero bytes are accepted: those texts are compared with records, which may hold
    them."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from unfit(key, origins, (*path, key))
            yield from unfit(inner, origins, (*path, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from unfit(inner, origins, (*path, place))
    elif isinstance(value, str) and (_HALF.search(value) or ("\0" in value and path[0] != "stream")):
        yield Problem(path, "holds a zero byte, or is not UTF-8 text: remove that", origin_of(path, origins))


def put(tree: dict[str, Any], path: tuple[str, ...], text: str, origin: str) -> Problem | None:
    """Put one `section.key = text` into the tree, parsing a list or section as JSON. Return the problem where that is
    not possible."""
    section: type[Section] = Settings
    here = tree
    for depth, step in enumerate(path):
        if step not in section.model_fields:
            return unknown_key(section, path[: depth + 1], origin)
        inner, rest = bare(section.model_fields[step].annotation), path[depth + 1 :]
        is_entry = typing.get_origin(inner) is dict and len(rest) == 1
        if not rest or is_entry:
            break
        if not is_section(inner):
            return Problem(path, f"{dotted(path[: depth + 1])} holds a value, not keys", origin)
        here[step] = dict(here[step]) if isinstance(here.get(step), Mapping) else {}
        section, here = inner, here[step]
    if is_entry:
        here[step] = {**here[step], rest[0]: text} if isinstance(here.get(step), Mapping) else {rest[0]: text}
        return None
    try:
        value = _from_text(text, inner)
    except (ValueError, RecursionError):
        return Problem(path, 'must be JSON here, such as ["a", "b"] or {"key": "value"}', origin)
    if _is_deep(value):
        return Problem(path, "is nested far too deeply", origin)
    here[step] = value
    return None


def _is_deep(value: Any) -> bool:
    """Whether it holds lists or sections within each other more than `MOST_NESTED` times."""
    level = [value]
    for _ in range(MOST_NESTED + 1):
        inner = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [one for within in inner for one in within]
        if not level:
            return False
    return True


def _from_text(text: str, annotation: Any) -> Any:
    if is_section(annotation) or typing.get_origin(annotation) in (list, dict):
        return json.loads(text)
    return None if text == "null" else text

"""Parts a message that holds a list of readings into one record per element (`stream.unnest`)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from anomaly_daemon.transport.rejection import Reason, Unreadable

Record = Mapping[str, Any]
WHOLE = "."
"""The path that means the message itself."""


def unnest(tree: Any, path: str, wanted: Collection[str] | None = None) -> Iterator[Record]:
    """Part a decoded message at the list that `path` names ("." is the message itself).

    Each element must be an object, and is read as if it were a record. It also has the fields of the objects around the
    list, except those that it has itself. A list on the way is entered, so that `devices.readings` reaches the readings
    of every device. A single object in place of the list is read as a list of one, and null as an empty list.

    `wanted`: the names of the fields around the list that elements get, None for all. They are copied for each element,
    so a message with many of both would need much more memory than it has bytes. Raises Unreadable.
    """
    try:
        yield from _elements(tree, [] if path == WHOLE else path.split("."), {}, wanted)
    except RecursionError as error:
        raise Unreadable(Reason.TOO_DEEP, "nested too deeply") from error


def _elements(value: Any, names: Sequence[str], around: Record, wanted: Collection[str] | None) -> Iterator[Record]:
    if isinstance(value, list):
        for element in value:
            yield from _elements(element, names, around, wanted)
        return
    if not isinstance(value, dict):
        raise Unreadable(Reason.MALFORMED, f"an element of the list is {_kind(value)}, where an object is expected")
    if not names:
        yield {**around, **value}
        return
    name, rest = _entered(value, names)
    if value[name] is None:
        return
    kept = value if wanted is None else value.keys() & wanted
    outside = {other: value[other] for other in kept if other != name}
    yield from _elements(value[name], rest, {**around, **outside}, wanted)


def _entered(value: Record, names: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return the name of `value` that leads to the list, and the names after it. Names may contain dots: the whole path
    is tried as one name first."""
    for count in (len(names), *range(1, len(names))):
        name = ".".join(names[:count])
        if name in value and isinstance(value[name], dict | list | None):
            return name, names[count:]
    raise Unreadable(Reason.MALFORMED, f"no list at {'.'.join(names)!r} (stream.unnest)")


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__

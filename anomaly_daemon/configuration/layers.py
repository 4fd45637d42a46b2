"""The places that a configuration comes from, as sources of pydantic-settings.

pydantic-settings merges them, section by section and key by key. What it does not report is kept here: where each value
was written, and which keys do not exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from anomaly_daemon.configuration.keys import put, unfit, without_unknown
from anomaly_daemon.configuration.problems import Path
from anomaly_daemon.configuration.strict_yaml import Document
from anomaly_daemon.errors import ConfigurationError
from anomaly_daemon.settings import Settings

PREFIX = "ANOMALY_DAEMON__"


class Layer(PydanticBaseSettingsSource):
    """The values of one document at keys that exist, and the problems with the rest of it."""

    def __init__(self, document: Document) -> None:
        super().__init__(Settings)
        self.tree, unknown = without_unknown(document.tree, Settings, document.origins)
        self.origins = document.origins
        self.problems = document.problems + unknown + list(unfit(self.tree, document.origins))

    def __call__(self) -> dict[str, Any]:
        return self.tree

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self.tree.get(field_name), field_name, False


def from_environment(environment: Mapping[str, str]) -> Document:
    """Return the values of the environment variables `ANOMALY_DAEMON__SECTION__KEY`."""
    document = Document()
    for name in sorted(name for name in environment if name.startswith(PREFIX)):
        _lay(document, tuple(name.removeprefix(PREFIX).lower().split("__")), environment[name], name)
    return document


def overridden(overrides: Iterable[str]) -> Document:
    """Return the values of the overrides `section.key=value`. Of two overrides of one key, the later counts.

    Raises:
        ConfigurationError: an override has no `=`.
    """
    document = Document()
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ConfigurationError(f"--set {override}: write it as section.key=value")
        _lay(document, tuple(key.strip().split(".")), text, f"--set {key}")
    return document


def _lay(document: Document, path: tuple[str, ...], text: str, origin: str) -> None:
    if problem := put(document.tree, path, text, origin):
        document.problems.append(problem)
    document.origins |= dict.fromkeys(_written(document.tree, path), origin)


def _written(tree: Any, path: tuple[str, ...]) -> Iterator[Path]:
    """Yield the path, and every path below it: the value may be a section or a list, written as JSON."""
    for step in path:
        tree = tree.get(step) if isinstance(tree, Mapping) else None
    yield from _within(tree, path)


def _within(value: Any, path: Path) -> Iterator[Path]:
    yield path
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in pairs:
        yield from _within(inner, (*path, step))

"""A strict YAML reader: no key twice, no aliases, `${VAR}` from the environment, and the line of every value.

A scalar may have YAML's own tags only, and a mapping or list no tag that makes something else of it. `${VAR}` requires
the variable to be set; `${VAR:-text}` does not; `$${` is a plain `${`. Variables are substituted in values after the
YAML is parsed, so the text of a variable cannot change the structure of the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from anomaly_daemon.configuration.problems import Path, Problem

_REFERENCE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}|\$\{[^}]*\}?")

_OWN = "tag:yaml.org,2002:"
"""How YAML's own tags begin."""


@dataclass
class Document:
    """The values in a file, the line of each, and the problems with the file."""

    tree: dict[str, Any] = field(default_factory=dict)
    origins: dict[Path, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def parse(text: str, name: str, environment: Mapping[str, str]) -> Document:
    """Parse `text`, which was read from the file `name`."""
    document = Document()
    try:
        _read(document, text, name, environment)
    except RecursionError:
        document.problems = [Problem((), "is nested far too deeply", name)]
    return document


def _read(document: Document, text: str, name: str, environment: Mapping[str, str]) -> None:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        origin = f"{name}:{mark.line + 1}" if mark else name
        document.problems.append(Problem((), f"not YAML: {getattr(error, 'problem', None) or error}", origin))
        return
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        document.problems.append(Problem((), "must hold sections and keys, such as `stream:`", name))
        return
    document.tree = _Reader(document, name, environment).value(root, ())


class _Reader:
    """Walks the nodes of one file."""

    def __init__(self, document: Document, name: str, environment: Mapping[str, str]) -> None:
        self.document = document
        self.name = name
        self.environment = environment
        self.visited: set[int] = set()
        self.yaml = yaml.SafeLoader("")

    def value(self, node: yaml.Node, path: Path) -> Any:
        self.document.origins[path] = f"{self.name}:{node.start_mark.line + 1}"
        if id(node) in self.visited:
            self.problem(path, "aliases (*name) are not supported: write the value out")
            return None
        self.visited.add(id(node))
        if isinstance(node, yaml.CollectionNode) and node.tag != self.untagged(type(node)):
            self.problem(path, f"has the tag {node.tag}, which is not supported: leave it out")
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, place)) for place, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode), "YAML has no fourth kind of node"
        return self.scalar(node, path)

    def untagged(self, kind: type[yaml.Node]) -> str:
        """Return the tag of a mapping or list that is written without one."""
        return str(self.yaml.resolve(kind, None, None))  # type: ignore[no-untyped-call]

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for key_node, value_node in node.value:
            where = (*path, str(key_node.value))
            self.document.origins[where] = f"{self.name}:{key_node.start_mark.line + 1}"
            if not isinstance(key_node, yaml.ScalarNode) or not key_node.tag.startswith(_OWN):
                self.problem(path, "a key must be plain text")
            elif key_node.value in tree:
                self.problem(where, "is a duplicate key: keep one of the two")
            else:
                tree[key_node.value] = self.value(value_node, where)
        return tree

    def scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        text = _REFERENCE.sub(lambda match: self.variable(match, path), node.value)
        tag = node.tag
        if text != node.value and node.style is None:
            tag = self.yaml.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
        try:
            return self.yaml.construct_object(yaml.ScalarNode(tag, text, node.start_mark))
        except (yaml.YAMLError, ValueError, LookupError, AttributeError):  # raised where a text does not fit its tag
            self.problem(path, f"cannot be read as {tag}: put it in quotes")
            return None

    def variable(self, match: re.Match[str], path: Path) -> str:
        if match[0] == "$${":
            return "${"
        if match[1] is None:
            self.problem(path, f"{match[0]} is not a variable: write ${{NAME}}, or $${{ for a plain ${{")
            return ""
        if match[1] in self.environment:
            return self.environment[match[1]]
        if match[2]:
            return match[3]
        unset = f"the environment variable {match[1]} is not set: set it, or write ${{{match[1]}:-default}}"
        self.problem(path, unset)
        return ""

    def problem(self, path: Path, what: str) -> None:
        self.document.problems.append(Problem(path, what, self.document.origins[path]))

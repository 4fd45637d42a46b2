"""Problems with a configuration, collected so that all are reported together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from anomaly_daemon.errors import ConfigurationError, NotPermitted

Path = tuple[str | int, ...]
"""The place of a value: section, key and, for an element of a list, its index."""

Origins = Mapping[Path, str]
"""Where each value was written: `file:line`, the name of a variable, or `--set`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to correct. `origin` says where it was written."""

    where: Path
    what: str
    origin: str | None = None
    barred: bool = False
    """Whether the value is in a file that this user may not read. The configuration itself is then correct."""

    def follows(self, other: Problem) -> bool:
        """Whether this problem may only be a consequence of the other: their places are equal, or one contains the
        other."""
        shorter = min(len(self.where), len(other.where))
        return self.where[:shorter] == other.where[:shorter]

    def __str__(self) -> str:
        parts = [self.origin, dotted(self.where), self.what]
        return ": ".join(part for part in parts if part)


def refuse(problems: Sequence[Problem]) -> None:
    """Raise ConfigurationError with every problem, if there is one. Raises NotPermitted instead where missing access
    rights are the only problems."""
    kind = NotPermitted if all(problem.barred for problem in problems) else ConfigurationError
    if len(problems) == 1:
        raise kind(str(problems[0]))
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise kind(f"the configuration has {len(problems)} problems:{lines}")


def dotted(path: Path) -> str:
    """Return the path as text, such as `stream.numeric[0].name`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def origin_of(path: Path, origins: Origins) -> str | None:
    """Return where the value was written, or else the nearest section or list around it that was written down."""
    while path:
        if path in origins:
            return origins[path]
        path = path[:-1]
    return None


def reworded(error: ValidationError, origins: Origins, secrets: frozenset[str]) -> list[Problem]:
    """Return pydantic's findings as problems, in the terms of the configuration file. The value of a secret is never
    repeated."""
    problems = []
    for finding in error.errors(include_url=False):
        where = tuple(finding["loc"])
        shown = "" if where and where[-1] in secrets else _shown(finding["input"])
        problems.append(Problem(where, _what(finding["type"], finding["msg"], finding.get("ctx", {}), shown)))
    return [Problem(problem.where, problem.what, origin_of(problem.where, origins)) for problem in problems]


def _shown(value: Any) -> str:
    text = repr(value)
    return f", not {text}" if isinstance(value, str | int | float | None) and len(text) <= 80 else ""


_WORDS = {
    "missing": "is required",
    "string_type": 'must be text: put it in quotes ("...")',
    "list_type": 'must be a list, such as ["a", "b"]',
    "dict_type": "must hold keys and values",
    "model_type": "must hold keys and values",
    "model_attributes_type": "must hold keys and values",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
}


def _what(kind: str, message: str, context: Mapping[str, Any], shown: str) -> str:
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind in ("enum", "literal_error"):
        return f"must be {context['expected']}{shown}"
    if kind == "string_too_short":
        return "must not be empty"
    if kind == "too_short":
        return f"must hold at least {context['min_length']}"
    if kind == "too_long":
        return f"must hold at most {context['max_length']}, not {context['actual_length']}"
    if kind == "string_too_long":
        return f"must be of at most {context['max_length']} character{'s' * (context['max_length'] > 1)}{shown}"
    if kind in _WORDS:
        return _WORDS[kind] + ("" if kind == "missing" else shown)
    return message.replace("Input should be", "must be").replace("Value should", "must") + shown

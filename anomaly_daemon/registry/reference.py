"""How a model is named: by its folder, or by a registry and a version in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from anomaly_daemon.checkpoint import models
from anomaly_daemon.detection.artifact import Model
from anomaly_daemon.registry.registry import Registry


class Alias(StrEnum):
    """The names that move from version to version."""

    CHAMPION = "champion"
    """The version that daemons run."""
    CHALLENGER = "challenger"
    """The version that was trained last, and is a candidate for champion."""


_REFERENCE = re.compile(rf"(?P<url>.+)@(?P<version>{'|'.join(Alias)}|[0-9a-f]{{8,64}})")


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference to a version in a registry: `URL@champion`, `URL@challenger`, or `URL@` and the first eight or more
    digits of a digest."""

    url: str
    version: str

    @property
    def moves(self) -> bool:
        """Whether the reference may stand for another model later."""
        return self.version in tuple(Alias)

    @classmethod
    def of(cls, path: str) -> Reference | None:
        """Return the reference in a `model.path`; None if that names a folder."""
        found = _REFERENCE.fullmatch(path)
        return cls(found["url"], found["version"]) if found else None


def read_model(path: str | Path) -> Model:
    """Return the model that a `model.path` names: a folder, the shipped model, or a version in a registry."""
    reference = Reference.of(str(path))
    if reference is None:
        return models.read_model(path)
    registry = Registry.at(reference.url)
    return registry.read(registry.resolve(reference.version))

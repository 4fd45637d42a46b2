"""Follows a name that moves in a registry: finds the model it stands for now, and prepares it for use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from anomaly_daemon.detection.artifact import Model
from anomaly_daemon.errors import NoInput
from anomaly_daemon.registry.reference import Alias, Reference
from anomaly_daemon.registry.registry import Registry

Ready = TypeVar("Ready")


class Following(Generic[Ready]):
    """An implementation of `daemon.watch.Candidates` on a registry."""

    def __init__(self, reference: Reference, made_ready: Callable[[Model], Ready]) -> None:
        """Follow `reference`. `made_ready` prepares a model, and raises Incompatible if it cannot be used."""
        self._registry, self._version, self._made_ready = Registry.at(reference.url), reference.version, made_ready

    def named(self) -> str:
        """Return the digest of the model that the name stands for. It is "" while there is no challenger, which is no
        error."""
        try:
            return self._registry.resolve(self._version)
        except NoInput:
            if self._version == Alias.CHALLENGER:
                return ""
            raise

    def prepared(self, digest: str) -> Ready:
        """Load the model with this digest, verify it and prepare it for use."""
        return self._made_ready(self._registry.read(digest))

"""A name that moves, followed: what it stands for now, made ready to decide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from anomaly_daemon.detection.artifact import Model
from anomaly_daemon.errors import NoInput
from anomaly_daemon.registry.reference import Alias, Reference
from anomaly_daemon.registry.registry import Registry

Ready = TypeVar("Ready")


class Following(Generic[Ready]):
    """`daemon.watch.Candidates`."""

    def __init__(self, reference: Reference, made_ready: Callable[[Model], Ready]) -> None:
        """`made_ready` raises Incompatible for a model that cannot be used."""
        self._registry, self._version, self._made_ready = Registry.at(reference.url), reference.version, made_ready

    def named(self) -> str:
        """The digest of the model that the name stands for; "" while there is no challenger, which there need not be."""
        try:
            return self._registry.resolve(self._version)
        except NoInput:
            if self._version == Alias.CHALLENGER:
                return ""
            raise

    def prepared(self, digest: str) -> Ready:
        """That model, verified, and ready."""
        return self._made_ready(self._registry.read(digest))

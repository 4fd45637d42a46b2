"""The model registry: versions that never change, and two names that move.

    models/DIGEST/weights.safetensors, then models/DIGEST/manifest.json   a version is there when its manifest is
    aliases/champion/00000007.json                                        the seventh move; the last one counts

A version is named by its digest, so the same model is the same version wherever it is published, and a changed byte shows.
A move makes the next number, and who comes second finds it taken: two moves at once cannot both believe they were last.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from anomaly_daemon.checkpoint.models import MANIFEST, WEIGHTS
from anomaly_daemon.detection.artifact import Model, decode, encode
from anomaly_daemon.errors import Incompatible, NoInput, Unavailable
from anomaly_daemon.registry.storage import Storage

_MOVE = re.compile(r"\d{8}\.json")


class Stores(Protocol):
    """What a registry asks of where it is kept; see `storage.Storage`."""

    @property
    def url(self) -> str: ...
    def read(self, path: str) -> bytes | None: ...
    def create(self, path: str, content: bytes) -> bool: ...
    def names(self, folder: str) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Move:
    """One move of an alias."""

    digest: str
    at: str
    """When, ISO 8601."""
    reason: str
    rollback: bool = False


class Registry:
    """Raises Unavailable where its store is away, NoInput for what is not there, Incompatible for what is broken."""

    def __init__(self, store: Stores) -> None:
        self._store = store

    @classmethod
    def at(cls, url: str) -> Registry:
        """The registry in this directory, or at this fsspec URL."""
        return cls(Storage(url))

    @property
    def url(self) -> str:
        return self._store.url

    def digests(self) -> list[str]:
        """Every version that is whole."""
        return [name for name in self._store.names("models") if MANIFEST in self._store.names(f"models/{name}")]

    def publish(self, model: Model) -> str:
        """Keep a model; returns its digest. A model that is there already stays as it is."""
        manifest, weights = encode(model)
        digest = hashlib.sha256(manifest).hexdigest()
        for name, content in ((WEIGHTS, weights), (MANIFEST, manifest)):  # the manifest last: it says that all is there
            path = f"models/{digest}/{name}"
            if not self._store.create(path, content) and self._store.read(path) != content:
                raise Incompatible(f"{self.url}: {path} is damaged: remove it, and publish the model again")
        return digest

    def read(self, digest: str) -> Model:
        """A version, checked: digest, checksum, shapes, finite weights."""
        manifest, weights = (self._store.read(f"models/{digest}/{name}") for name in (MANIFEST, WEIGHTS))
        if manifest is None or weights is None:
            raise NoInput(f"{self.url} holds no whole model {digest[:12]}")
        if hashlib.sha256(manifest).hexdigest() != digest:
            raise Incompatible(f"{self.url}: the manifest of {digest[:12]} was changed: its digest is another")
        return decode(manifest, weights)

    def resolve(self, version: str) -> str:
        """The digest that an alias stands for, or that begins so."""
        if not _is_digits(version):
            return self.current(version).digest
        if len(version) == 64:
            return version
        found = [digest for digest in self.digests() if digest.startswith(version)]
        if len(found) != 1:
            what = "no model" if not found else "more than one model"
            raise NoInput(f"{self.url} holds {what} {version}: `models list` shows them")
        return found[0]

    def current(self, alias: str) -> Move:
        """The alias's last move."""
        names = self._moves(alias)
        if not names:
            raise NoInput(
                f"{self.url} has no {alias}: `models promote` names a champion; a version is that, challenger, or the "
                "first digits of a digest, as `models list` shows them"
            )
        return self._move(alias, names[-1])

    def history(self, alias: str) -> list[Move]:
        """Every move, the oldest first."""
        return [self._move(alias, name) for name in self._moves(alias)]

    def move(self, alias: str, digest: str, *, at: str, reason: str, rollback: bool = False) -> Move:
        """Let the alias stand for a version from now on. The version is checked first."""
        names = self._moves(alias)  # looked at before the version is: a move meanwhile is noticed
        self.read(digest)
        moved, number = Move(digest, at, reason, rollback), int(names[-1][:8]) + 1 if names else 1
        if not self._store.create(f"aliases/{alias}/{number:08d}.json", json.dumps(asdict(moved)).encode()):
            raise Unavailable(f"{self.url}: another moved {alias} meanwhile: look at it, and decide again")
        return moved

    def rollback(self, alias: str, *, at: str, reason: str) -> Move:
        """Let the alias stand for what it stood for before its present version was promoted."""
        before = earlier(self.history(alias))
        if before is None:
            raise NoInput(f"{self.url}: nothing stood before the present {alias} to go back to")
        return self.move(alias, before, at=at, reason=reason, rollback=True)

    def _moves(self, alias: str) -> list[str]:
        return [name for name in self._store.names(f"aliases/{alias}") if _MOVE.fullmatch(name)]

    def _move(self, alias: str, name: str) -> Move:
        content = self._store.read(f"aliases/{alias}/{name}")
        try:
            told = Move(**json.loads(content or b""))
            if not (isinstance(told.digest, str) and len(told.digest) == 64 and _is_digits(told.digest)):
                raise ValueError("its digest is none")
        except (ValueError, TypeError) as error:
            raise Incompatible(f"{self.url}: move {name} of {alias} cannot be read ({error}): remove it") from error
        return told


def earlier(moves: Sequence[Move]) -> str | None:
    """What stood before the present version was promoted. Rolling back twice goes two versions back."""
    if not moves:
        return None
    present = moves[-1].digest
    promoted = max((at for at, one in enumerate(moves) if one.digest == present and not one.rollback), default=0)
    return next((one.digest for one in reversed(moves[:promoted]) if one.digest != present), None)


def _is_digits(text: str) -> bool:
    return set(text) <= set("0123456789abcdef")

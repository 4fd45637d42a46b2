"""The model registry: versions that never change, and two names that move.

    models/DIGEST/weights.safetensors, then models/DIGEST/manifest.json   a version is there when its manifest is
    aliases/champion/00000007.json                                        the seventh move; the last one counts
    pruned/DIGEST.json, then models/DIGEST goes, its manifest first       what was taken away, and when

A version is named by its digest, so the same model is the same version wherever it is published, and a changed byte shows.
A move makes the next number, and who comes second finds it taken: two moves at once cannot both believe they were last.
Who prunes marks a version and looks at the names again; who moves a name looks at the mark again: one of the two gives way.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol, TypeVar

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
    def remove(self, path: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Move:
    """One move of an alias."""

    digest: str
    at: str
    """When, ISO 8601."""
    reason: str
    rollback: bool = False


@dataclass(frozen=True, slots=True)
class Pruned:
    """What is left of a version that was taken away, beside its moves."""

    digest: str
    name: str
    version: str
    at: str
    """When, ISO 8601."""

    @property
    def told(self) -> str:
        return f"{self.digest[:12]} ({self.name} {self.version}) was pruned on {self.at}"


Note = TypeVar("Note", Move, Pruned)


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
        return [name for name in self._store.names("models") if self.whole(name)]

    def publish(self, model: Model) -> str:
        """Keep a model; returns its digest. A model that is there already stays as it is."""
        manifest, weights = encode(model)
        digest = hashlib.sha256(manifest).hexdigest()
        self._put_back(digest)
        for name, content in ((WEIGHTS, weights), (MANIFEST, manifest)):  # the manifest last: it says that all is there
            path = f"models/{digest}/{name}"
            if not self._store.create(path, content) and self._store.read(path) != content:
                raise Incompatible(f"{self.url}: {path} is damaged: remove it, and publish the model again")
        return digest

    def read(self, digest: str) -> Model:
        """A version, checked: digest, checksum, shapes, finite weights."""
        manifest, weights = (self._store.read(f"models/{digest}/{name}") for name in (MANIFEST, WEIGHTS))
        if manifest is None or weights is None:
            pruned = self.pruned(digest)
            why = f": {pruned.told}; publish it again, or name another" if pruned else ""
            raise NoInput(f"{self.url} holds no whole model {digest[:12]}{why}")
        if hashlib.sha256(manifest).hexdigest() != digest:
            raise Incompatible(f"{self.url}: the manifest of {digest[:12]} was changed: its digest is another")
        try:
            return decode(manifest, weights)
        except Incompatible as error:
            raise Incompatible(f"{self.url}: model {digest[:12]}: {error}") from error

    def resolve(self, version: str) -> str:
        """The digest that an alias stands for, or that begins so."""
        if not _is_digits(version):
            return self.current(version).digest
        if len(version) == 64:
            return version
        found = [digest for digest in self.digests() if digest.startswith(version)]
        if not found and (gone := self.gone(version)):
            raise NoInput(f"{self.url}: {gone.told}; publish it again, or name another")
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
        self._refuse_condemned(digest)
        moved, number = Move(digest, at, reason, rollback), int(names[-1][:8]) + 1 if names else 1
        if not self._moved(alias, number, moved):
            raise Unavailable(f"{self.url}: another moved {alias} meanwhile: look at it, and decide again")
        try:
            self._refuse_condemned(digest)
        except Unavailable:  # its pruning began meanwhile, and may have looked at the names before this move
            self._take_back(alias, names, at, f"taken back: {digest[:12]} was being pruned")
            raise
        return moved

    def rollback(self, alias: str, *, at: str, reason: str) -> Move:
        """Let the alias stand for what it stood for before its present version was promoted."""
        before = earlier(self.history(alias))
        if before is None:
            raise NoInput(f"{self.url}: nothing stood before the present {alias} to go back to")
        if not self.whole(before) and (gone := self.pruned(before)):
            raise NoInput(f"{self.url}: what stood before the present {alias} is not there any more: {gone.told}")
        return self.move(alias, before, at=at, reason=reason, rollback=True)

    def pruned(self, digest: str) -> Pruned | None:
        """What was noted when this version was taken away, or is about to be."""
        content = self._store.read(_mark(digest))
        try:
            return None if content is None else _of_texts(Pruned(**json.loads(content)))
        except (ValueError, TypeError, RecursionError) as error:
            raise Incompatible(f"{self.url}: {_mark(digest)} cannot be read ({error}): remove it") from error

    def gone(self, version: str) -> Pruned | None:
        """The version that begins so and was taken away; None where there is no such one, or several."""
        found = [digest for digest in self.all_gone() if digest.startswith(version)]
        return self.pruned(found[0]) if len(found) == 1 else None

    def all_gone(self) -> list[str]:
        """Every version that was taken away, and was not published again."""
        marked = [name.removesuffix(".json") for name in self._store.names("pruned")]
        return sorted(set(marked) - set(self.digests())) if marked else []

    def left_over(self) -> list[str]:
        """Versions whose pruning was cut short: they are marked, and something of them is there."""
        marked = {name.removesuffix(".json") for name in self._store.names("pruned")}
        return sorted(marked & set(self._store.names("models"))) if marked else []

    def condemn(self, version: Pruned) -> bool:
        """Note that it will be gone: no name moves to it from now on. False where another has noted it before."""
        return self._store.create(_mark(version.digest), json.dumps(asdict(version)).encode())

    def reprieve(self, digest: str) -> None:
        """It stays after all."""
        self._store.remove(_mark(digest))

    def remove(self, digest: str) -> None:
        """Take a version away that was condemned. Its manifest goes first: without it the version is not there."""
        for name in (MANIFEST, WEIGHTS):
            self._store.remove(f"models/{digest}/{name}")

    def places(self, aliases: Iterable[str]) -> list[str]:
        """How far each of these names has moved."""
        return [(self._moves(alias) or [""])[-1] for alias in aliases]

    def whole(self, digest: str) -> bool:
        """Whether this version is there."""
        return MANIFEST in self._store.names(f"models/{digest}")

    def _put_back(self, digest: str) -> None:
        """A version that was pruned may be published again, once nothing of it is there any more."""
        if self.pruned(digest):
            if self._store.names(f"models/{digest}"):
                self._refuse_condemned(digest)
            self.reprieve(digest)

    def _refuse_condemned(self, digest: str) -> None:
        if self.pruned(digest):
            raise Unavailable(
                f"{self.url}: {digest[:12]} is being pruned: once `models prune` has ended (again, if it was cut short), "
                "publish it again"
            )

    def _take_back(self, alias: str, names: Sequence[str], at: str, why: str) -> None:
        """A name stands for what it stood for before its last move, or, where that was its first, for nothing again."""
        if names:
            self._moved(alias, int(names[-1][:8]) + 2, Move(self._move(alias, names[-1]).digest, at, why, True))
        else:
            self._store.remove(f"aliases/{alias}/{1:08d}.json")

    def _moved(self, alias: str, number: int, move: Move) -> bool:
        return self._store.create(f"aliases/{alias}/{number:08d}.json", json.dumps(asdict(move)).encode())

    def _moves(self, alias: str) -> list[str]:
        return [name for name in self._store.names(f"aliases/{alias}") if _MOVE.fullmatch(name)]

    def _move(self, alias: str, name: str) -> Move:
        content = self._store.read(f"aliases/{alias}/{name}")
        try:
            told = _of_texts(Move(**json.loads(content or b"")))
            if not (len(told.digest) == 64 and _is_digits(told.digest)):
                raise ValueError("its digest is none")
        except (ValueError, TypeError, RecursionError) as error:
            raise Incompatible(f"{self.url}: move {name} of {alias} cannot be read ({error}): remove it") from error
        return told


def earlier(moves: Sequence[Move]) -> str | None:
    """What stood before the present version was promoted. Rolling back twice goes two versions back."""
    if not moves:
        return None
    present = moves[-1].digest
    promoted = max((at for at, one in enumerate(moves) if one.digest == present and not one.rollback), default=0)
    return next((one.digest for one in reversed(moves[:promoted]) if one.digest != present), None)


def _of_texts(told: Note) -> Note:
    """The note, if it is made of what was written. Raises ValueError."""
    if not all(isinstance(value, str) for name, value in asdict(told).items() if name != "rollback"):
        raise ValueError("it holds something else than text")
    return told


def _mark(digest: str) -> str:
    return f"pruned/{digest}.json"


def _is_digits(text: str) -> bool:
    return set(text) <= set("0123456789abcdef")

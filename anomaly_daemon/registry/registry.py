"""The model registry: versions that never change, and two names that move between them.

    models/DIGEST/weights.safetensors, then models/DIGEST/manifest.json   a version exists once its manifest does
    aliases/champion/00000007.json                                        the seventh move; the last one counts
    pruned/DIGEST.json, then models/DIGEST goes, its manifest first       which version was deleted, and when

A version is named by its digest, so the same model is the same version wherever it is published, and any change of its
content is detected. A move creates the file with the next number. If two users move a name at once, the second finds
the file already there, so only one of the moves succeeds. A pruning marks a version ("condemns" it) and then checks the
names again; a move changes the name and then checks the mark again. So one of the two gives way.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from anomaly_daemon.checkpoint.models import MANIFEST, WEIGHTS
from anomaly_daemon.detection.artifact import Model, decode, encode
from anomaly_daemon.errors import Incompatible, NoInput, Unavailable
from anomaly_daemon.registry.storage import Storage

_MOVE = re.compile(r"\d{8}\.json")


class Stores(Protocol):
    """What a registry needs from the store that holds it; see `storage.Storage`."""

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
    """The mark of a version that was deleted, or is about to be. Beside its moves, it is all that is left of the
    version."""

    digest: str
    name: str
    version: str
    at: str
    """When, ISO 8601."""

    @property
    def text(self) -> str:
        return f"{self.digest[:12]} ({self.name} {self.version}) was pruned on {self.at}"


Note = TypeVar("Note", Move, Pruned)


class Registry:
    """The versions and names in one store. Methods raise Unavailable if the store is unavailable, NoInput if something
    does not exist, and Incompatible if it is damaged."""

    def __init__(self, store: Stores) -> None:
        self._store = store

    @classmethod
    def at(cls, url: str) -> Registry:
        """Return the registry in this directory, or at this fsspec URL."""
        return cls(Storage(url))

    @property
    def url(self) -> str:
        return self._store.url

    def digests(self) -> list[str]:
        """Return the digest of every version that is whole."""
        return [name for name in self._store.names("models") if self.whole(name)]

    def publish(self, model: Model) -> str:
        """Store a model and return its digest. A model that exists already stays as it is."""
        manifest, weights = encode(model)
        digest = hashlib.sha256(manifest).hexdigest()
        self._put_back(digest)
        for name, content in ((WEIGHTS, weights), (MANIFEST, manifest)):  # the manifest last: it says that all is there
            path = f"models/{digest}/{name}"
            if not self._store.create(path, content) and self._store.read(path) != content:
                raise Incompatible(f"{self.url}: {path} is damaged: remove it, and publish the model again")
        return digest

    def read(self, digest: str) -> Model:
        """Return a version after checking its digest, checksum, shapes, and that its weights are finite."""
        manifest, weights = (self._store.read(f"models/{digest}/{name}") for name in (MANIFEST, WEIGHTS))
        if manifest is None or weights is None:
            pruned = self.pruned(digest)
            why = f": {pruned.text}; publish it again, or name another" if pruned else ""
            raise NoInput(f"{self.url} holds no complete model {digest[:12]}{why}")
        if hashlib.sha256(manifest).hexdigest() != digest:
            raise Incompatible(f"{self.url}: the manifest of {digest[:12]} was changed: its digest does not match")
        try:
            return decode(manifest, weights)
        except Incompatible as error:
            raise Incompatible(f"{self.url}: model {digest[:12]}: {error}") from error

    def resolve(self, version: str) -> str:
        """Return the digest that an alias stands for, or the full digest that begins with these digits."""
        if not version or not _is_digits(version):
            return self.current(version).digest
        if len(version) == 64:
            return version
        found = [digest for digest in self.digests() if digest.startswith(version)]
        if not found and (gone := self.gone(version)):
            raise NoInput(f"{self.url}: {gone.text}; publish it again, or name another")
        if len(found) != 1:
            what = "no model" if not found else "more than one model"
            raise NoInput(f"{self.url} holds {what} {version}: `models list` shows them")
        return found[0]

    def current(self, alias: str) -> Move:
        """Return the last move of the alias."""
        names = self._moves(alias)
        if not names:
            raise NoInput(
                f"{self.url} has no {alias}: `models promote` makes a version the champion; name a version by "
                "champion, challenger, or the first digits of its digest, as `models list` shows them"
            )
        return self._move(alias, names[-1])

    def history(self, alias: str) -> list[Move]:
        """Return every move of the alias, the oldest first."""
        return [self._move(alias, name) for name in self._moves(alias)]

    def move(
        self, alias: str, digest: str, *, at: str, reason: str, rollback: bool = False, expected: str | None = None
    ) -> Move:
        """Let the alias stand for this version from now on. The version is checked first. Raises Unavailable if another
        user moves the alias meanwhile, if it stands for another version than `expected` (where that is given), or if
        the version is being pruned."""
        names = self._moves(alias)  # read before the version is checked: a move made meanwhile is noticed
        as_expected = expected is None or [self._move(alias, name).digest for name in names[-1:]] == [expected]
        self.read(digest)
        self._refuse_condemned(digest)
        moved, number = Move(digest, at, reason, rollback), int(names[-1][:8]) + 1 if names else 1
        if not as_expected or not self._moved(alias, number, moved):
            raise Unavailable(
                f"{self.url}: another user moved {alias} meanwhile: check where it is now, and run "
                "the command again if needed"
            )
        try:
            self._refuse_condemned(digest)
        except Unavailable:  # a pruning began meanwhile, and may have checked the names before this move
            self._take_back(alias, names, at, f"taken back: {digest[:12]} was being pruned")
            raise
        return moved

    def rollback(self, alias: str, *, at: str, reason: str) -> Move:
        """Let the alias stand for the version it stood for before its present version was promoted."""
        before = earlier(self.history(alias))
        if before is None:
            raise NoInput(f"{self.url}: there is no version before the present {alias} to return to")
        if not self.whole(before) and (gone := self.pruned(before)):
            raise NoInput(f"{self.url}: the version before the present {alias} is gone: {gone.text}")
        return self.move(alias, before, at=at, reason=reason, rollback=True)

    def pruned(self, digest: str) -> Pruned | None:
        """Return the mark that was stored when this version was deleted, or is about to be; None if there is none."""
        content = self._store.read(_mark(digest))
        try:
            return None if content is None else _of_texts(Pruned(**json.loads(content)))
        except (ValueError, TypeError, RecursionError) as error:
            raise Incompatible(f"{self.url}: {_mark(digest)} cannot be read ({error}): remove it") from error

    def gone(self, version: str) -> Pruned | None:
        """Return the mark of the deleted version that begins with these digits; None if there is no such version, or
        several, or one that exists and begins with them too."""
        found = [digest for digest in self.all_gone() if version and digest.startswith(version)]
        if len(found) != 1 or any(digest.startswith(version) for digest in self.digests()):
            return None
        return self.pruned(found[0])

    def all_gone(self) -> list[str]:
        """Return the digest of every version that was deleted and not published again."""
        marked = [name.removesuffix(".json") for name in self._store.names("pruned")]
        return sorted(set(marked) - set(self.digests())) if marked else []

    def left_over(self) -> list[str]:
        """Return the versions whose pruning is unfinished: they are marked, and some of their files exist."""
        marked = {name.removesuffix(".json") for name in self._store.names("pruned")}
        return sorted(marked & set(self._store.names("models"))) if marked else []

    def condemn(self, version: Pruned) -> bool:
        """Mark the version for deletion: no name moves to it from now on. Returns False if it is marked already."""
        return self._store.create(_mark(version.digest), json.dumps(asdict(version)).encode())

    def reprieve(self, digest: str) -> None:
        """Remove the mark, so that the version stays."""
        self._store.remove(_mark(digest))

    def remove(self, digest: str) -> None:
        """Delete a condemned version. The manifest is deleted first, because without it the version does not exist."""
        for name in (MANIFEST, WEIGHTS):
            self._store.remove(f"models/{digest}/{name}")

    def places(self, aliases: Iterable[str]) -> list[str]:
        """Return the file name of the last move of each alias; "" if it never moved."""
        return [(self._moves(alias) or [""])[-1] for alias in aliases]

    def whole(self, digest: str) -> bool:
        """Return whether this version exists."""
        return MANIFEST in self._store.names(f"models/{digest}")

    def _put_back(self, digest: str) -> None:
        """Remove the mark of a pruned version that is published again. Raises Unavailable while some of its files still
        exist."""
        if self.pruned(digest):
            if self._store.names(f"models/{digest}"):
                self._refuse_condemned(digest)
            self.reprieve(digest)

    def _refuse_condemned(self, digest: str) -> None:
        if self.pruned(digest):
            raise Unavailable(
                f"{self.url}: {digest[:12]} is being pruned: publish it again after `models prune` has ended (if "
                "it was interrupted, run it again first)"
            )

    def _take_back(self, alias: str, names: Sequence[str], at: str, why: str) -> None:
        """Let the alias stand again for what it stood for before its last move; if that was its first, for nothing."""
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
            move = _of_texts(Move(**json.loads(content or b"")))
            if not (len(move.digest) == 64 and _is_digits(move.digest)):
                raise ValueError("its digest is not valid")
            if datetime.fromisoformat(move.at).tzinfo is None:
                raise ValueError("its time has no time zone")
        except (ValueError, TypeError, RecursionError) as error:
            raise Incompatible(f"{self.url}: move {name} of {alias} cannot be read ({error}): remove it") from error
        return move


def earlier(moves: Sequence[Move]) -> str | None:
    """Return the version that was in place before the present one was promoted. Two rollbacks in a row go back two
    versions."""
    if not moves:
        return None
    present = moves[-1].digest
    promoted = max((at for at, one in enumerate(moves) if one.digest == present and not one.rollback), default=0)
    return next((one.digest for one in reversed(moves[:promoted]) if one.digest != present), None)


def last_new(moves: Iterable[Move]) -> datetime:
    """Return when a version was last named for the first time. `moves` are those of every alias, in any order, and not
    empty."""
    first: dict[str, datetime] = {}
    for move in moves:
        at = datetime.fromisoformat(move.at)
        first[move.digest] = min(at, first.get(move.digest, at))
    return max(first.values())


def _of_texts(note: Note) -> Note:
    """Return the note if its fields have the types that were written. Raises ValueError otherwise."""
    if not all(isinstance(value, str) for name, value in asdict(note).items() if name != "rollback"):
        raise ValueError("it holds a value that is not text")
    return note


def _mark(digest: str) -> str:
    return f"pruned/{digest}.json"


def _is_digits(text: str) -> bool:
    return set(text) <= set("0123456789abcdef")

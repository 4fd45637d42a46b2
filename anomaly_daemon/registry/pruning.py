"""Which versions a registry may do without, and their way out. The moves of names stay: the history names what is gone."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence

from anomaly_daemon.errors import Incompatible, NoInput, NotPermitted
from anomaly_daemon.registry.reference import Alias
from anomaly_daemon.registry.registry import Move, Pruned, Registry, earlier

FEWEST = 2
"""The champion, and what a rollback returns to."""

NOTHING = 64 * "0"
"""No version has this digest."""

DELETE = "s3:DeleteObject on S3"


def spared(histories: Mapping[str, Sequence[Move]], there: Sequence[str], keep: int) -> set[str]:
    """Of the versions that are there, those that stay: what a name stands for, what as many rollbacks would return to, as
    many of those that a name stood for last, and what no name ever stood for: it may just be on its way to one, or be
    known by its digest. Pure."""
    moves = sorted((move for history in histories.values() for move in history), key=lambda move: move.at)
    named = [one for one in dict.fromkeys(move.digest for move in reversed(moves)) if one in there]
    stand = {history[-1].digest for history in histories.values() if history}
    return {*stand, *named[:keep], *_ways_back(histories.get(Alias.CHAMPION, ()), keep), *(set(there) - set(named))}


def _ways_back(moves: Sequence[Move], steps: int) -> Iterator[str]:
    """The champions that so many rollbacks would return to, one after the other."""
    gone_back = list(moves)
    for _ in range(steps):
        before = earlier(gone_back)
        if before is None:
            return
        yield before
        gone_back.append(Move(before, "", "", rollback=True))


def prunable(registry: Registry, keep: int, at: str) -> list[Pruned]:
    """What would go."""
    there = registry.digests()
    staying = spared({alias: registry.history(alias) for alias in Alias}, there, keep)
    return [_noted(registry, digest, at) for digest in there if digest not in staying]


def prune(registry: Registry, keep: int, at: str) -> list[Pruned]:
    """Take away what `prunable` names; returns what went. Where a name moves meanwhile, the rest is left for the next
    time, and what another pruning condemned meanwhile is left to that one. What was cut short before is finished, or
    spared where it is not to go any more. Raises NotPermitted where this user may not delete: then nothing is condemned."""
    old, places = set(registry.left_over()), registry.places(Alias)
    plan, gone = prunable(registry, keep, at), list[Pruned]()
    if plan:
        _refuse_undeletable(registry)
    for version in plan:
        ours = registry.condemn(version)
        if not ours and version.digest not in old:
            continue
        if registry.places(Alias) != places:
            if ours:
                registry.reprieve(version.digest)
            return gone
        if _still(registry, version, ours):
            _remove(registry, version.digest)
            gone.append(version)
    _finish(registry, old)
    return gone


def _still(registry: Registry, version: Pruned, ours: bool) -> bool:
    """Whether the note is there as it was: another pruning, which took ours for dead, has spared the version where not."""
    mark = registry.pruned(version.digest)
    return mark == version if ours else mark is not None


def _finish(registry: Registry, old: Container[str]) -> None:
    """Of what earlier prunings left half done. A whole version that was condemned after this one began is on its way in
    another's hands: without its note a name could move to it just before it goes."""
    for digest in registry.left_over():
        whole = registry.whole(digest)
        if not registry.pruned(digest):
            continue
        if not whole:
            _remove(registry, digest)
        elif digest in old:
            registry.reprieve(digest)


def _refuse_undeletable(registry: Registry) -> None:
    """A note that nobody can take back, of a version that nobody can take away, would keep names off it for good."""
    try:
        registry.reprieve(NOTHING)
    except NotPermitted as error:
        raise NotPermitted(f"nothing is pruned without the right to delete files ({DELETE}): {error}") from error


def _remove(registry: Registry, digest: str) -> None:
    """Where it may not go it stays as it was, without its note."""
    try:
        registry.remove(digest)
    except NotPermitted as error:
        told = f"{digest[:12]} is not pruned without the right to delete files ({DELETE}): {error}"
        raise NotPermitted(told + _spared(registry, digest)) from error


def _spared(registry: Registry, digest: str) -> str:
    """What is left to do by hand."""
    if not registry.whole(digest):
        return ""
    try:
        registry.reprieve(digest)
    except NotPermitted:
        return f"; until somebody removes pruned/{digest}.json, no name can move to it"
    return ""


def _noted(registry: Registry, digest: str, at: str) -> Pruned:
    """A version that is damaged goes, too, without its name."""
    try:
        told = registry.read(digest).ref
    except (Incompatible, NoInput):
        return Pruned(digest, "-", "-", at)
    return Pruned(digest, told.name, told.version, at)

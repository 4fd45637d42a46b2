"""Chooses the versions that a registry can do without, and deletes them. The moves of the names stay, so the history
still lists deleted versions."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence

from anomaly_daemon.errors import Incompatible, NoInput, NotPermitted
from anomaly_daemon.registry.reference import Alias
from anomaly_daemon.registry.registry import Move, Pruned, Registry, earlier

FEWEST = 2
"""The least number of versions to keep: the champion, and the version that a rollback returns to."""

NOTHING = 64 * "0"
"""A digest that no version has."""

DELETE = "s3:DeleteObject on S3"


def spared(histories: Mapping[str, Sequence[Move]], there: Sequence[str], keep: int) -> set[str]:
    """Return which of the existing versions stay. These are the versions that a name stands for, those that the next
    `keep` rollbacks would return to, the last `keep` that a name stood for, and those that no name ever stood for. The
    latter may be about to get a name, or be in use by their digest. Pure."""
    moves = sorted((move for history in histories.values() for move in history), key=lambda move: move.at)
    named = [one for one in dict.fromkeys(move.digest for move in reversed(moves)) if one in there]
    stand = {history[-1].digest for history in histories.values() if history}
    return {*stand, *named[:keep], *_ways_back(histories.get(Alias.CHAMPION, ()), keep), *(set(there) - set(named))}


def _ways_back(moves: Sequence[Move], steps: int) -> Iterator[str]:
    """Yield the champions that this number of rollbacks would return to, one after the other."""
    gone_back = list(moves)
    for _ in range(steps):
        before = earlier(gone_back)
        if before is None:
            return
        yield before
        gone_back.append(Move(before, "", "", rollback=True))


def prunable(registry: Registry, keep: int, at: str) -> list[Pruned]:
    """Return the versions that `prune` would delete now."""
    there = registry.digests()
    staying = spared({alias: registry.history(alias) for alias in Alias}, there, keep)
    return [_noted(registry, digest, at) for digest in there if digest not in staying]


def prune(registry: Registry, keep: int, at: str) -> list[Pruned]:
    """Delete the versions that `prunable` returns, and return those that were deleted. If a name moves meanwhile, the
    remaining ones are left for the next pruning, and so is what an interrupted pruning left. Versions that another
    pruning marks meanwhile are left to it. Otherwise a pruning that was interrupted earlier is finished, and its
    versions that are no longer to be deleted are spared.
    Raises NotPermitted if this user may not delete; then no version is marked."""
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
            return gone  # without `_finish`: what it would spare, another pruning may be about to delete
        if _still(registry, version, ours):
            _remove(registry, version.digest)
            gone.append(version)
    _finish(registry, old)
    return gone


def _still(registry: Registry, version: Pruned, ours: bool) -> bool:
    """Return whether the version still has a mark; with `ours`, whether it is the mark that this pruning made.
    Otherwise another pruning has taken this one for dead, and spared the version."""
    mark = registry.pruned(version.digest)
    return mark == version if ours else mark is not None


def _finish(registry: Registry, old: Container[str]) -> None:
    """Finish what interrupted prunings left. A version without a manifest is deleted; a whole one whose mark is older
    than this pruning is spared. A whole version that was marked later is being deleted by another pruning. Its mark has
    to stay, because without it a name could move to the version just before it is deleted."""
    for digest in registry.left_over():
        whole = registry.whole(digest)
        if not registry.pruned(digest):
            continue
        if not whole:
            _remove(registry, digest)
        elif digest in old:
            registry.reprieve(digest)


def _refuse_undeletable(registry: Registry) -> None:
    """Raise NotPermitted if this user may not delete files. Otherwise a version could be marked that can neither be
    deleted nor unmarked, and no name could move to it any more."""
    try:
        registry.reprieve(NOTHING)
    except NotPermitted as error:
        raise NotPermitted(f"nothing is pruned without the right to delete files ({DELETE}): {error}") from error


def _remove(registry: Registry, digest: str) -> None:
    """Delete a version. If that is not permitted, remove its mark, so that the version stays as it was."""
    try:
        registry.remove(digest)
    except NotPermitted as error:
        reason = f"{digest[:12]} is not pruned without the right to delete files ({DELETE}): {error}"
        raise NotPermitted(reason + _spared(registry, digest)) from error


def _spared(registry: Registry, digest: str) -> str:
    """Remove the mark of a whole version. Returns what the operator has to do by hand, or ""."""
    if not registry.whole(digest):
        return ""
    try:
        registry.reprieve(digest)
    except NotPermitted:
        return f"; until pruned/{digest}.json is removed by hand, no alias can move to it"
    return ""


def _noted(registry: Registry, digest: str, at: str) -> Pruned:
    """Return the mark of a version. A damaged version is pruned, too, but its name is not known."""
    try:
        ref = registry.read(digest).ref
    except (Incompatible, NoInput):
        return Pruned(digest, "-", "-", at)
    return Pruned(digest, ref.name, ref.version, at)

"""Which versions a registry may do without, and their way out. The moves of names stay: the history names what is gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from anomaly_daemon.errors import Incompatible, NoInput
from anomaly_daemon.registry.reference import Alias
from anomaly_daemon.registry.registry import Move, Pruned, Registry, earlier

FEWEST = 2
"""The champion, and what a rollback returns to."""


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
    time. What was cut short before is finished, or spared where it is not to go any more."""
    places = registry.places(Alias)
    gone: list[Pruned] = []
    for version in prunable(registry, keep, at):
        registry.condemn(version)
        if registry.places(Alias) != places:
            registry.reprieve(version.digest)
            return gone
        registry.remove(version.digest)
        gone.append(version)
    _finish(registry)
    return gone


def _finish(registry: Registry) -> None:
    """Of what earlier prunings left half done."""
    whole = registry.digests()
    for digest in registry.left_over():
        if digest in whole:
            registry.reprieve(digest)
        else:
            registry.remove(digest)


def _noted(registry: Registry, digest: str, at: str) -> Pruned:
    """A version that is damaged goes, too, without its name."""
    try:
        told = registry.read(digest).ref
    except (Incompatible, NoInput):
        return Pruned(digest, "-", "-", at)
    return Pruned(digest, told.name, told.version, at)

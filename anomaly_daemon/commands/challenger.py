"""The registry in a retraining: the champion it begins with, and what is done with the challenger it ends with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from anomaly_daemon.commands.announce import announce
from anomaly_daemon.errors import DaemonError, UsageError

if TYPE_CHECKING:
    from anomaly_daemon.detection.artifact import Model
    from anomaly_daemon.registry.registry import Move, Registry
    from anomaly_daemon.settings import Settings
    from anomaly_daemon.training.retrain import Retrained


def champion_of(settings: Settings) -> tuple[Registry, Model]:
    """Return the registry that model.path names, and its champion."""
    from anomaly_daemon.registry.reference import Alias

    registry = registry_of(settings)
    return registry, registry.read(registry.resolve(Alias.CHAMPION))


def registry_of(settings: Settings) -> Registry:
    """Return the registry that model.path names. Raises UsageError where it names none."""
    from anomaly_daemon.registry.reference import Reference
    from anomaly_daemon.registry.registry import Registry

    reference = Reference.of(settings.model.path)
    if reference is None:
        raise UsageError("retrain continues from a registry's champion: set model.path to URL@champion")
    return Registry.at(reference.url)


def store(settings: Settings, registry: Registry, found: Retrained, request: str = "") -> tuple[bool, str]:
    """Publish the challenger and move the aliases; return whether it was promoted, and why. The challenger is named
    even if it is not promoted, so that an operator can look at it. The champion alias moves first, so that a reader who
    finds the challenger of a request finds all that was done for it. Where another champion was named meanwhile, the
    decision is not about that one, and it stays. Raises Unavailable where one is named at this very moment."""
    from anomaly_daemon.registry.reference import Alias

    digest, judged = registry.publish(found.challenger), found.challenger.manifest.training["champion"]
    stands = registry.resolve(Alias.CHAMPION) == judged
    promoted = found.decision.promote and settings.retraining.promote == "by_gate" and stands
    reasons = ["" if stands else "another champion was named meanwhile", found.decision.text, found.seen]
    why = "; ".join(filter(None, reasons))
    aliases = (Alias.CHAMPION, Alias.CHALLENGER) if promoted else (Alias.CHALLENGER,)
    _move(settings, registry, aliases, digest, request + why, {Alias.CHAMPION: str(judged)})
    return promoted, why


def earlier_move(settings: Settings, registry: Registry, request: str) -> tuple[str, Move] | None:
    """Return the alias that moved furthest for a request, and its move; None where none moved. A worker that died may
    have moved the champion only. What it left undone is done here: the challenger moves too (unless another was
    named since), and the moves are announced to daemons."""
    from anomaly_daemon.registry.reference import Alias

    moves = {alias: _last(registry, alias, request) for alias in Alias}
    champion, challenger = moves[Alias.CHAMPION], moves[Alias.CHALLENGER]
    if champion is not None and challenger is None and _no_challenger_since(registry, champion.at):
        _move(settings, registry, (Alias.CHALLENGER,), champion.digest, champion.reason)
    found = [(alias, move) for alias, move in moves.items() if move is not None]
    if not found:
        return None
    announce(settings, {alias: move for alias, move in found if registry.current(alias) == move})
    return found[0]


def _last(registry: Registry, alias: str, request: str) -> Move | None:
    return next((move for move in reversed(registry.history(alias)) if move.reason.startswith(request)), None)


def _no_challenger_since(registry: Registry, at: str) -> bool:
    """Whether no challenger was named for another request since `at`."""
    from anomaly_daemon.registry.reference import Alias

    return all(move.at <= at for move in registry.history(Alias.CHALLENGER)[-1:])


def _move(
    settings: Settings,
    registry: Registry,
    aliases: Iterable[str],
    digest: str,
    why: str,
    expected: Mapping[str, str] | None = None,
) -> None:
    """Move the aliases and announce it. `expected`: for which version an alias must still stand."""
    now, before = datetime.now(UTC).isoformat(timespec="seconds"), expected or {}
    moves = {one: registry.move(one, digest, at=now, reason=why, expected=before.get(one)) for one in aliases}
    announce(settings, moves)


def prune(settings: Settings, registry: Registry, tell: Callable[[str], None]) -> None:
    """Remove old versions, where the settings ask for it. The trained model is kept by then, so a failure here is only
    reported, and the next retraining tries again."""
    from anomaly_daemon.registry.pruning import prune as pruned

    if settings.retraining.keep_versions is None:
        return
    try:
        gone = pruned(registry, settings.retraining.keep_versions, datetime.now(UTC).isoformat(timespec="seconds"))
    except DaemonError as error:
        tell(f"old versions were not pruned: {error}")
        return
    if gone:
        tell(f"pruned from {registry.url}: {', '.join(version.digest[:12] for version in gone)}")

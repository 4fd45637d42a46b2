"""`models`: manages the versions of a registry, and the aliases that move between them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from anomaly_daemon.commands import common
from anomaly_daemon.commands.announce import announce
from anomaly_daemon.commands.numbers import whole
from anomaly_daemon.errors import ExitCode, Incompatible, NoInput, UsageError

if TYPE_CHECKING:
    from anomaly_daemon.detection.artifact import Model
    from anomaly_daemon.registry.registry import Move, Registry

HELP = "manage the models of a registry: list, show, compare, promote, roll back, verify, prune"
EXAMPLE = """\
  anomaly-daemon models publish models/sensors --registry s3://models/sensors --as challenger
  anomaly-daemon models list --registry /srv/models
  anomaly-daemon models diff champion challenger --registry /srv/models
  anomaly-daemon models promote challenger --config sensors.yaml --reason "quieter on the ovens"
  anomaly-daemon models rollback --registry /srv/models --json
  anomaly-daemon models verify --registry /srv/models
  anomaly-daemon models prune --registry /srv/models --keep 10 --dry-run"""

VERSION = "champion, challenger, or the first digits of a digest"


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _action(actions, "list", _list, "every version, with its aliases (champion, challenger)")
    _action(actions, "show", _show, "one version: training, measures, history").add_argument("version", help=VERSION)
    diff = _action(actions, "diff", _diff, "what differs between two versions")
    diff.add_argument("before", help=VERSION)
    diff.add_argument("after", help=VERSION)
    publish = _action(actions, "publish", _publish, "store a model that `train` wrote")
    publish.add_argument("folder", help='the folder that `train --output` wrote, or "pretrained"')
    publish.add_argument("--as", dest="alias", choices=("champion", "challenger"), help="also give it this alias")
    promote = _action(
        actions, "promote", _promote, "make a version the champion: daemons that follow the champion switch to it"
    )
    promote.add_argument("version", help=VERSION)
    rollback = _action(actions, "rollback", _rollback, "make the champion what it was before its last promotion")
    for one, done in ((publish, "published"), (promote, "promoted"), (rollback, "rolled back")):
        default = f"{done} by hand"
        one.add_argument("--reason", type=common.text, default=default, help="the reason to record in the history")
    _action(actions, "verify", _verify, "read every version: digest, checksum, shapes, finite weights")
    prune = _action(actions, "prune", _prune, "delete old versions, except those that an alias or a rollback needs")
    prune.add_argument(
        "--keep",
        type=whole,
        default=10,
        metavar="N",
        help="keep this many of the versions that were last champion or challenger, for as many rollbacks (default: 10)",
    )
    prune.add_argument("--dry-run", action="store_true", help="list what would be deleted, and delete nothing")


def _action(actions: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text, description=text)
    common.add_config_arguments(parser)
    parser.add_argument("--registry", metavar="URL", help="a directory or fsspec URL (default: that of model.path)")
    parser.add_argument("--json", action="store_true", help="JSON, one object a line")
    parser.set_defaults(act=run)
    return parser


def run(args: argparse.Namespace) -> int:
    return int(args.act(args))


def _registry(args: argparse.Namespace) -> Registry:
    from anomaly_daemon.registry.reference import Reference
    from anomaly_daemon.registry.registry import Registry

    if args.registry:
        return Registry.at(args.registry)
    reference = Reference.of(common.load(args).model.path) if args.config else None
    if reference is None:
        raise UsageError("name the registry: --registry URL, or a --config whose model.path is URL@champion")
    return Registry.at(reference.url)


def _list(args: argparse.Namespace) -> int:
    registry = _registry(args)
    names = _names(registry)
    versions, damaged = [], False
    for digest in _digests(registry):
        try:
            if model := _unless_pruned(registry, digest):
                versions.append(_entry(model, names))
        except (Incompatible, NoInput) as error:
            damaged = True
            common.note(f"damaged: {error}")
            versions.append(
                {"digest": digest, "name": None, "version": None, "aliases": names.get(digest, []), "damaged": True}
            )
    versions.sort(key=lambda one: str(one["version"] or ""))
    if args.json:
        for one in versions:
            common.print_json(one)
    else:
        rows = [
            [one["digest"][:12], one["name"] or "-", one["version"] or "DAMAGED", ", ".join(one["aliases"])]
            for one in versions
        ]
        print(common.table(["digest", "name", "version", "alias"], rows))
    if gone := len(registry.all_gone()):
        common.note(f"pruned: {gone}; `models show DIGEST` gives the date and the aliases it had")
    return ExitCode.CONFIGURATION if damaged else ExitCode.OK


def _unless_pruned(registry: Registry, digest: str) -> Model | None:
    """Return a version that was listed; None where it was pruned since."""
    try:
        return registry.read(digest)
    except NoInput:
        if registry.pruned(digest):
            return None
        raise


def _digests(registry: Registry) -> list[str]:
    """Return the digests of all versions. Raises NoInput where there are none: the registry's URL is then most likely
    mistyped, and that must not be reported as a registry without damaged versions."""
    found = registry.digests()
    if not found:
        raise NoInput(f"no model in {registry.url}: correct the URL, or publish a model there with `models publish`")
    return found


def _show(args: argparse.Namespace) -> int:
    registry = _registry(args)
    training: Mapping[str, Any] = {}
    if gone := registry.gone(args.version):
        entry = {"digest": gone.digest, "name": gone.name, "version": gone.version, "aliases": [], "pruned": gone.at}
    else:
        model = registry.read(registry.resolve(args.version))
        entry, training = _entry(model, _names(registry)), dict(model.manifest.training)
    moves = [
        {"alias": alias, "at": move.at, "rollback": move.rollback, "reason": move.reason}
        for alias in _aliases()
        for move in registry.history(alias)
        if move.digest == entry["digest"]
    ]
    if args.json:
        common.print_json({**entry, "training": training, "history": moves})
    else:
        _print_shown(entry, training, moves)
    return ExitCode.OK


def _print_shown(entry: dict[str, Any], training: Mapping[str, Any], moves: list[dict[str, Any]]) -> None:
    from anomaly_daemon.report.measures import facts, measured

    rows = [[name, ", ".join(value) if isinstance(value, list) else str(value)] for name, value in entry.items()]
    print(common.table(["what", "value"], [*rows, *map(list, facts(training))]))
    headings, measures = measured(training.get("metrics", {}))
    if measures:
        print(f"\n{common.table(headings, measures)}")
    if moves:
        since = [[str(move["alias"]), str(move["at"]), str(move["reason"])] for move in moves]
        print(f"\n{common.table(['name', 'since', 'reason'], since)}")


def _diff(args: argparse.Namespace) -> int:
    from anomaly_daemon.registry.difference import differences

    registry = _registry(args)
    before, after = (registry.read(registry.resolve(version)) for version in (args.before, args.after))
    found = differences(before, after)
    if args.json:
        for one in found:
            common.print_json(one._asdict())
    elif found:
        print(common.table(["what", args.before, args.after], [[_short(cell) for cell in one] for one in found]))
    else:
        print(f"both are the same version, {before.digest[:12]}")
    return ExitCode.OK


def _publish(args: argparse.Namespace) -> int:
    from anomaly_daemon.registry.reference import read_model

    registry = _registry(args)
    digest = registry.publish(_fitting(read_model(args.folder), args))
    if args.alias:
        return _moved(args, args.alias, registry.move(args.alias, digest, at=_now(), reason=args.reason))
    if args.json:
        common.print_json({"digest": digest})
    else:
        print(f"published {digest[:12]} in {registry.url}")
    return ExitCode.OK


def _promote(args: argparse.Namespace) -> int:
    registry = _registry(args)
    digest = registry.resolve(args.version)
    _fitting(registry.read(digest), args)
    return _moved(args, "champion", registry.move("champion", digest, at=_now(), reason=args.reason))


def _rollback(args: argparse.Namespace) -> int:
    if args.config:
        common.load(args)  # an error in it ends the command before the name moves: given again, it would move twice
    return _moved(args, "champion", _registry(args).rollback("champion", at=_now(), reason=args.reason))


def _moved(args: argparse.Namespace, alias: str, move: Move) -> int:
    if args.config:
        announce(common.load(args), {alias: move})
    if args.json:
        common.print_json({"alias": alias, "digest": move.digest, "at": move.at, "reason": move.reason})
    else:
        print(f"{alias} is now {move.digest[:12]}")
    return ExitCode.OK


def _verify(args: argparse.Namespace) -> int:
    registry = _registry(args)
    wrong = {
        digest: f"{' and '.join(aliases)} points to it, but it is missing: publish it again, or promote another"
        for digest, aliases in _names(registry).items()
        if not registry.whole(digest)
    }
    found = dict(wrong)
    for digest in registry.digests() if wrong else _digests(registry):
        try:
            if model := _unless_pruned(registry, digest):
                _fitting(model, args)
                found[digest] = "ok"
        except (Incompatible, NoInput) as error:
            found[digest] = wrong[digest] = str(error)
    if args.json:
        for digest in found:
            common.print_json({"digest": digest, "ok": digest not in wrong, "detail": wrong.get(digest, "")})
    else:
        print(common.table(["digest", "found"], [[digest[:12], finding] for digest, finding in found.items()]))
    return ExitCode.CONFIGURATION if wrong else ExitCode.OK


def _prune(args: argparse.Namespace) -> int:
    from anomaly_daemon.registry.pruning import FEWEST, prunable, prune

    if args.keep < FEWEST:
        raise UsageError(
            f"--keep {args.keep}: at least {FEWEST}, for the champion and the version that a rollback returns to"
        )
    registry = _registry(args)
    gone = (prunable if args.dry_run else prune)(registry, args.keep, _now())
    if not gone:
        _digests(registry)
    if args.json:
        for one in gone:
            common.print_json(
                {"digest": one.digest, "name": one.name, "version": one.version, "pruned": not args.dry_run}
            )
    elif gone:
        print(common.table(["digest", "name", "version"], [[one.digest[:12], one.name, one.version] for one in gone]))
        print(f"\n{'would be deleted' if args.dry_run else 'deleted'}: {len(gone)}")
    else:
        print(f"nothing to prune in {registry.url}")
    return ExitCode.OK


def _fitting(model: Model, args: argparse.Namespace) -> Model:
    """Return the model, checked against the stream schema of --config where that is given."""
    return model.for_schema(common.load(args).stream.schema_()) if args.config else model


def _names(registry: Registry) -> dict[str, list[str]]:
    """Return the aliases that each version has now, by digest."""
    found: dict[str, list[str]] = {}
    for alias in _aliases():
        if moves := registry.history(alias)[-1:]:
            found.setdefault(moves[0].digest, []).append(alias)
    return found


def _aliases() -> tuple[str, ...]:
    from anomaly_daemon.registry.reference import Alias

    return tuple(Alias)


def _entry(model: Model, names: dict[str, list[str]]) -> dict[str, Any]:
    ref = model.ref
    return {"digest": ref.digest, "name": ref.name, "version": ref.version, "aliases": names.get(ref.digest, [])}


def _short(cell: str) -> str:
    return cell if len(cell) <= 48 else f"{cell[:45]}..."


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

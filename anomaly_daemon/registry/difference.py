"""The differences between two models. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch

from anomaly_daemon.detection.artifact import Model, encode


class Difference(NamedTuple):
    """One entry in which the two models differ."""

    what: str
    before: str
    after: str


def differences(before: Model, after: Model) -> list[Difference]:
    """Return every entry of the manifest that differs, those of the training last, and how far each tensor of the
    weights has moved."""
    left, right = (dict(_flat("", json.loads(encode(model)[0]))) for model in (before, after))
    del left["weights_sha256"], right["weights_sha256"]
    names = sorted({*left, *right}, key=lambda name: (name.startswith("training"), name))
    compared = [Difference(name, left.get(name, "-"), right.get(name, "-")) for name in names]
    return [one for one in compared if one.before != one.after] + list(_weights(before, after))


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the entries of nested mappings under dotted names. A list is one value."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _flat(f"{prefix}.{name}" if prefix else name, inner)
    else:
        yield prefix, json.dumps(value)


def _weights(before: Model, after: Model) -> Iterator[Difference]:
    """Yield how far each tensor has moved: the norm of the change, as a share of the norm of the old tensor."""
    old, new = before.network.state_dict(), after.network.state_dict()
    for name in sorted(old.keys() & new.keys()):
        if old[name].shape == new[name].shape and not torch.equal(old[name], new[name]):
            moved = float((new[name] - old[name]).norm() / old[name].norm().clamp(min=1e-12))
            yield Difference(f"weights.{name}", "", f"moved by {moved:.1%}")

"""What a model's manifest holds about its training, for people. The content is whatever the program that trained the
model wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

ERRORS = ("nll", "absolute_error", "category_nll")
APART = ("curve", "settings")
"""Entries that are long, and are shown by `--json` only."""


def measured(metrics: Any) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows: the measures of each predictor on the test part, the network first."""
    pairs = metrics.items() if isinstance(metrics, Mapping) else ()
    predictors = {name: one for name, one in pairs if isinstance(one, Mapping)}
    rows = [
        [name.replace("_", " "), *(_figure(predictors[name].get(error)) for error in ERRORS)]
        for name in sorted(predictors, key=lambda name: name != "network")
    ]
    return ["test part", "nats a value", "absolute error", "nats a class"], rows


def facts(training: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name and value of each entry. An entry that is a mapping is replaced by its own entries. Predictors are
    left to `measured`."""
    for name, value in training.items():
        if name == "best_epoch" and isinstance(value, int):
            yield (
                "best epoch",
                f"{value + 1} of {len(training.get('curve', ()))}",
            )  # counted from one, as `train` shows them
        elif name == "metrics" and isinstance(value, Mapping):
            yield from _flat("test", {key: one for key, one in value.items() if not isinstance(one, Mapping)})
        elif name not in APART:
            yield from _flat(name, value)


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for inner, one in sorted(value.items(), key=lambda each: str(each[1]) if name == "range" else ""):
            yield from _flat(f"{name} {inner}", one)
    else:
        yield name.replace("_", " "), _figure(value)


def _figure(value: Any) -> str:
    return "-" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)

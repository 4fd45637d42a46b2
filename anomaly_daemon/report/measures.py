"""What a model's manifest tells of its training, for people. Its content is whatever the program that trained it wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

ERRORS = ("nll", "absolute_error", "category_nll")
APART = ("curve", "settings")
"""Long, and for `--json`."""


def measured(metrics: Any) -> tuple[list[str], list[list[str]]]:
    """Headings and rows: what the test part says of each predictor, the network first."""
    told = metrics.items() if isinstance(metrics, Mapping) else ()
    predictors = {name: one for name, one in told if isinstance(one, Mapping)}
    rows = [
        [name.replace("_", " "), *(_figure(predictors[name].get(error)) for error in ERRORS)]
        for name in sorted(predictors, key=lambda name: name != "network")
    ]
    return ["test part", "nats a value", "absolute error", "nats a class"], rows


def facts(training: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """One name and value each; mappings by their entries. The predictors are left to `measured`."""
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

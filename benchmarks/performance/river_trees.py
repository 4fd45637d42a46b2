"""The scorer that the other stream processors use: river's half-space trees, ten for each key. Needs river, and nothing
of anomaly-daemon."""

from __future__ import annotations

import time
from typing import Any

from river import anomaly, compose, preprocessing

ALERT_ABOVE = 0.99


class Trees:
    """The trees of every key. Also measures the CPU-seconds for `records` records after the `first` ones, in which the
    trees are made."""

    def __init__(self, first: int, records: int, cpu_seconds: Any = time.process_time) -> None:
        self._first, self._last, self._cpu_seconds = first, first + records, cpu_seconds
        self._models: dict[str, Any] = {}
        self._done, self._began = 0, 0.0

    def score(self, event: dict[str, Any]) -> float:
        """Return the score of one event by the trees of its key, which then learn the event."""
        if self._done == self._first:
            self._began = self._cpu_seconds()
        values = {name: value for name, value in event.items() if name.startswith("v")}
        model = self._models.get(event["id"])
        if model is None:
            model = self._models[event["id"]] = compose.Pipeline(
                preprocessing.MinMaxScaler(), anomaly.HalfSpaceTrees(n_trees=10, height=8, seed=0)
            )
        score = float(model.score_one(values))
        model.learn_one(values)
        self._done += 1
        return score

    @property
    def ended(self) -> float | None:
        """The CPU-seconds, when the last of the records has been scored; None at any other time."""
        return self._cpu_seconds() - self._began if self._done == self._last else None

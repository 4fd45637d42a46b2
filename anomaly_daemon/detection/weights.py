"""What the rules come to for evidence: how long it remembers, and over how many events it looks."""

from __future__ import annotations

from typing import NamedTuple, Self

from anomaly_daemon.detection import autoregression, burst, joint, shape
from anomaly_daemon.detection.averages import Window
from anomaly_daemon.detection.rules import Rules

MEMORY = 10.0
"""Long statistics remember this many times the events that the normaliser does: as many as the distributions of evidence
(`calibration.MEMORY`)."""

DRIFT_WINDOWS = 4.0
"""The window of a drift, in windows of a level."""

SEASON_WINDOW = 0.25
"""The window of a season's residual, in windows of a level: an hour that is not like the others is short."""

QUIET_WINDOW = 0.5
"""And that of how much a value moves: what rests for long is told of as stuck."""


class Weights(NamedTuple):
    """In the numbers that are computed with."""

    slowest: float
    """One over the memory of what is long."""
    prediction: float
    """Of that head; the other has the rest."""
    window: Window
    drift: Window
    season: Window
    quiet: Window
    autoregression: Window
    shape: Window
    joint: Window
    burst: Window

    @classmethod
    def of(cls, rules: Rules) -> Self:
        """As the rules say."""
        events = (rules.window_events * times for times in (1.0, DRIFT_WINDOWS, SEASON_WINDOW, QUIET_WINDOW))
        own = (autoregression.EVENTS, shape.EVENTS, joint.EVENTS, burst.EVENTS)
        windows = (Window.of(each) for each in (*events, *own))
        return cls(1.0 / (MEMORY * rules.adaptation_events), float(rules.prediction_weight), *windows)

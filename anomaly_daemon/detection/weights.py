"""The rules as settings of the evidence: how long its memory is, and over how many events it averages."""

from __future__ import annotations

from typing import NamedTuple, Self

from anomaly_daemon.detection import autoregression, burst, joint, shape
from anomaly_daemon.detection.averages import Window
from anomaly_daemon.detection.rules import Rules

MEMORY = 10.0
"""Long statistics remember this many times as many events as the normaliser does, like the distributions of evidence
(`calibration.MEMORY`)."""

DRIFT_WINDOWS = 4.0
"""The window of a drift, in windows of a level."""

SEASON_WINDOW = 0.25
"""The window of a season's residual, in windows of a level: short, because an unusual hour is short."""

QUIET_WINDOW = 0.5
"""The window of how much a value moves, in windows of a level: what rests for long is reported as stuck."""


class Weights(NamedTuple):
    """The rules, as the numbers that the computation uses."""

    slowest: float
    """One over the memory of the long statistics."""
    prediction: float
    """The weight of the prediction head; the reconstruction head has the rest."""
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
        """Return the weights that follow from the rules."""
        events = (rules.window_events * times for times in (1.0, DRIFT_WINDOWS, SEASON_WINDOW, QUIET_WINDOW))
        own = (autoregression.EVENTS, shape.EVENTS, joint.EVENTS, burst.EVENTS)
        windows = (Window.of(each) for each in (*events, *own))
        return cls(1.0 / (MEMORY * rules.adaptation_events), float(rules.prediction_weight), *windows)

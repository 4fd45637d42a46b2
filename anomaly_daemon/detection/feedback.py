"""What a person says of an alert."""

from __future__ import annotations

from enum import StrEnum


class Label(StrEnum):
    """One word on one alert."""

    TRUE = "true"
    """An anomaly."""
    EXPECTED = "expected"
    """Unusual, and no news: a planned stop, a test."""
    FALSE = "false"
    """Nothing unusual."""
    NEW_NORMAL = "new_normal"
    """It will be so from now on."""

"""The demo's two deployments. They are in code, so that an installed package needs no file; a test compares them with
`configs/`."""

from __future__ import annotations

from anomaly_daemon.detection.observation import Direction, Transform
from anomaly_daemon.detection.rules import Evidence
from anomaly_daemon.settings import (
    BudgetSettings,
    DetectionSettings,
    EpisodeSettings,
    HttpSettings,
    LimitSettings,
    NumericField,
    Settings,
    SilenceSettings,
    SnapshotSettings,
    SourceSettings,
    StreamSettings,
    StuckSettings,
    TimeUnit,
)

DAY_SECONDS = 86_400.0

NO_HTTP = HttpSettings(enabled=False)
"""No HTTP server: a demo ends before an operator could query it."""

SENSORS = Settings(
    name="factory-sensors",
    source=SourceSettings(topic="machine-sensors"),
    stream=StreamSettings(
        key=["machine"],
        time="time",
        timezone="Europe/Berlin",
        numeric=[NumericField(name=name) for name in ("temperature", "vibration", "pressure", "current")],
        labels={"site": "plant-1"},
    ),
    detection=DetectionSettings(
        budget=BudgetSettings(alarms_per_stream_per_day=1),
        silence=SilenceSettings(minimum=5),
        stuck=StuckSettings(minimum=10),
    ),
    snapshot=SnapshotSettings(topic="machine-snapshots"),
    http=NO_HTTP,
)

TRANSACTIONS = Settings(
    name="card-transactions",
    source=SourceSettings(topic="card-transactions"),
    stream=StreamSettings(
        key=["card"],
        time="time",
        time_unit=TimeUnit.MILLISECONDS,
        timezone="Europe/Berlin",
        late="accept",
        numeric=[NumericField(name="amount", transform=Transform.LOG, direction=Direction.ABOVE)],
        categorical=["merchant_category", "channel"],
    ),
    detection=DetectionSettings(
        budget=BudgetSettings(alarms_per_stream_per_day=0.05),
        evidence=[Evidence.POINT, Evidence.BURST],
        prediction_weight=1.0,
        window_events=1,
        episode=EpisodeSettings(close_after=1, close_surprise=5, accept_seconds=30 * DAY_SECONDS),
        silence=SilenceSettings(enabled=False),
        stuck=StuckSettings(enabled=False),
    ),
    limits=LimitSettings(idle_stream_seconds=365 * DAY_SECONDS),
    snapshot=SnapshotSettings(topic="card-snapshots"),
    http=NO_HTTP,
)

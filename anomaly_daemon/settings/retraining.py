"""Keys of `retraining`: who asks for a new model, and who trains it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from anomaly_daemon.settings.section import Section


class RetrainingSettings(Section):
    """Requests for retraining, and the workers that take them (`retrain --worker`)."""

    requests_topic: str = "retrain-requests"
    """Kafka: one record a request; each is taken by one worker. As many workers work at once as it has partitions."""
    results_topic: str = "retrain-results"
    """Kafka: what became of each request, keyed by its id. Created with the other where it is missing."""
    feedback_topic: str | None = None
    """Kafka: what people said of alerts, a topic of one partition. Daemons move thresholds by it, retraining reads it."""
    group_id: str = "anomaly-daemon-retrain"
    """The workers' consumer group."""
    checkpoints: Path = Path("checkpoints")
    """A folder that the workers share: the request of one that died goes on from its last epoch on another."""
    promote: Literal["by_gate", "by_hand"] = "by_gate"
    """by_hand: what passes the gate waits as the challenger (beside `model.shadow`, say) for `models promote`."""
    minimum_seconds: float = Field(3600.0, ge=0)
    """A request so soon after the last challenger is answered without training: many may ask for the same reason."""

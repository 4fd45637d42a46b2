"""Keys of `retraining`: who asks for a new model, and who trains it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cronsim import CronSim, CronSimError
from pydantic import Field, field_validator

from anomaly_daemon.settings.section import FiniteSection, TopicName


class RetrainingSettings(FiniteSection):
    """Requests for retraining, and the workers that take them (`retrain --worker`)."""

    requests_topic: TopicName = "retrain-requests"
    """Kafka: one record a request; each is taken by one worker. As many workers work at once as it has partitions."""
    results_topic: TopicName = "retrain-results"
    """Kafka: the outcome of each request, keyed by its id. Created where it is missing, like the requests' topic."""
    announcements_topic: TopicName | None = None
    """Kafka, compacted, one partition: which versions champion and challenger are now. Daemons follow at once."""
    feedback_topic: TopicName | None = None
    """Kafka: what people said of alerts, a topic of one partition. Daemons move thresholds by it, retraining reads it."""
    group_id: str = Field("anomaly-daemon-retrain", min_length=1)
    """The workers' consumer group."""
    checkpoints: Path = Path("checkpoints")
    """A folder that the workers share: if one dies, another continues its request from the last epoch."""
    promote: Literal["by_gate", "by_hand"] = "by_gate"
    """by_hand: what passes the gate waits as the challenger (beside `model.shadow`, say) for `models promote`."""
    schedule: str | None = None
    """Cron schedule in UTC, such as "0 3 * * SUN", on which the workers request a training themselves."""
    age_days: float | None = Field(None, gt=0)
    """Days after the last training at which the workers request one."""
    drift_seconds: float | None = Field(None, ge=60)
    """How often the workers check the champion against the last `recent_days`, and train if it no longer fits."""
    recent_days: float = Field(14.0, gt=0)
    """How many days of records such a request reads: several of your streams' cycles."""
    jitter_seconds: float = Field(600.0, ge=0)
    """Each deployment delays such requests by its own share of this, so that shared workers are not asked all at once."""
    keep_versions: int | None = Field(None, ge=2)
    """As `models prune --keep`, after each publication of `retrain`. null: no version is ever deleted."""
    minimum_seconds: float = Field(3600.0, ge=0)
    """A request within this time of the last challenger is skipped: many may ask for the same reason."""

    @field_validator("schedule")
    @classmethod
    def _cron_words(cls, words: str | None) -> str | None:
        try:
            next(CronSim(words, datetime.now(UTC))) if words is not None else None
        except (CronSimError, StopIteration) as error:
            raise ValueError(f"{words!r} is not a cron expression such as '0 3 * * SUN' ({error})") from error
        return words

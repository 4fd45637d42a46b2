"""Keys of `retraining`: who asks for a new model, and who trains it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cronsim import CronSim, CronSimError
from pydantic import Field, field_validator

from anomaly_daemon.settings.section import FiniteSection


class RetrainingSettings(FiniteSection):
    """Requests for retraining, and the workers that take them (`retrain --worker`)."""

    requests_topic: str = Field("retrain-requests", min_length=1)
    """Kafka: one record a request; each is taken by one worker. As many workers work at once as it has partitions."""
    results_topic: str = Field("retrain-results", min_length=1)
    """Kafka: what became of each request, keyed by its id. Created with the other where it is missing."""
    announcements_topic: str | None = Field(None, min_length=1)
    """Kafka, compacted, one partition: which version champion and challenger are now. Daemons hear it at once."""
    feedback_topic: str | None = Field(None, min_length=1)
    """Kafka: what people said of alerts, a topic of one partition. Daemons move thresholds by it, retraining reads it."""
    group_id: str = Field("anomaly-daemon-retrain", min_length=1)
    """The workers' consumer group."""
    checkpoints: Path = Path("checkpoints")
    """A folder that the workers share: the request of one that died goes on from its last epoch on another."""
    promote: Literal["by_gate", "by_hand"] = "by_gate"
    """by_hand: what passes the gate waits as the challenger (beside `model.shadow`, say) for `models promote`."""
    schedule: str | None = None
    """Cron words in UTC, such as "0 3 * * SUN": the workers then ask for a training themselves."""
    age_days: float | None = Field(None, gt=0)
    """So long after the last training the workers ask for one."""
    drift_seconds: float | None = Field(None, ge=60)
    """This often the workers hold the champion against the last `recent_days`, and train where it no longer fits."""
    recent_days: float = Field(14.0, gt=0)
    """How far back the records go that such a request reads: several of your streams' cycles."""
    jitter_seconds: float = Field(600.0, ge=0)
    """Each deployment puts such requests off by its own share of this: those that share workers must not come at once."""
    keep_versions: int | None = Field(None, ge=2)
    """What `models prune --keep` does, after each publication of `retrain`. null: no version is ever taken away."""
    minimum_seconds: float = Field(3600.0, ge=0)
    """A request so soon after the last challenger is answered without training: many may ask for the same reason."""

    @field_validator("schedule")
    @classmethod
    def _cron_words(cls, words: str | None) -> str | None:
        try:
            next(CronSim(words, datetime.now(UTC))) if words is not None else None
        except (CronSimError, StopIteration) as error:
            raise ValueError(f"{words!r} are no cron words such as '0 3 * * SUN' ({error})") from error
        return words

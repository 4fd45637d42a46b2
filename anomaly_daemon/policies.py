"""The policies of the loop and the time limits of the process, made from the settings."""

from __future__ import annotations

import math

from anomaly_daemon.daemon.lifecycle import Bounds
from anomaly_daemon.daemon.policy import SHARE, CommitPolicy, Policies, RetryPolicy, SessionPolicy, SnapshotPolicy
from anomaly_daemon.settings import Settings

LONGEST_POLL_SECONDS = 1.0
"""A stop waits for the end of a poll, and a broker counts as silent while a poll waits."""


def policies_of(settings: Settings) -> Policies:
    """Return the policies of the loop. A bucket waits for its turn and then for a commit, and both must happen within
    snapshot.seconds. One commit may carry twice the buckets that fall due between two commits, where that is more than
    the usual share."""
    limits, buckets = settings.limits, settings.snapshot.buckets
    period = max(0.0, settings.snapshot.seconds - settings.commit.seconds)
    between = settings.commit.seconds / period if period else 1.0
    return Policies(
        commit=CommitPolicy(settings.commit.seconds, settings.commit.events),
        snapshot=SnapshotPolicy(period, buckets, min(1.0, max(SHARE, 2.0 * between))),
        retry=RetryPolicy(limits.retry_seconds),
        alerts_per_minute=limits.alerts_per_minute,
        dead_letters_per_minute=limits.dead_letters_per_minute,
        dead_letter_late=settings.stream.late == "dead_letter",
        poll_seconds=min(settings.source.poll_seconds, LONGEST_POLL_SECONDS),
        stop_seconds=limits.stop_seconds,
    )


def bounds_of(settings: Settings) -> Bounds:
    """Return how long the process waits for its loop. Files have no consumer group that would assign them to another
    member."""
    session = settings.kafka.session_timeout_seconds if settings.source.kind == "kafka" else math.inf
    return Bounds(
        settings.limits.stop_seconds,
        settings.http.stalled_seconds,
        settings.kafka.max_poll_interval_seconds,
        SessionPolicy(session),
    )

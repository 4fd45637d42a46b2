"""What `run` checks at the end of its input files: whether the records could be read, and whether most events were
scored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anomaly_daemon.errors import TooManyMalformed

if TYPE_CHECKING:
    from anomaly_daemon.daemon.metrics import Metrics
    from anomaly_daemon.settings import Settings

PIPE = "through a pipe (the path -)"
LEFT = "it has no line end, and may still be incomplete: the next start reads it once it has one (echo >> FILE)"
FEW = 20
"""With fewer records than this, shares are not judged. A single late record found by a later start does not mean that a
file is out of order."""


def exhausted(settings: Settings, metrics: Metrics) -> None:
    """Warn of a last line without a line end (where state is kept), and where most events have no score. Raises
    TooManyMalformed where most records could not be read, or most events are late, as `backtest` does."""
    import structlog

    from anomaly_daemon.daemon.totals import by_status, dead_letters
    from anomaly_daemon.report.unscored import mostly_unscored
    from anomaly_daemon.transport.legible import MALFORMED_SHARE, backwards
    from anomaly_daemon.transport.opening import unended
    from anomaly_daemon.transport.rejection import Reason

    log = structlog.get_logger("anomaly_daemon")
    for path in unended(settings.source.paths) if settings.snapshot.path else ():
        log.warning("the last line was not read", path=path, why=LEFT)
    records, statuses, letters = int(metrics.value("records_total")), by_status(metrics), dead_letters(metrics)
    unreadable = {reason: count for reason, count in letters.items() if reason != Reason.LATE}
    if records < FEW:
        return
    if sum(unreadable.values()) > MALFORMED_SHARE * records:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in unreadable.items())
        kept = settings.sink.dead_letter_path is not None
        see = "the command dead-letters shows them" if kept else "set sink.dead_letter_path to a file to keep them in"
        raise TooManyMalformed(
            f"{sum(unreadable.values()):,} of {records:,} records could not be read ({reasons}): {see}"
        )
    if complaint := backwards(statuses["late"], sum(statuses.values())):
        raise TooManyMalformed(complaint)
    apart = PIPE if len(settings.source.paths) > 1 else None
    gone = int(metrics.value("streams_evicted_total", reason="limit"))
    if why := mostly_unscored(statuses, apart=apart, crowded_out=gone):
        log.warning("mostly unscored", why=why)

"""Trains a challenger from the champion and newer records, and decides whether it replaces the champion.

records ─► series ─► known anomalies and mute windows set to missing ─► training ─► calibration ─► both models on the
later part ─► decision
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from anomaly_daemon.detection.alert import Alert
from anomaly_daemon.detection.artifact import Model
from anomaly_daemon.detection.observation import Observations
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.settings import Settings
from anomaly_daemon.training.build import fit, instant
from anomaly_daemon.training.calibrate import evenly
from anomaly_daemon.training.dataset import Cuts, gather, refuse_strangers
from anomaly_daemon.training.drift import USUAL, Alarms, block_losses, drifted, edges
from anomaly_daemon.training.judge import MOST, judge, rows_of, stream_days
from anomaly_daemon.training.known import Known, both, cut_heard, left_out, micros, muted, naming_left_out, opened
from anomaly_daemon.training.loop import ONCE, Course
from anomaly_daemon.training.promotion import Decision, Gate, Measures, Reason, decide
from anomaly_daemon.training.under_way import GATE


@dataclass(frozen=True, slots=True)
class Retrained:
    challenger: Model
    before: Measures
    """The champion's figures on the later part."""
    after: Measures
    """The challenger's figures on the same part."""
    left_out: float
    """The share of events that are known to be anomalous. Events in mute windows are excluded as well, but not counted
    here."""
    decision: Decision
    seen: str = ""
    """A warning that the champion has seen some of the later part; empty if it has not, or if that is not known."""


def retrain(
    settings: Settings,
    champion: Model,
    recorded: Iterable[Observations],
    known: Known,
    rules: Rules,
    course: Course = ONCE,
) -> Retrained:
    """Continue the champion's training, calibrate, and compare the two models on records that the challenger has not
    seen. Raises Incompatible if the champion has another schema, ConfigurationError if there is too little input or a
    field is in no record."""
    schema, window = settings.stream.schema_(), settings.training.window
    champion.for_schema(schema)
    series, names = gather(recorded, course.note)
    refuse_strangers(series, schema)
    kept, share = left_out(series, known)
    quiet = muted(series, rules.mute, schema.timezone)
    kept = left_out(kept, quiet)[0]
    with naming_left_out(series, quiet, known):
        cuts = cut_heard(series, quiet, settings.training.validation_share, settings.training.test_share)
        challenger = fit(settings, kept, names, cuts, name=settings.name, champion=champion, course=course)

    def figures(model: Model, place: int, name: str) -> Measures:
        def tell(share: float) -> None:
            course.tell(GATE, (place + share) / 2, name)

        return judge(model, schema, rules, series, cuts, both(known, quiet), window, tell)

    before, after = figures(champion, 0, "the champion"), figures(challenger, 1, "the challenger")
    decision = decide(before, after, budget=rules.alarms_per_day, left_out=share, gate=Gate())
    return Retrained(challenger, before, after, share, decision, _seen(champion, cuts))


def _seen(champion: Model, cuts: Cuts) -> str:
    """Return a warning if the champion's own training and calibration, which end where its test part begins, reach into
    the later part. This is no condition of the gate. What the champion has seen is in its favour, and such a condition
    would prevent every promotion for a while after the input range was extended."""
    try:
        until = champion.manifest.training["range"]["test"]
        if micros(until) <= cuts.test:
            return ""
    except (KeyError, TypeError, ValueError):  # a champion that was made in another way does not record its range
        return ""
    return (
        f"the champion was trained and calibrated on records up to {until}, and has seen the later part (from "
        f"{instant(cuts.test).isoformat()}) up to there: its figures are not for unseen records; give newer ones"
    )


def drift(
    settings: Settings, champion: Model, recorded: Iterable[Observations], alerts: Sequence[Alert] | None, rules: Rules
) -> tuple[Reason, ...]:
    """Return the results of the tests in `drift` for the champion on these records, and for the pattern episodes among
    its alerts, which are None where they are not known. Only the episodes of the streams and the time that the budget
    is computed for are counted."""
    schema = settings.stream.schema_()
    champion.for_schema(schema)
    series = evenly(gather(recorded)[0], MOST)
    quiet = muted(series, rules.mute, schema.timezone)
    series = left_out(series, quiet)[0]
    rows = rows_of(champion, schema, rules, series)
    since = int(edges(rows)[-USUAL - 1])
    alarms = alerts if alerts is None else Alarms(opened(alerts, series, since), stream_days(series, since, quiet))
    return drifted(block_losses(champion.network, rows, settings.training.window), alarms, rules.alarms_per_day)

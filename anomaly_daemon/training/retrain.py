"""From a champion and newer records to a challenger, and whether it has earned the champion's place.

records ─► series ─► known anomalies, mute windows left out ─► training ─► calibration ─► both models on the later part
─► decision
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
from anomaly_daemon.training.dataset import Cuts, gather
from anomaly_daemon.training.drift import USUAL, Alarms, block_losses, drifted, edges
from anomaly_daemon.training.judge import MOST, judge, rows_of, stream_days
from anomaly_daemon.training.known import Known, both, cut_heard, left_out, micros, muted, naming_windows, opened
from anomaly_daemon.training.loop import ONCE, Course
from anomaly_daemon.training.promotion import Decision, Gate, Measures, Reason, decide
from anomaly_daemon.training.under_way import GATE


@dataclass(frozen=True, slots=True)
class Retrained:
    challenger: Model
    before: Measures
    """The champion's, on the later part."""
    after: Measures
    """The challenger's, on the same."""
    left_out: float
    """The share of events that are known to be anomalous; those of mute windows are left out beside it."""
    decision: Decision
    seen: str = ""
    """How far the champion had seen the later part, where it had."""


def retrain(
    settings: Settings,
    champion: Model,
    recorded: Iterable[Observations],
    known: Known,
    rules: Rules,
    course: Course = ONCE,
) -> Retrained:
    """Train on, calibrate, and hold the two against each other on what the challenger has not seen. Raises Incompatible
    when the champion is of another schema, ConfigurationError when there is too little input."""
    schema, window = settings.stream.schema_(), settings.training.window
    champion.for_schema(schema)
    series, names = gather(recorded, course.note)
    kept, share = left_out(series, known)
    quiet = muted(series, rules.mute, schema.timezone)
    kept, known = left_out(kept, quiet)[0], both(known, quiet)
    with naming_windows(series, quiet):
        cuts = cut_heard(series, quiet, settings.training.validation_share, settings.training.test_share)
        challenger = fit(settings, kept, names, cuts, name=settings.name, champion=champion, course=course)

    def figures(model: Model, place: int, name: str) -> Measures:
        def tell(share: float) -> None:
            course.tell(GATE, (place + share) / 2, name)

        return judge(model, schema, rules, series, cuts, known, window, tell)

    before, after = figures(champion, 0, "the champion"), figures(challenger, 1, "the challenger")
    decision = decide(before, after, budget=rules.alarms_per_day, left_out=share, gate=Gate())
    return Retrained(challenger, before, after, share, decision, _seen(champion, cuts))


def _seen(champion: Model, cuts: Cuts) -> str:
    """Its training and calibration ended where its own test part began. That is no condition of the gate: what the champion
    has seen speaks for the champion, and a range that was made longer would promote nothing for a while."""
    try:
        until = champion.manifest.training["range"]["test"]
        if micros(until) <= cuts.test:
            return ""
    except (KeyError, TypeError, ValueError):  # of a champion that was made otherwise nobody knows
        return ""
    return (
        f"the champion was trained and calibrated on records up to {until}, and has seen the later part (from "
        f"{instant(cuts.test).isoformat()}) up to there: no figure of it is of unseen records; give newer ones"
    )


def drift(
    settings: Settings, champion: Model, recorded: Iterable[Observations], alerts: Sequence[Alert], rules: Rules
) -> tuple[Reason, ...]:
    """What the tests of `drift` say of the champion over these records, and of the pattern episodes among its alerts."""
    schema = settings.stream.schema_()
    champion.for_schema(schema)
    series = evenly(gather(recorded)[0], MOST)
    quiet = muted(series, rules.mute, schema.timezone)
    series = left_out(series, quiet)[0]
    rows = rows_of(champion, schema, rules, series)
    since = int(edges(rows)[-USUAL - 1])
    alarms = Alarms(opened(alerts, since), stream_days(series, since, quiet))
    return drifted(block_losses(champion.network, rows, settings.training.window), alarms, rules.alarms_per_day)

"""Regression cases: alerts that somebody has called true or false, held against what a backtest finds. Pure.

A case passes where the records hold its whole stretch and an episode of its kind is there (true) or is not (false).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from anomaly_daemon.detection.feedback import Label
from anomaly_daemon.errors import Incompatible
from anomaly_daemon.report.episodes import Seen

DECIDING = (Label.TRUE, Label.FALSE)
"""What is expected, or the new normal, may be raised or not."""


class Case(msgspec.Struct, frozen=True):
    """One labelled alert. Epoch microseconds."""

    alert_id: str
    label: Label
    stream: str
    kind: str
    start: int
    end: int


class Verdict(msgspec.Struct, frozen=True):
    """`passed` is None where the records do not hold the case's stretch, so that nothing can be said."""

    case: Case
    passed: bool | None


def decode(line: bytes) -> Case:
    """Raises Incompatible when it is none."""
    try:
        return msgspec.json.decode(line, type=Case)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Incompatible(f"not a case of the gate: {error}") from error


def with_new(cases: Iterable[Case], episodes: Iterable[Seen], labels: Mapping[str, Label]) -> tuple[Case, ...]:
    """The cases, and those that the labels make of these episodes; who says something else later means that."""
    known = {case.alert_id: case for case in cases}
    for one in episodes:
        if (label := labels.get(one.alert_id)) is not None:
            end = max(one.opened, one.end or 0)
            known[one.alert_id] = Case(one.alert_id, label, one.stream, one.kind, one.start, end)
    relabelled = (msgspec.structs.replace(case, label=labels.get(case.alert_id, case.label)) for case in known.values())
    return tuple(case for case in relabelled if case.label in DECIDING)


def judge(cases: Iterable[Case], episodes: Sequence[Seen], spans: Mapping[str, tuple[int, int]]) -> tuple[Verdict, ...]:
    """`spans`: from when to when the records hold each stream."""
    return tuple(Verdict(case, _passed(case, episodes, spans.get(case.stream))) for case in cases)


def _passed(case: Case, episodes: Sequence[Seen], span: tuple[int, int] | None) -> bool | None:
    if span is None or not span[0] <= case.start <= case.end <= span[1]:
        return None
    raised = any(
        (one.stream, one.kind) == (case.stream, case.kind)
        and one.start <= case.end
        and (one.end is None or case.start <= one.end)
        for one in episodes
    )
    return raised == (case.label is Label.TRUE)

"""Regression cases: alerts that a person has labelled true or false, compared with what a backtest finds. Pure.

A case passes if one recording of its stream covers its whole time range, and an episode of its stream and kind overlaps
that range (true) or none does (false). A recording covers a stream up to the stream's last event there. Of a silence,
which begins after such an event, it covers everything up to the last event of any stream: only these show how long the
silence lasts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from anomaly_daemon.detection.alert import Kind
from anomaly_daemon.detection.feedback import Label
from anomaly_daemon.errors import Incompatible
from anomaly_daemon.report.episodes import Seen

DECIDING = (Label.TRUE, Label.FALSE)
"""The labels that make a case. A backtest may raise or not raise what is labelled as expected or as the new normal."""


class Case(msgspec.Struct, frozen=True):
    """One labelled alert. Times are epoch microseconds."""

    alert_id: str
    label: Label
    stream: str
    kind: str
    start: int
    end: int


class Verdict(msgspec.Struct, frozen=True):
    """The result of a case. `passed` is None where the records do not cover its time range, so that nothing can be
    said."""

    case: Case
    passed: bool | None


def decode(line: bytes) -> Case:
    """Return the case on a line of the file. Raises Incompatible when the line is not a case."""
    try:
        return msgspec.json.decode(line, type=Case)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Incompatible(f"not a case of the gate: {error}") from error


def with_new(cases: Iterable[Case], episodes: Iterable[Seen], labels: Mapping[str, Label]) -> tuple[Case, ...]:
    """Return the cases, with those that the labels make of these episodes. A new label of an alert replaces the one
    before, and a case whose label is no longer true or false is dropped."""
    known = {case.alert_id: case for case in cases}
    for one in episodes:
        if (label := labels.get(one.alert_id)) is not None:
            known[one.alert_id] = Case(one.alert_id, label, one.stream, one.kind, one.start, _end(one))
    relabelled = (msgspec.structs.replace(case, label=labels.get(case.alert_id, case.label)) for case in known.values())
    return tuple(case for case in relabelled if case.label in DECIDING)


def _end(one: Seen) -> int:
    """Return the end of a case's time range. What is not a silence lasts as long as its stream's records show it."""
    return max(one.opened, (one.end or 0) if one.kind == Kind.SILENCE else one.last)


Spans = Sequence[tuple[int, int]]


def judge(
    cases: Iterable[Case], episodes: Sequence[Seen], spans: Mapping[str, Spans], recordings: Mapping[str, Spans]
) -> tuple[Verdict, ...]:
    """Judge every case. By stream, `spans` holds its first and last event time in each recording of it, and
    `recordings`, in the same order, the first and last event time of any stream there."""
    return tuple(
        Verdict(case, _passed(case, episodes, _covered(case, spans.get(case.stream, ()), recordings))) for case in cases
    )


def _covered(case: Case, spans: Spans, recordings: Mapping[str, Spans]) -> Spans:
    """Return the time ranges for which the records show whether there was such an episode."""
    if case.kind != Kind.SILENCE or not spans:
        return spans
    return [(first, last) for (first, _), (_, last) in zip(spans, recordings[case.stream], strict=True)]


def _passed(case: Case, episodes: Sequence[Seen], covered: Spans) -> bool | None:
    if not any(first <= case.start <= case.end <= last for first, last in covered):
        return None
    raised = any(
        (one.stream, one.kind) == (case.stream, case.kind)
        and one.start <= case.end
        and (one.end is None or case.start <= one.end)
        for one in episodes
    )
    return raised == (case.label is Label.TRUE)

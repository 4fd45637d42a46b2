"""The figures of all results, as a table for people and as lines for scripts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TextIO

from benchmarks.quality.missed import Missed


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one detector on one set. If it has no figures, the detector did not run, and `told` gives the
    reason."""

    dataset: str
    detector: str
    figures: Mapping[str, float]
    told: str = ""
    missed: tuple[Missed, ...] = ()
    """The labelled events that the detector missed worst, for the page."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table. Its `metrics` are shown in one cell."""

    title: str
    metrics: tuple[str, ...]
    decimals: int = 3

    def cell(self, figures: Mapping[str, float]) -> str:
        """Return the text of the cell, which is empty if the set has none of these metrics."""
        there = [figures[name] for name in self.metrics if name in figures]
        return " / ".join("–" if math.isnan(value) else f"{value:,.{self.decimals}f}" for value in there)


COLUMNS = (
    Column("VUS-PR", ("vus_pr",)),
    Column("AUC-PR", ("auc_pr",)),
    Column("event P / R", ("event_precision", "event_recall"), 2),
    Column("event F1", ("event_f1",)),
    Column("delay", ("delay",), 0),
    Column("alarms a day", ("alarms_per_day",), 2),
    Column("over budget, a week's", ("realised_share", "weekly_realised_share"), 2),
    Column("NAB std / low FP / low FN", ("nab_standard", "nab_low_fp", "nab_low_fn"), 1),
    Column("NAB of rows", ("nab_rows_standard", "nab_rows_low_fp", "nab_rows_low_fn"), 1),
    Column("SKAB F1", ("skab_f1",)),
    Column("FAR / MAR %", ("skab_far", "skab_mar"), 1),
    Column("F1, learned threshold", ("skab_learned_f1",)),
    Column("FAR / MAR %", ("skab_learned_far", "skab_learned_mar"), 1),
    Column("F1, best threshold", ("skab_best_f1",)),
    Column("FAR / MAR %", ("skab_best_far", "skab_best_mar"), 1),
    Column("precision at 100 a day", ("precision_at_100_a_day",)),
    Column("recall", ("recall_at_100_a_day",)),
    Column("events/s", ("events_per_second",), 0),
)
NAME_WIDTH = 20


class Figures:
    """Prints each result when it arrives, under the heading of its set, and keeps it in `results`."""

    def __init__(self, out: TextIO) -> None:
        self.results: list[Result] = []
        self._columns: list[Column] = []
        self._out = out

    def add(self, one: Result) -> None:
        """Print and keep a result. The results of a set have to come one after another."""
        if not self.results or self.results[-1].dataset != one.dataset:
            self._title(one)
        if one.figures and not self._columns:
            self._columns = columns_of([one])
            self._line(f"{'':<{NAME_WIDTH}}", *(f"{column.title:>{_width(column)}}" for column in self._columns))
        self.results.append(one)
        cells = [f"{column.cell(one.figures):>{_width(column)}}" for column in self._columns] if one.figures else []
        self._line(f"{one.detector:<{NAME_WIDTH}}", *cells, one.told)

    def _title(self, one: Result) -> None:
        budget = one.figures.get("budget_per_day")
        told = "" if budget is None else f": at {budget:.3g} alarms a stream and day"
        self._line(f"\n{one.dataset}{told}")
        self._columns = []

    def _line(self, *cells: str) -> None:
        print("  ".join(cells).rstrip(), file=self._out, flush=True)

    def lines(self) -> Iterator[str]:
        """Yield one JSON object a figure, with null in place of NaN."""
        for one in self.results:
            for metric, value in one.figures.items():
                told = None if math.isnan(value) else round(value, 6)
                yield json.dumps({"dataset": one.dataset, "detector": one.detector, "metric": metric, "value": told})


def columns_of(results: Iterable[Result]) -> list[Column]:
    """Return the columns for which a set's results have figures: NAB's own columns are only for its sets, and a ranking
    has no alarms."""
    told = {metric for one in results for metric in one.figures}
    return [column for column in COLUMNS if told.intersection(column.metrics)]


def _width(column: Column) -> int:
    return max(len(column.title), 6 * len(column.metrics) + 3 * (len(column.metrics) - 1))

"""The figures as one HTML file of tables and bars, without scripts or external resources, light or dark as the reader's
system is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from itertools import groupby

from benchmarks.quality import ours
from benchmarks.quality.figures import Column, Result, columns_of
from benchmarks.quality.missed import Missed

BAR, GAP, LEFT, WIDTH = 17, 6, 150, 520
"""Pixels: a bar's height, the gap under it, the position of its start, and the width of the whole chart."""

CHARTS = {
    "vus_pr": "VUS-PR",
    "event_f1": "event F1 at the budget",
    "nab_standard": "NAB, standard profile",
    "skab_f1": "SKAB F1 of alarms",
    "auc_pr": "AUC-PR",
    "recall_at_100_a_day": "recall at 100 a day",
}
"""Metrics that are drawn if a set has them; of those, at most the first `MOST_CHARTS`."""
MOST_CHARTS = 4

RATIOS = (0.1, 10.0)
"""The ends of the axis of realised alarms over the budget."""

STYLE = """
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 16px; }
svg.bars { width: 100%; height: auto; display: block; }
svg.bars text { font: 12px system-ui, sans-serif; fill: var(--soft); }
svg.bars rect { fill: var(--surprise); opacity: .55; } svg.bars rect.ours { fill: var(--expected); opacity: 1; }
svg.bars text.ours { fill: var(--ink); font-weight: 600; } svg.bars rect.within { fill: var(--good); opacity: .14; }
svg.bars circle { fill: var(--surprise); } svg.bars circle.ours { fill: var(--expected); }
svg.bars path { stroke: var(--line); fill: none; }
tr.ours td { font-weight: 600; } td.number, th.number { text-align: right; }
"""


def page(results: Sequence[Result]) -> str:
    """Return the whole document. The results of a set have to be adjacent."""
    style = files("anomaly_daemon.report").joinpath("page.css").read_text(encoding="utf-8") + STYLE
    sets = "".join(_set(name, list(group)) for name, group in groupby(results, key=lambda one: one.dataset))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Detection quality</title><style>{style}</style></head><body><main>
<h1>Detection quality</h1>
<p class="soft">Every detector on the same events in the same order; one configuration for all sets. Random scores show what
a measure gives for nothing.</p>
{sets}
<footer>What each figure is, and what it is not: docs/detection.md. The daemon's rows are its own detection code.</footer>
</main></body></html>
"""


def _set(name: str, results: Sequence[Result]) -> str:
    budget = next((one.figures["budget_per_day"] for one in results if "budget_per_day" in one.figures), None)
    told = "" if budget is None else f'<p class="soft">budget: {budget:.3g} alarms a stream and day</p>'
    drawn = [one for one in results if one.figures]
    metrics = [metric for metric in CHARTS if any(metric in one.figures for one in drawn)][:MOST_CHARTS]
    charts = [_card(CHARTS[metric], _bars(drawn, metric)) for metric in metrics]
    if budget:
        charts.append(_card("false alarms a day, over the budget", _dots(drawn, budget)))
    pictures = "".join(_picture(missed) for one in results for missed in one.missed)
    return f'<h2>{escape(name)}</h2>{told}{_table(results)}<div class="charts">{"".join(charts)}</div>{pictures}'


def _picture(missed: Missed) -> str:
    first, last = missed.span
    told = f"missed: {missed.series}, rows {first:,} to {last:,}; highest surprise {missed.peak:.1f}"
    return _card(told, missed.picture())


def _card(title: str, content: str) -> str:
    return f'<div class="card"><h3>{escape(title)}</h3>{content}</div>'


def _table(results: Sequence[Result]) -> str:
    columns = columns_of(results)
    head = "".join(f'<th class="number">{escape(column.title)}</th>' for column in columns)
    rows = "".join(_row(one, columns) for one in results)
    return f'<div class="card"><table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _row(one: Result, columns: Sequence[Column]) -> str:
    cells = "".join(f'<td class="number">{column.cell(one.figures)}</td>' for column in columns)
    if not one.figures:
        cells = f'<td class="soft" colspan="{len(columns)}">{escape(one.told)}</td>'
    return f'<tr class="{_style(one)}"><td>{escape(one.detector)}</td>{cells}</tr>'


def _style(one: Result) -> str:
    return "ours" if one.detector == ours.NAME else "peer"


def _bars(results: Sequence[Result], metric: str) -> str:
    """Return a bar chart of one metric, with the best detector on top."""
    known = [one for one in results if not math.isnan(one.figures.get(metric, math.nan))]
    ranked = sorted(known, key=lambda one: -one.figures[metric])
    largest = max((one.figures[metric] for one in ranked), default=0.0) or 1.0
    return _chart(ranked, (_bar(one, place, one.figures[metric], largest) for place, one in enumerate(ranked)))


def _bar(one: Result, place: int, value: float, largest: float) -> str:
    y, length = place * (BAR + GAP), (WIDTH - LEFT - 60) * max(value, 0.0) / largest
    number = f"{value:.3f}" if largest <= 1 else f"{value:.1f}"
    return (
        f'<rect class="{_style(one)}" x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" rx="3"/>'
        f'<text x="{LEFT + length + 6:.1f}" y="{y + 13}">{number}</text>'
    )


def _dots(results: Sequence[Result], budget: float) -> str:
    """Return a chart of realised alarms over the budget, on a logarithmic axis. Shaded is half to twice the budget."""
    known = [one for one in results if not math.isnan(one.figures["alarms_per_day"])]
    height = len(known) * (BAR + GAP)
    band = f'<rect class="within" x="{_along(0.5):.1f}" y="0" width="{_along(2) - _along(0.5):.1f}" height="{height}"/>'
    middle = f'<path d="M{_along(1):.1f} 0V{height}"/>'
    dots = (_dot(one, place, one.figures["alarms_per_day"] / budget) for place, one in enumerate(known))
    return _chart(known, [band, middle, *dots])


def _along(ratio: float) -> float:
    low, high = (math.log(end) for end in RATIOS)
    share = (math.log(min(max(ratio, RATIOS[0]), RATIOS[1])) - low) / (high - low)
    return LEFT + 10 + (WIDTH - LEFT - 80) * share


def _dot(one: Result, place: int, ratio: float) -> str:
    y = place * (BAR + GAP) + BAR / 2
    return (
        f'<circle class="{_style(one)}" cx="{_along(ratio):.1f}" cy="{y}" r="5"/>'
        f'<text x="{WIDTH - 50}" y="{y + 4}">× {ratio:.2f}</text>'
    )


def _chart(results: Sequence[Result], marks: Iterator[str] | Sequence[str]) -> str:
    names = "".join(_name(one, place) for place, one in enumerate(results))
    return f'<svg class="bars" viewBox="0 0 {WIDTH} {len(results) * (BAR + GAP)}">{"".join(marks)}{names}</svg>'


def _name(one: Result, place: int) -> str:
    y = place * (BAR + GAP) + 13
    return f'<text class="{_style(one)}" x="{LEFT - 8}" y="{y}" text-anchor="end">{escape(one.detector)}</text>'

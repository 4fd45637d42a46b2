"""Plots of the rows: one picture for each benchmark, with a panel for each metric."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from performance.rows import Row


def plot(rows: Sequence[Row], folder: Path) -> None:
    """Write one `BENCHMARK.png` for each benchmark into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for benchmark in dict.fromkeys(row.benchmark for row in rows):
        _figure([row for row in rows if row.benchmark == benchmark]).savefig(folder / f"{benchmark}.png", dpi=110)


def _figure(rows: Sequence[Row]) -> Figure:
    metrics = list(dict.fromkeys(row.metric for row in rows))
    counts = [sum(row.metric == metric for row in rows) for metric in metrics]
    figure = Figure(figsize=(9.0, 0.8 * len(metrics) + 0.28 * sum(counts)), layout="constrained")
    panels = figure.subplots(len(metrics), 1, squeeze=False, height_ratios=[count + 1 for count in counts])[:, 0]
    for panel, metric in zip(panels, metrics, strict=True):
        shown = [row for row in rows if row.metric == metric]
        bars = panel.barh([row.case for row in shown], [row.value for row in shown])
        panel.bar_label(bars, [_short(row.value) for row in shown], padding=3, fontsize=7)
        panel.set_title(metric.replace("_", " "), fontsize=9, loc="left")
        panel.tick_params(labelsize=7)
        panel.xaxis.set_major_formatter(lambda value, _: _short(value))
        panel.invert_yaxis()
        panel.margins(x=0.15)
        panel.spines[["top", "right"]].set_visible(False)
    return figure


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"

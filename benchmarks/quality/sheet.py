"""One SVG file with the worst-missed labelled event of each set, one below another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files

from anomaly_daemon.report.svg import WIDTH
from benchmarks.quality.figures import Result
from benchmarks.quality.missed import Missed

TITLE = 34
"""Pixels of the title above each picture."""

STYLE = """
.sheet { fill: var(--card); } text.title { font: 600 15px system-ui, sans-serif; fill: var(--ink); }
svg.plot { min-width: 0; }
"""


def sheet(results: Sequence[Result]) -> str:
    """Return the whole file. A set without a missed event is not in it."""
    style = files("anomaly_daemon.report").joinpath("page.css").read_text(encoding="utf-8") + STYLE
    parts, height = [], 0
    for title, missed in _worst(results):
        picture, tall = missed.picture(), missed.height
        parts.append(f'<text class="title" x="12" y="{height + TITLE - 10}">{escape(title)}</text>')
        parts.append(f'<svg y="{height + TITLE}" width="{WIDTH}" height="{tall}">{picture}</svg>')
        height += TITLE + tall
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
        f'<style>{style}</style><rect class="sheet" width="100%" height="100%"/>{"".join(parts)}</svg>\n'
    )


def _worst(results: Sequence[Result]) -> Iterator[tuple[str, Missed]]:
    for one in results:
        if one.missed:
            missed = one.missed[0]
            first, last = missed.span
            rows = f"row {first:,}" if first == last else f"rows {first:,} to {last:,}"
            yield f"{one.dataset}: {missed.series}, {rows}; highest surprise {missed.peak:.1f}", missed

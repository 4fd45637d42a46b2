"""The backtest as one HTML file: no script, nothing loaded from elsewhere, light or dark by the reader's setting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files

from anomaly_daemon.report.episodes import Seen, iso
from anomaly_daemon.report.matching import Hit, Matched, Window
from anomaly_daemon.report.scale import number
from anomaly_daemon.report.summary import Outcome, duration, share
from anomaly_daemon.report.svg import stream_plot
from anomaly_daemon.report.trace import Trace

MOST_PLOTS = 16
MOST_ROWS = 500
"""Most rows of a table. A line below it gives the number of the others; `--json` has every episode."""


def page(outcome: Outcome, traces: Mapping[str, Trace], names: Sequence[str]) -> str:
    """Return the whole document. `names` are the numeric features, in the traces' column order."""
    style = files("anomaly_daemon.report").joinpath("page.css").read_text(encoding="utf-8")
    span = outcome.tally.span
    when = "no events" if span is None else f"{_when(span[0])} to {_when(span[1])} UTC"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Backtest of {escape(outcome.name)}</title><style>{style}</style></head><body><main>
<h1>Backtest of {escape(outcome.name)}</h1>
<p class="soft">{when}, with the same detection code as the daemon</p>
<section class="tiles">{"".join(_tiles(outcome))}</section>
{_doubts(outcome)}
{_plots(outcome, traces, names)}
{_windows(outcome)}
{_episodes(outcome)}
<footer>Model {escape(outcome.model.name)} {escape(outcome.model.version)} · digest {escape(outcome.model.digest)}<br>
A label is found when an episode of its stream opened inside it. Precision = labels found of labels found plus false
alarms; further episodes inside a label are neither. Surprise = −log10 of the p-value; the alarm level is learned from
the budget.</footer>
</main></body></html>
"""


def _doubts(outcome: Outcome) -> str:
    """Return what a person should know before trusting the rest, in the words of the console."""
    lines = "".join(f"<li>{escape(line[:1].upper() + line[1:])}</li>" for line in outcome.doubts)
    return f'<ul class="card doubts">{lines}</ul>' if lines else ""


def _tile(value: str, what: str, small: str = "", style: str = "") -> str:
    return f'<div class="tile {style}"><b>{value}</b><span>{escape(what)}</span><small>{escape(small)}</small></div>'


def _tiles(outcome: Outcome) -> Iterable[str]:
    tally, realised = outcome.tally, outcome.realised
    unscored = tally.events - tally.by_status["scored"]
    yield _tile(f"{tally.events:,}", "events", f"{unscored:,} not scored, {outcome.rejected:,} unreadable")
    yield _tile(f"{len(tally.streams):,}", "streams", f"{tally.stream_days:,.1f} stream days")
    kinds = ", ".join(f"{count} {kind}" for kind, count in outcome.by_kind.most_common())
    yield _tile(f"{len(outcome.episodes):,}", "episodes", kinds)
    held = "" if realised is None else "within" if realised <= outcome.alarms_per_day else "over"
    budget = f"budget {number(outcome.alarms_per_day)}; pattern alarms only"
    yield _tile(number(realised), "alarms per stream per day", budget, held)
    if outcome.matched is not None:
        yield from _quality_tiles(outcome.matched)


def _quality_tiles(matched: Matched[Window]) -> Iterable[str]:
    yield _tile(f"{matched.found} of {len(matched.hits)}", "labels found", f"recall {share(matched.recall)}")
    yield _tile(share(matched.precision), "precision", f"{len(matched.false_alarms)} false alarms")
    yield _tile(number(matched.f1), "F1, event-wise")
    delay = matched.median_delay
    yield _tile(duration(None if delay is None else delay / 1e6), "median delay", "from the label's start to the alarm")


def _table(head: Sequence[str], rows: Sequence[str], total: int) -> str:
    cells = "".join(f"<th>{name}</th>" for name in head)
    more = f'<p class="soft">{total - len(rows):,} more not shown</p>' if total > len(rows) else ""
    return f'<div class="card"><table><thead><tr>{cells}</tr></thead><tbody>{"".join(rows)}</tbody></table>{more}</div>'


def _when(time: int | None) -> str:
    return "open" if time is None else iso(time)[:16].replace("T", " ")


def _windows(outcome: Outcome) -> str:
    if outcome.matched is None:
        return ""
    hits = outcome.matched.hits
    table = _table(("stream", "start", "end", "", "delay"), [_window(hit) for hit in hits[:MOST_ROWS]], len(hits))
    others = "".join(f'<p class="soft">{escape(line[:1].upper() + line[1:])}</p>' for line in outcome.not_counted)
    return f"<h2>Labels</h2>{table}{others}"


def _window(hit: Hit[Window]) -> str:
    word = "missed" if hit.delay is None else "found"
    delay = duration(None if hit.delay is None else hit.delay / 1e6)
    return _row(
        ("stream", escape(hit.window.stream)),
        ("when", _when(hit.window.start)),
        ("when", _when(hit.window.end)),
        (word, word),
        ("number", delay),
    )


def _row(*cells: tuple[str, str]) -> str:
    """Return a row of (class, HTML) cells."""
    return "<tr>" + "".join(f'<td class="{style}">{content}</td>' for style, content in cells) + "</tr>"


def _episodes(outcome: Outcome) -> str:
    if not outcome.episodes:
        return "<h2>Episodes</h2><p>None.</p>"
    false = set() if outcome.matched is None else {seen.alert_id for seen in outcome.matched.false_alarms}
    rows = [_episode(seen, seen.alert_id in false) for seen in outcome.episodes[:MOST_ROWS]]
    head = ("opened (UTC)", "end", "stream", "kind", "severity", "feature", "actual", "expected", "reason")
    return f"<h2>Episodes</h2>{_table(head, rows, len(outcome.episodes))}"


def _episode(seen: Seen, false: bool) -> str:
    feature = seen.feature
    name, actual, expected = ("–", None, None) if feature is None else (feature.name, feature.actual, feature.expected)
    mark = ' <span class="false">false alarm</span>' if false else ""
    severity = f'<span class="bar"><i style="width:{min(seen.severity, 100):.0f}%"></i></span>{seen.severity:.0f}'
    return _row(
        ("when", _when(seen.opened)),
        ("when", _when(seen.end)),
        ("stream", escape(seen.stream)),
        ("", f'<span class="kind {escape(seen.kind)}">{escape(seen.kind)}</span>'),
        ("number", severity),
        ("", escape(name)),
        ("number", _value(actual)),
        ("number", _value(expected)),
        ("reason", escape(seen.reason) + mark),
    )


def _value(value: float | str | None) -> str:
    return escape(value) if isinstance(value, str) else number(value)


def worth_showing(outcome: Outcome, traced: Iterable[str]) -> list[str]:
    """Return the traced streams that are worth plotting, at most `MOST_PLOTS`: labelled ones first, then those whose
    episodes have the largest sum of severities."""
    labelled = set() if outcome.matched is None else {hit.window.stream for hit in outcome.matched.hits}
    weight = dict.fromkeys(traced, 0.0)
    for seen in outcome.episodes:
        if seen.stream in weight:
            weight[seen.stream] += seen.severity
    return sorted(weight, key=lambda key: (key not in labelled, -weight[key], key))[:MOST_PLOTS]


def _plots(outcome: Outcome, traces: Mapping[str, Trace], names: Sequence[str]) -> str:
    keys = worth_showing(outcome, [key for key, trace in traces.items() if len(trace)])
    if not keys or not names:
        return ""
    hits = () if outcome.matched is None else outcome.matched.hits
    cards = []
    for key in keys:
        episodes = [one for one in outcome.episodes if one.stream == key]
        plot = stream_plot(traces[key], names, [hit.window for hit in hits if hit.window.stream == key], episodes)
        count = f"{len(episodes)} episode{'' if len(episodes) == 1 else 's'}"
        cards.append(f'<div class="card"><h3>{escape(key)} <span>{count}</span></h3>{plot}</div>')
    shown = f'<p class="soft">{len(keys)} of {len(outcome.tally.streams):,} streams, labelled ones first</p>'
    return f"<h2>Streams</h2>{shown}{_KEY}{''.join(cards)}"


_KEY = (
    '<p class="key">'
    + "".join(
        f'<span><i style="background:var(--{colour})"></i>{word}</span> '
        for colour, word in (
            ("actual", "actual"),
            ("expected", "expected and its band"),
            ("labelline", "label"),
            ("pattern", "pattern"),
            ("silence", "silence"),
            ("stuck", "stuck"),
            ("schema", "schema"),
        )
    )
    + "</p>"
)

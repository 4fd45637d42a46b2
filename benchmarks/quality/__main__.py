"""How well the daemon detects, compared with its peers on the same events in the same run.

    python -m benchmarks.quality --data ../shared/data
    python -m benchmarks.quality --data data --sets nab,smd --detectors anomaly-daemon,ewma --json rows.jsonl
    python -m benchmarks.quality --data data --weekly --cache /tmp/outcomes --page quality.html

Every detector reads each series once and in order. Its score of an event depends only on that event and those before
it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is imported: series run in processes, not threads

from anomaly_daemon.commands.numbers import positive, whole
from anomaly_daemon.commands.outputs import refuse_unwritable
from anomaly_daemon.errors import DaemonError
from benchmarks.quality import fraud, ours
from benchmarks.quality.cache import cached, key_of, sources_of
from benchmarks.quality.choices import one_or_more_of, sets_asked_for
from benchmarks.quality.detectors import DETECTORS, NotForThese
from benchmarks.quality.figures import Figures, Result
from benchmarks.quality.measure import measure, realised
from benchmarks.quality.missed import worst
from benchmarks.quality.outcome import Outcome
from benchmarks.quality.page import page
from benchmarks.quality.series import Series, budget_of, protocol_of, read_set, sets_in
from benchmarks.quality.sheet import sheet
from benchmarks.quality.transactions import read_transactions


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds the sets")
    everyone = tuple(dict.fromkeys([*DETECTORS, *fraud.DETECTORS]))
    parser.add_argument("--sets", help="of the folders there; all that hold labelled series or transactions")
    parser.add_argument(
        "--detectors", type=one_or_more_of(everyone), default=everyone, help=f"of {','.join(everyone)}; all"
    )
    parser.add_argument(
        "--budget", type=positive, help="alarms a stream and day (1, or 1 a recording shorter than a day)"
    )
    parser.add_argument(
        "--weekly", action="store_true", help="the daemon also at a seventh of the budget: what it realises"
    )
    parser.add_argument("--limit", type=whole, metavar="N", help="only the first N events of each series")
    parser.add_argument("--jobs", type=whole, default=1, help="processes (1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="a line {dataset, detector, metric, value} a figure")
    parser.add_argument("--page", type=Path, metavar="FILE", help="a page with tables and plots")
    parser.add_argument("--missed", type=Path, metavar="FILE", help="an SVG of the event that was missed worst, by set")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep outcomes here; they are taken from there again")
    asked = parser.parse_args(words)
    asked.sets = sets_asked_for(parser, asked, sets_of)
    try:
        for option in ("json", "page", "missed"):
            refuse_unwritable(f"--{option}", getattr(asked, option))
    except DaemonError as error:
        parser.error(str(error))
    return asked


def sets_of(data: Path) -> tuple[str, ...]:
    """Return the names of the sets in a folder that can be measured: labelled series, and the card transactions."""
    return (*sets_in(data), *((fraud.NAME,) if transactions(data).is_file() else ()))


def transactions(data: Path) -> Path:
    """Return the path of the file of card payments, whether or not it exists."""
    return data / fraud.NAME / "transactions.npz"


def detectors_of(dataset: str) -> Collection[str]:
    """Return the names of the detectors that can be measured on a set."""
    return fraud.DETECTORS if dataset == fraud.NAME else DETECTORS


def result(asked: argparse.Namespace, dataset: str, name: str) -> Result:
    """Run one detector on one set, and return its figures."""
    return _on_transactions(asked, name) if dataset == fraud.NAME else _on_series(asked, dataset, name)


def _on_series(asked: argparse.Namespace, dataset: str, name: str) -> Result:
    series = read_set(dataset, asked.data, asked.limit)
    per_day = asked.budget or budget_of(series)
    try:
        found = _detected(asked, dataset, name, series, per_day)
        figures = measure(protocol_of(dataset, asked.data), series, found, per_day)
        if name != ours.NAME:
            return Result(dataset, name, figures)
        if asked.weekly:
            figures |= realised(series, _detected(asked, dataset, name, series, per_day / 7), per_day / 7, "weekly_")
    except NotForThese as reason:
        return Result(dataset, name, {}, str(reason))
    return Result(dataset, name, figures, missed=worst(series, found))


def _detected(
    asked: argparse.Namespace, dataset: str, name: str, series: Sequence[Series], per_day: float
) -> list[Outcome]:
    detector = DETECTORS[name]
    key = key_of(sources_of(detector.module), series, per_day)
    return cached(asked.cache, f"{dataset}-{name}", key, lambda: detector.detect(series, per_day))


def _on_transactions(asked: argparse.Namespace, name: str) -> Result:
    told = read_transactions(transactions(asked.data), asked.limit)
    key = key_of(sources_of(fraud.NAME), [told.series()], 1.0)
    try:
        (found,) = cached(asked.cache, f"{fraud.NAME}-{name}", key, lambda: fraud.detect(told, name))
    except NotForThese as reason:
        return Result(fraud.NAME, name, {}, str(reason))
    return Result(fraud.NAME, name, fraud.measure(told, found))


def results(asked: argparse.Namespace) -> Iterator[Result]:
    """Yield the result of every detector on every set, set by set, in the order asked for."""
    wanted = [(dataset, name) for dataset in asked.sets for name in asked.detectors if name in detectors_of(dataset)]
    if asked.jobs == 1:
        yield from (result(asked, *one) for one in wanted)
        return
    with ProcessPoolExecutor(asked.jobs) as pool:
        yield from pool.map(result, [asked] * len(wanted), *zip(*wanted, strict=True))


def main() -> None:
    """Print the tables, and write the files that were asked for."""
    asked = arguments()
    figures = Figures(sys.stdout)
    for one in results(asked):
        figures.add(one)
        if asked.json:  # after each, because all of them may take hours
            asked.json.write_text("".join(f"{line}\n" for line in figures.lines()), encoding="utf-8")
    if asked.page:
        asked.page.write_text(page(figures.results), encoding="utf-8")
    if asked.missed:
        asked.missed.write_text(sheet(figures.results), encoding="utf-8")


if __name__ == "__main__":
    main()

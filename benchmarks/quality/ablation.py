"""What each part of the detection is worth: the daemon's own code with one part left out, or with another network.

    python -m benchmarks.quality.ablation --data ../shared/data --json ablation.jsonl
    python -m benchmarks.quality.ablation --data data --sets nab,asd --variants shipped,fine-tuned

Each variant is scored as in `benchmarks.quality`, but reads only the scored part and the last `--lead` events before
it. This is the same for all variants, so their figures can be compared with one another, but not with that table. A
network that is trained on a set is trained on everything before the scored part.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is imported

import numpy as np

from anomaly_daemon.commands.numbers import whole
from anomaly_daemon.detection import scorer
from anomaly_daemon.detection.rules import Evidence
from anomaly_daemon.detection.signals import ODDS
from anomaly_daemon.errors import ConfigurationError
from benchmarks.quality import learned, ours
from benchmarks.quality.cache import ROOT, cached, key_of, sources_of
from benchmarks.quality.choices import one_or_more_of, sets_asked_for
from benchmarks.quality.figures import Figures, Result
from benchmarks.quality.measure import measure
from benchmarks.quality.outcome import Outcome
from benchmarks.quality.series import Float64, Series, budget_of, protocol_of, read_set, sets_in

COMPARED = ("nab", "kpi", "skab", "asd", "smap", "smd")
SHOWN = ("vus_pr", "event_f1")


@dataclass(frozen=True, slots=True)
class Variant:
    """How a variant differs from the shipped detection."""

    detection: Mapping[str, Any] = field(default_factory=dict)
    """Keys of the configuration section `detection`."""
    odds_J: Float64 | None = None
    """The prior odds of the kinds of evidence, where they differ from `signals.ODDS`."""
    network: str = "shipped"
    """The network, by its name in `learned.NETWORKS`."""


def without(kind: Evidence) -> Variant:
    """Return the variant without one kind of evidence."""
    return Variant({"evidence": [one for one in Evidence if one is not kind]})


VARIANTS = {
    "shipped": Variant(),
    "prediction only": Variant({"prediction_weight": 1.0}, network="recalibrated"),
    "reconstruction only": Variant({"prediction_weight": 0.0}, network="recalibrated"),
    **{f"without {kind}": without(kind) for kind in Evidence},
    "all kinds weigh the same": Variant(odds_J=np.ones_like(ODDS)),
    "fine-tuned": Variant(network="fine-tuned"),
    "from scratch": Variant(network="from scratch"),
    "joint from scratch": Variant(network="from scratch, joint"),
}


@contextmanager
def weighing(odds_J: Float64 | None) -> Iterator[None]:
    """Replace the prior odds of the kinds of evidence inside the context, by patching `scorer.ODDS`: the product has no
    such option."""
    kept = scorer.ODDS
    scorer.ODDS = kept if odds_J is None else odds_J
    try:
        yield
    finally:
        scorer.ODDS = kept


def shortened(series: Series, lead: int) -> Series:
    """Return the series without the events that lie more than `lead` before the scored part."""
    first = max(series.start - lead, 0)
    columns = {name: getattr(series, name)[first:] for name in ("values_ND", "time_N", "label_N")}
    return replace(series, start=series.start - first, **columns)


def result(asked: argparse.Namespace, dataset: str, name: str) -> Result:
    """Run one variant on one set, and return its figures."""
    whole, told = read_set(dataset, asked.data), f"{ours.NAME}, {name}"
    series, per_day = [shortened(one, asked.lead) for one in whole], budget_of(whole)

    def detect() -> list[Outcome]:
        return ours.by_fields(whole, lambda alike: detected(VARIANTS[name], alike, asked.lead, per_day))

    key = key_of(_sources(), series, per_day)
    try:
        found = cached(asked.cache, f"ablation-{dataset}-{name.replace(' ', '-')}", key, detect)
    except ConfigurationError as error:  # too few events of the set to train a network on
        return Result(dataset, told, {}, str(error))
    return Result(dataset, told, measure(protocol_of(dataset, asked.data), series, found, per_day))


def detected(variant: Variant, whole: Sequence[Series], lead: int, per_day: float) -> list[Outcome]:
    """Run one variant on series that have the same number of fields."""
    settings = ours.settings_of(whole[0].values_ND.shape[1], per_day, **variant.detection)
    model = learned.NETWORKS[variant.network](whole, settings)
    with weighing(variant.odds_J):
        return ours.detect_with([shortened(one, lead) for one in whole], settings, model)


def _sources() -> list[Path]:
    training = sorted((ROOT / "anomaly_daemon" / "training").glob("*.py"))
    return [*sources_of("ours"), *training, Path(__file__), Path(learned.__file__)]


def table(results: Sequence[Result]) -> str:
    """Return a Markdown table: a row for each variant, VUS-PR and event F1 for each set, and the means over the sets."""
    sets = list(dict.fromkeys(one.dataset for one in results))
    variants = list(dict.fromkeys(one.detector for one in results))
    shown = {(one.detector, one.dataset): [one.figures.get(metric, np.nan) for metric in SHOWN] for one in results}
    lines = [f"| VUS-PR / event F1 | {' | '.join(sets)} | mean |", "|---" * (len(sets) + 2) + "|"]
    for name in variants:
        told = [shown[name, dataset] for dataset in sets]
        cells = ["–" if np.isnan(vus) else f"{vus:.3f} / {f1:.2f}" for vus, f1 in [*told, np.mean(told, axis=0)]]
        lines.append(f"| {name.removeprefix(f'{ours.NAME}, ')} | {' | '.join(cells)} |")
    return "\n".join(lines)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality.ablation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds the sets")
    parser.add_argument("--sets", help=f"of the folders there; {','.join(COMPARED)}, or all where those are not")
    parser.add_argument("--variants", type=one_or_more_of(VARIANTS), default=tuple(VARIANTS), help="all")
    parser.add_argument("--lead", type=whole, default=2000, metavar="N", help="events before the scored part (2000)")
    parser.add_argument("--jobs", type=whole, default=1, help="processes (1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="a line {dataset, detector, metric, value} a figure")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep outcomes here; they are taken from there again")
    asked = parser.parse_args(words)
    asked.sets = sets_asked_for(parser, asked, sets_in, COMPARED)
    return asked


def main() -> None:
    """Print the tables, and write the file if one was asked for."""
    asked = arguments()
    wanted = [(dataset, name) for dataset in asked.sets for name in asked.variants]
    figures = Figures(sys.stdout)
    with ProcessPoolExecutor(asked.jobs) as pool:
        for one in pool.map(result, [asked] * len(wanted), *zip(*wanted, strict=True)):
            figures.add(one)
    print(f"\n{table(figures.results)}")
    if asked.json:
        asked.json.write_text("".join(f"{line}\n" for line in figures.lines()), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Every detector by name: the daemon's own and the peers. A detector that is not installed is reported and skipped."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

import numpy as np

from benchmarks.quality import ours
from benchmarks.quality.budget import alarms
from benchmarks.quality.outcome import Outcome
from benchmarks.quality.series import Float64, Series


class NotForThese(Exception):  # noqa: N818 - a reason, told to whoever reads the table
    """The detector cannot run on these series or on this machine. The text gives the reason."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A detector that gives each event of a series a score. Its alarms are decided as in `budget`."""

    module: str
    """A module of this package with a function `score(series) -> scores`, or with the function named below."""
    function: str = "score"
    one_field: bool = False
    """Whether it can only read series of one field."""
    longest: int | None = None
    """The longest series, in events, that a slow detector is run on; None for no limit."""

    def detect(self, series: Sequence[Series], per_day: float) -> list[Outcome]:
        """Return one outcome a series. Raises NotForThese."""
        if self.one_field and any(one.values_ND.shape[1] > 1 for one in series):
            raise NotForThese("one field only")
        if self.longest and max(map(len, series)) > self.longest:
            raise NotForThese(f"too slow for series of more than {self.longest:,} events")
        try:
            score = getattr(import_module(f"{__name__}.{self.module}"), self.function)
        except ImportError as error:
            raise NotForThese(f"not installed ({error.name})") from error
        return [_outcome(one, score, per_day) for one in series]


def _outcome(series: Series, score: Callable[[Series], Float64], per_day: float) -> Outcome:
    began = time.perf_counter()
    score_N = score(series)
    seconds = time.perf_counter() - began
    blank = np.zeros(len(series), bool)
    known_N = Outcome(score_N, blank, blank, seconds).known_N
    opened_N, open_N = alarms(series, known_N, per_day)
    return Outcome(score_N, opened_N, open_N, seconds)


class Ours:
    """The daemon's own detection code, with the interface of `Peer`."""

    module = "ours"

    def detect(self, series: Sequence[Series], per_day: float) -> list[Outcome]:
        """Return one outcome a series, see `ours`."""
        return ours.detect(series, per_day)


DETECTORS: dict[str, Ours | Peer] = {
    ours.NAME: Ours(),
    "random": Peer("chance"),
    "ewma": Peer("ewma"),
    "windowed-gaussian": Peer("windowed_gaussian"),
    "window-pca": Peer("window_pca"),
    "river-hst": Peer("half_space_trees"),
    "streamad-knn": Peer("streamad", "knn", one_field=True),
    "streamad-spot": Peer("streamad", "spot", one_field=True),
    "pysad-kitnet": Peer("pysad", "kitnet"),
    "pysad-loda": Peer("pysad", "loda"),
    "rrcf": Peer("random_cut_forest", longest=5_000),
}

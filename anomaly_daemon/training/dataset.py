"""Recorded observations become series, which are cut by time into training, validation and test part.

    Observations ─► gather ─► Series ─► cut points, vocabulary (training part only) ─► rows ─► chunks

No information from a later part reaches an earlier one: the cut points are the same instants for every stream, and the
vocabulary is counted before the first of them.

Shapes: N observations, T events of one series, D numeric features, C categorical fields.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from anomaly_daemon.detection.categories import word
from anomaly_daemon.detection.normalizer import KNOWN_AFTER
from anomaly_daemon.detection.observation import (
    MISSING_CATEGORY,
    Float64,
    Int64,
    Observations,
    Schema,
)
from anomaly_daemon.errors import ConfigurationError

Vocabulary = dict[str, list[str]]
"""The known texts of each categorical field; text i is class i + 1 of the network."""


@dataclass(frozen=True, slots=True)
class Series:
    """One recorded stream, in the order of event time."""

    key: str
    time_T: Int64
    """Epoch microseconds."""
    values_TD: Float64
    """In the features' own units; NaN where a value is missing."""
    categories_TC: Int64
    """Category codes, 0 where missing."""

    def __len__(self) -> int:
        return len(self.time_T)

    def start_of(self, time: int) -> int:
        """Return the index of the first event that is not before `time`."""
        return int(np.searchsorted(self.time_T, time))

    def window(self, start: int = 0, stop: int | None = None) -> Series:
        """Return the events from index `start` up to, not including, `stop`."""
        here = slice(start, stop)
        return Series(self.key, self.time_T[here], self.values_TD[here], self.categories_TC[here])


class Part(IntEnum):
    TRAINING = 0
    VALIDATION = 1
    TEST = 2


@dataclass(frozen=True, slots=True)
class Cuts:
    """The instants where the validation and test parts begin, in epoch microseconds, the same for every stream."""

    validation: int
    test: int

    def span(self, time_T: Int64, part: Part) -> tuple[int, int]:
        """Return the index of the first event of `part`, and one past its last."""
        first, second = np.searchsorted(time_T, [self.validation, self.test])
        edges = (0, int(first), int(second), len(time_T))
        return edges[part], edges[part + 1]


def gather(
    batches: Iterable[Observations], note: Callable[[str], None] = lambda text: None
) -> tuple[list[Series], dict[int, str]]:
    """Return every stream of these batches, in order of first appearance, and the text of every category code.

    Streams are distinguished by their key alone, so a stream that continues in another file or partition is one series.
    Exact repeats are skipped, as in the daemon; `note` is called with their number. Raises ConfigurationError if there
    is no observation.
    """
    place: dict[str, int] = {}
    names: dict[int, str] = {}
    parts: list[Observations] = []
    streams: list[Int64] = []
    for batch in batches:
        rows = np.asarray([place.setdefault(key, len(place)) for key in batch.keys], np.int64)
        names.update(batch.category_names)
        parts.append(batch)
        streams.append(rows[batch.stream_N])
    if not sum(map(len, parts)):
        raise ConfigurationError(
            "no observation could be read from the input: check stream.format, stream.time and the field names"
        )
    stream_N = np.concatenate(streams)
    time_N = np.concatenate([part.time_N for part in parts])
    order = np.lexsort((time_N, stream_N))  # stable: events of equal time stay in the order of their records
    values_ND = np.concatenate([part.values_ND for part in parts])
    categories_NC = np.concatenate([part.categories_NC for part in parts])
    repeats = _repeats(order, stream_N, time_N, values_ND, categories_NC)
    if len(repeats):
        gone = f"{len(repeats):,} of {len(order):,} events"
        note(f"{gone} skipped: exact repeats, with the same time and values as the event before")
        order = np.delete(order, repeats)
    cuts = np.flatnonzero(np.diff(stream_N[order])) + 1
    columns = [np.split(column[order], cuts) for column in (time_N, values_ND, categories_NC)]
    seen = np.zeros(len(place), bool)
    seen[stream_N] = True
    keys = [key for key, index in place.items() if seen[index]]
    return [Series(key, *block) for key, *block in zip(keys, *columns, strict=True)], names


def _repeats(order: Int64, stream_N: Int64, time_N: Int64, values_ND: Float64, categories_NC: Int64) -> Int64:
    """Return the positions in `order` of events that exactly repeat the one before them, by the rule of
    `detection.arrival`."""
    alike_N = (np.diff(stream_N[order]) == 0) & (np.diff(time_N[order]) == 0)
    place = np.flatnonzero(alike_N) + 1
    here, before = values_ND[order[place]], values_ND[order[place - 1]]
    same_N = ((here == before) | (np.isnan(here) & np.isnan(before))).all(axis=1)
    same_N &= (categories_NC[order[place]] == categories_NC[order[place - 1]]).all(axis=1)
    return np.asarray(place[same_N], np.int64)


def refuse_strangers(series: Sequence[Series], schema: Schema) -> None:
    """Raise ConfigurationError if a field is in no event at all: nothing can be learned about it, and its name may be
    wrong."""
    if strangers := _unknown(series, schema):
        events = sum(map(len, series))
        raise ConfigurationError(
            f"{', '.join(strangers)}: has no value in any of {events:,} events: correct the name, or remove it"
        )


def refuse_unlearned(series: Sequence[Series], schema: Schema, cuts: Cuts, *, shared: bool = False) -> None:
    """Raise ConfigurationError if no stream has enough values of a field in the training part: later predictions for it
    would come from the initial weights. `shared` means that all numeric fields share the same weights, so that one
    known field is enough."""
    training = [one.window(stop=one.start_of(cuts.validation)) for one in series]
    fields = Schema(schema.numeric) if shared else schema
    unknown = _unknown(training, fields, KNOWN_AFTER)
    if len(unknown) == len(fields.numeric) if shared else unknown:
        events = sum(map(len, training))
        raise ConfigurationError(
            f"{', '.join(unknown)}: no value to learn from in the training part, the first {events:,} events: give "
            "records in which it has values from the beginning, or remove it"
        )


def _unknown(series: Sequence[Series], schema: Schema, most: int = 0) -> list[str]:
    """Return the names of the categorical fields without a text in any stream, and of the numeric fields with at most
    `most` numbers in every stream."""
    numbers = [f"stream.numeric {one.name}" for one in schema.numeric]
    texts = [f"stream.categorical {one}" for one in schema.categorical]
    unknown = [name for at, name in enumerate(numbers) if _numbers(series, at) <= most]
    return unknown + [name for at, name in enumerate(texts) if not _texts(series, at)]


def _numbers(series: Sequence[Series], place: int) -> int:
    """Return the largest number of values of one numeric field in a single stream."""
    return max((int(np.count_nonzero(~np.isnan(one.values_TD[:, place]))) for one in series), default=0)


def _texts(series: Sequence[Series], place: int) -> bool:
    return any((one.categories_TC[:, place] != MISSING_CATEGORY).any() for one in series)


def cut_points(series: Sequence[Series], validation_share: float, test_share: float) -> Cuts:
    """Return the instants that leave these shares of all events to the validation and the test part. Raises
    ConfigurationError if a part would be empty."""
    time_N = np.sort(np.concatenate([one.time_T for one in series]))
    edges = [0, int(len(time_N) * (1.0 - validation_share - test_share)), int(len(time_N) * (1.0 - test_share))]
    start, first, second = time_N[edges] if len(time_N) else (0, 0, 0)
    if not start < first < second:
        raise ConfigurationError(
            f"{len(time_N)} events cannot be split by time into training, validation and test: give more of "
            "them, or change training.validation_share and training.test_share"
        )
    return Cuts(int(first), int(second))


def vocabulary(
    series: Sequence[Series],
    schema: Schema,
    names: Mapping[int, str],
    *,
    before: int,
    min_count: int,
    max_classes: int,
) -> Vocabulary:
    """Return the texts seen at least `min_count` times before the instant `before`, the most frequent first, at most
    `max_classes` a field."""
    words: Vocabulary = {}
    for column, field in enumerate(schema.categorical):
        seen = np.concatenate([one.categories_TC[: one.start_of(before), column] for one in series])
        by_code = Counter(seen.tolist()).items()
        counts = Counter({word(code, names[code]): n for code, n in by_code if code != MISSING_CATEGORY})
        ranked = sorted(counts, key=lambda text: (-counts[text], text))
        words[field] = [text for text in ranked[:max_classes] if counts[text] >= min_count]
    return words

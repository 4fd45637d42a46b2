"""Series become the network's input: one row for each stream, or in the channel layout for each numeric feature of a
stream.

Normaliser, gap and context at an event depend on the events before it alone, by the same recurrences as in production.

Shapes: S series, T events of one series, D numeric features, C categorical fields, X context inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection import errors, rate
from anomaly_daemon.detection.categories import Categories
from anomaly_daemon.detection.context import context
from anomaly_daemon.detection.duration import means
from anomaly_daemon.detection.network import Layout
from anomaly_daemon.detection.normalizer import Normalizer
from anomaly_daemon.detection.observation import Float64, Int64, Schema, Transform
from anomaly_daemon.training.dataset import Series, Vocabulary

Float32 = npt.NDArray[np.float32]

BLOCK, UNEVEN = 256, 2
"""Number of series normalised at a time: enough to be fast, few enough to fit in memory. None of them is more than
`UNEVEN` times as long as another, because all are padded to the length of the longest."""

NO_CLASS = -1
"""The class of a missing categorical value: there is nothing to predict. An unknown text is class 0, which is
predicted."""


@dataclass(frozen=True, slots=True)
class Row:
    """The input of one row of the network: a stream, or one numeric feature of it in the channel layout."""

    key: str
    time_T: Int64
    values_TD: Float32
    """Normalised values; 0 where masked."""
    mask_TD: Float32
    context_TX: Float32
    classes_TC: Int64
    """Class of each categorical value: 0 for an unknown text, `NO_CLASS` for a missing value."""

    def __len__(self) -> int:
        return len(self.time_T)


def network_rows(
    series: Sequence[Series], schema: Schema, words: Vocabulary, normalizer: Normalizer, layout: Layout
) -> list[Row]:
    """Return the network's input for each series, in order. In the channel layout each numeric feature has a row."""
    rows: list[Row | None] = [None] * len(series)
    for places in _blocks([len(one) for one in series]):
        for place, row in zip(
            places, _block([series[place] for place in places], schema, words, normalizer), strict=True
        ):
            rows[place] = row
    whole = [row for row in rows if row is not None]
    return [channel for row in whole for channel in channels(row)] if layout is Layout.CHANNEL else whole


def channels(row: Row) -> list[Row]:
    """Return one row for each numeric feature. Categorical fields are dropped, because the channel layout has none."""
    none_T0 = row.classes_TC[:, :0]
    return [
        Row(row.key, row.time_T, row.values_TD[:, d : d + 1], row.mask_TD[:, d : d + 1], row.context_TX, none_T0)
        for d in range(row.values_TD.shape[1])
    ]


def _blocks(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the indices of the series that are normalised together."""
    block: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if len(block) == BLOCK or (block and lengths[place] > UNEVEN * lengths[block[0]]):
            yield block
            block = []
        block.append(place)
    if block:
        yield block


def _block(series: Sequence[Series], schema: Schema, words: Vocabulary, normalizer: Normalizer) -> list[Row]:
    """Return the rows of series of similar length. Shorter ones are padded at the end, where this affects no event."""
    longest = max(map(len, series))
    x_STD = np.full((len(series), longest, len(schema.numeric)), np.nan)
    for place, one in enumerate(series):
        rated_TD = rate.of_series(schema.numeric, one.time_T, one.values_TD)
        x_STD[place, : len(one)] = transformed(rated_TD, schema)
    y_STD, mask_STD = normalizer.normalise_series(x_STD)
    errors.curb(errors.Sides.of(schema.numeric), y_STD)
    gap_ST, typical_ST = gaps(series)
    return [
        Row(
            one.key,
            one.time_T,
            y_STD[place, : len(one)],
            mask_STD[place, : len(one)],
            context(one.time_T, gap_ST[place, : len(one)], typical_ST[place, : len(one)], schema.timezone),
            classes(one.categories_TC, schema, words),
        )
        for place, one in enumerate(series)
    ]


def transformed(values_TD: Float64, schema: Schema) -> Float64:
    """Return the values after each feature's own transform. Those of counters must be rates per second already."""
    logs = np.asarray([feature.transform is Transform.LOG for feature in schema.numeric], bool)
    return np.where(logs, np.sign(values_TD) * np.log1p(np.abs(values_TD)), values_TD)


def gaps(series: Sequence[Series]) -> tuple[Float64, Float64]:
    """Return the gap before each event, and the mean of the earlier gaps, [S, T] microseconds each; 0 where unknown.

    T is the length of the longest series. Entries behind a shorter one's end have no meaning.
    """
    longest = max(map(len, series))
    gap_ST = np.zeros((len(series), longest))
    for place, one in enumerate(series):
        gap_ST[place, 1 : len(one)] = np.diff(one.time_T)
    return gap_ST, means(gap_ST)


def classes(categories_TC: Int64, schema: Schema, words: Vocabulary) -> Int64:
    """Return the class of each category code: 0 for one outside the vocabulary, `NO_CLASS` for a missing one."""
    known = Categories(schema.categorical, words, counted=False, memory=1.0)
    return np.nan_to_num(known.classes(categories_TC), nan=NO_CLASS).astype(np.int64)

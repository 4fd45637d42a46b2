"""The detector's input: columns of observations, and the schema that names their features.

Shapes: N observations in a batch, D numeric features, C categorical fields.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum, StrEnum

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

MISSING_CATEGORY = 0
"""The category code of a missing value; every other code is `category_code(text)`."""

CATEGORY_CHARACTERS = 256
"""The most characters of a category that are shown. A longer text is cut for display, but distinguished by all of its
characters."""


def category_code(text: str) -> int:
    """Return the code of a category's text: positive, 63 bits, the same on every machine and in every run."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") & 0x7FFF_FFFF_FFFF_FFFF or 1


class Presence(IntEnum):
    """Whether a numeric value is present, and why not. Anything but PRESENT is NaN in `values_ND`."""

    PRESENT = 0
    ABSENT = 1
    """The field is not in the record, or is null or empty."""
    WRONG_TYPE = 2
    """The field holds something that is not a number."""
    NOT_FINITE = 3
    """NaN, an infinity, or a magnitude past the schema's limit."""


class Transform(StrEnum):
    """The transformation that is applied to a numeric value before it is normalised."""

    NONE = "none"
    LOG = "log"
    """Signed log(1 + |x|): for amounts and counts over several orders of magnitude."""
    RATE = "rate"
    """The increase per second since the stream's last value, for counters, which only rise (`rate`)."""


class Direction(StrEnum):
    """The side of the usual on which a numeric value counts as an anomaly."""

    BOTH = "both"
    ABOVE = "above"
    BELOW = "below"


@dataclass(frozen=True, slots=True)
class Numeric:
    """A numeric feature: its name in alerts, the transform of its values, the side that counts, and its floors."""

    name: str
    transform: Transform = Transform.NONE
    direction: Direction = field(default=Direction.BOTH, compare=False)
    """The operator's decision. A network serves every direction, so features that differ only in it compare as equal.
    """
    min_deviation: float = field(default=0.0, compare=False)
    """Also the operator's decision: the least deviation that counts as an anomaly, in the feature's own units."""
    min_deviation_percent: float = field(default=0.0, compare=False)
    """The same, in percent of the size of the expected value."""


OPERATORS = tuple(one.name for one in fields(Numeric) if not one.compare)
"""The attributes of a numeric feature that the operator decides, and that a network does not depend on."""


@dataclass(frozen=True, slots=True)
class Schema:
    """The features of every stream of one deployment, in column order."""

    numeric: tuple[Numeric, ...]
    categorical: tuple[str, ...] = ()
    timezone: str = "UTC"
    """IANA time zone of the calendar features."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every feature name: numeric ones first, then categorical ones."""
        return tuple(feature.name for feature in self.numeric) + self.categorical


@dataclass(frozen=True, slots=True)
class Observations:
    """A batch of observations of one input partition, in record order. Times are epoch microseconds, UTC.

    `stream_N[i]` indexes `keys`, the distinct stream keys of this batch in order of first appearance. `index_N` is the
    place of an observation within its record (0 unless a record packs several), so (offset, index) is unique.
    """

    topic: str
    partition: int
    keys: tuple[str, ...]
    stream_N: Int32
    offset_N: Int64
    index_N: Int32
    time_N: Int64
    append_N: Int64
    values_ND: Float64
    presence_ND: UInt8
    categories_NC: Int64
    category_names: Mapping[int, str]
    """The text of each category code in this batch, for alerts; only display depends on it."""

    def __len__(self) -> int:
        return len(self.offset_N)

    def take(self, rows: Int64 | slice) -> Observations:
        """Return the observations at `rows`, in that order, with the same keys."""
        return Observations(
            self.topic,
            self.partition,
            self.keys,
            self.stream_N[rows],
            self.offset_N[rows],
            self.index_N[rows],
            self.time_N[rows],
            self.append_N[rows],
            self.values_ND[rows],
            self.presence_ND[rows],
            self.categories_NC[rows],
            self.category_names,
        )

"""Categorical fields: their classes, and how surprising a class is.

A network trained for the schema predicts class probabilities itself. The shipped network fits any schema and has no
texts of any field. With it, each stream keeps fading counts of the classes that it has shown, in a fixed number of
hashed buckets. The share of a class takes the place of its probability; shares are smoothed as if every bucket had been
seen a little.

Shapes: B rows, C fields, K classes (or buckets).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from anomaly_daemon.detection.errors import category_errors
from anomaly_daemon.detection.observation import (
    CATEGORY_CHARACTERS,
    MISSING_CATEGORY,
    Float64,
    Int64,
    category_code,
)
from anomaly_daemon.detection.state import Column, Rows

BUCKETS = 32
PRIOR = 1.0
"""Weight of an even share over all buckets, in events."""
_CODED = re.compile(rf".{{{CATEGORY_CHARACTERS}}} #([0-7][0-9a-f]{{15}})", re.DOTALL)
"""The form in which a vocabulary stores a text that is not shown in full (`word`). It is longer than any text that is.
"""


class Categories:
    """The categorical fields of one schema under one model."""

    def __init__(
        self, fields: Sequence[str], vocabulary: Mapping[str, Sequence[str]], counted: bool, memory: float
    ) -> None:
        self.fields, self.counted, self.memory = tuple(fields), counted, memory
        self.texts = tuple(tuple(vocabulary.get(field, ())) for field in fields)
        self._tables = [_table(texts) for texts in self.texts]

    def columns(self) -> list[Column]:
        """Return the columns that a row needs for the counts; none if the network predicts the classes."""
        return [Column("class_counts", (len(self.fields), BUCKETS))] if self.counted and self.fields else []

    def classes(self, codes_BC: Int64) -> Float64:
        """Return the network's class of each code (0: not in the vocabulary), NaN where missing; [B, 0] if classes are
        counted instead. Codes are compared as float64, because those of a row's recent events come from a column of
        that type, which keeps 53 of their 63 bits."""
        if self.counted:
            return np.zeros((len(codes_BC), 0))
        out_BC = np.zeros(codes_BC.shape)
        for place, (codes, classes) in enumerate(self._tables):
            if len(codes):
                asked_B = codes_BC[:, place].astype(np.float64)
                at = np.minimum(np.searchsorted(codes, asked_B), len(codes) - 1)
                out_BC[:, place] = np.where(codes[at] == asked_B, classes[at], 0)
        return np.where(codes_BC == MISSING_CATEGORY, np.nan, out_BC)

    def score(self, rows: Rows, codes_BC: Int64, logits: Sequence[Float64], pace_B: Float64) -> Float64:
        """Return the error of each field, [B, C]; NaN where it is missing or nothing is known yet. Where classes are
        counted, these are counted afterwards."""
        out_BC = np.full(codes_BC.shape, np.nan)
        classes_BC = self.classes(codes_BC)
        for place in range(len(self.fields)):
            if self.counted:
                out_BC[:, place] = self._by_count(rows["class_counts"][:, place], codes_BC[:, place], pace_B)
            else:
                out_BC[:, place] = category_errors(_log_softmax(logits[place]), classes_BC[:, place])
        return out_BC

    def _by_count(self, counts_BK: Float64, codes_B: Int64, pace_B: Float64) -> Float64:
        bucket_B = np.where(codes_B == MISSING_CATEGORY, np.nan, codes_B % BUCKETS)
        seen_B = counts_BK.sum(axis=1)
        share_BK = (counts_BK + PRIOR / BUCKETS) / (seen_B + PRIOR)[:, None]
        errors_B = category_errors(np.log(share_BK), bucket_B)
        there = ~np.isnan(bucket_B)
        counts_BK[there] *= 1.0 - pace_B[there, None] / self.memory
        counts_BK[there, bucket_B[there].astype(np.int64)] += pace_B[there]
        return np.where(seen_B > 0, errors_B, np.nan)


def word(code: int, shown: str) -> str:
    """Return the text by which a vocabulary stores the category of this code: what is shown of it, followed by the code
    if that is not the whole text."""
    return shown if category_code(shown) == code else f"{shown:<{CATEGORY_CHARACTERS}} #{code:016x}"


def word_code(text: str) -> int:
    """Return the code of a category that a vocabulary stores by this text."""
    coded = _CODED.fullmatch(text)
    return int(coded[1], 16) if coded else category_code(text)


def _table(texts: Sequence[str]) -> tuple[Float64, Float64]:
    codes = np.fromiter(map(word_code, texts), np.int64, len(texts)).astype(np.float64)
    order = np.argsort(codes)
    return codes[order], (order + 1).astype(np.float64)


def _log_softmax(logits_BK: Float64) -> Float64:
    shifted = logits_BK - logits_BK.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))

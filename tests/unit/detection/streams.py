"""Small models and streams for the detection tests: untrained weights and generated values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from anomaly_daemon.detection.artifact import Manifest, Model
from anomaly_daemon.detection.calibration import assumed
from anomaly_daemon.detection.detector import Detector
from anomaly_daemon.detection.network import Cell, Layout, Network, NetworkConfig
from anomaly_daemon.detection.observation import (
    MISSING_CATEGORY,
    Numeric,
    Observations,
    Presence,
    Schema,
    category_code,
)
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.detection.signals import NAMES

torch.set_num_threads(1)

MINUTE = 60_000_000
START = 1_700_000_000_000_000


def schema(numeric: Sequence[str] = ("x", "y"), categorical: Sequence[str] = ()) -> Schema:
    return Schema(tuple(Numeric(name) for name in numeric), tuple(categorical))


def model(
    layout: Layout = Layout.CHANNEL,
    cell: Cell = Cell.LSTM,
    of: Schema | None = None,
    classes: Sequence[str] = ("a", "b"),
) -> Model:
    joint = layout is Layout.JOINT
    fields = of.categorical if joint and of is not None else ()
    config = NetworkConfig(
        layout=layout,
        cell=cell,
        hidden=50,
        head=(16,),
        values=len(of.numeric) if joint and of is not None else 1,
        classes=tuple(len(classes) + 1 for _ in fields),
    )
    network = Network(config, torch.Generator().manual_seed(3)).eval()
    vocabulary = {field: list(classes) for field in fields}
    manifest = Manifest("test", "1", config, schema=of if joint else None, vocabulary=vocabulary)
    return Model(manifest, network, assumed(len(NAMES), NAMES))


def detector(of: Schema | None = None, rules: Rules | None = None, made: Model | None = None) -> Detector:
    of = of or schema()
    return Detector(made or model(), of, rules or Rules(), "sensors", 0, "digest", {"site": "north"})


def observations(
    keys: Sequence[str],
    times: Sequence[int],
    values: Sequence[Sequence[float]],
    categories: Sequence[Sequence[str | None]] | None = None,
    presence: Sequence[Sequence[int]] | None = None,
    first_offset: int = 0,
) -> Observations:
    """Return one observation for each key. `times` are minutes after START."""
    distinct = tuple(dict.fromkeys(keys))
    values_ND = np.asarray(values, np.float64).reshape(len(keys), -1)
    texts = categories if categories is not None else [()] * len(keys)
    codes = [[MISSING_CATEGORY if text is None else category_code(text) for text in row] for row in texts]
    time_N = START + np.asarray(times, np.int64) * MINUTE
    absent = np.where(np.isnan(values_ND), Presence.ABSENT, Presence.PRESENT)
    return Observations(
        "sensors",
        0,
        distinct,
        np.asarray([distinct.index(key) for key in keys], np.int32),
        np.arange(first_offset, first_offset + len(keys), dtype=np.int64),
        np.zeros(len(keys), np.int32),
        time_N,
        time_N + 1000,
        values_ND,
        (absent if presence is None else np.asarray(presence)).astype(np.uint8),
        np.asarray(codes, np.int64).reshape(len(keys), -1),
        {category_code(text): text for row in texts for text in row if text is not None},
    )


def wave(streams: int = 4, events: int = 300, features: int = 2, seed: int = 0) -> Observations:
    """Return interleaved streams of noisy waves with a few values missing, one event a minute each."""
    generator = np.random.default_rng(seed)
    t = np.repeat(np.arange(events), streams)
    values = 10 + np.sin(t / 40)[:, None] * np.arange(1, features + 1) + generator.normal(0, 0.2, (len(t), features))
    values[generator.random(values.shape) < 0.02] = np.nan
    keys = [f"s{stream}" for stream in np.tile(np.arange(streams), events)]
    return observations(keys, t.tolist(), values.tolist())

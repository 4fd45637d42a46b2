"""Small recorded streams for the tests of training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from anomaly_daemon.detection.network import Layout, NetworkConfig
from anomaly_daemon.detection.normalizer import Normalizer
from anomaly_daemon.detection.observation import Numeric, Observations, Schema, category_code
from anomaly_daemon.settings import TrainingSettings
from anomaly_daemon.training.dataset import Cuts, Series, cut_points
from anomaly_daemon.training.rows import Row, network_rows

SECOND = 1_000_000
SCHEMA = Schema((Numeric("a"), Numeric("b")), ("mode",))
CODES = {text: category_code(text) for text in ("on", "off", "rare")}
WORDS = {"mode": ["on", "off"]}
SMALL = NetworkConfig(hidden=12, head=(8,), values=2, classes=(3,), embedding=2, reconstruct=4)


def settings(**chosen: object) -> TrainingSettings:
    """Return settings for a small and quick training, changed by what is chosen."""
    return TrainingSettings.model_validate(
        {"epochs": 2, "batch_size": 32, "window": 32, "stride": 16, "learning_rate": 0.005, **chosen}
    )


def series(key: str, events: int, start: int = 0, seed: int = 0) -> Series:
    """Return a wave in two features, the second twice the first, and a mode that follows its sign; an event a second."""
    random = np.random.default_rng(seed)
    wave = np.sin(np.arange(events) / 5.0) + 0.1 * random.standard_normal(events)
    codes = np.where(wave > 0, CODES["on"], CODES["off"]).astype(np.int64)
    return Series(key, (start + np.arange(events)) * SECOND, np.stack([wave, 2 * wave], axis=1), codes[:, None])


def observations(streams: Sequence[Series], partition: int = 0) -> Observations:
    """Return the events of these streams as one batch, one stream after another."""
    stream_N = np.concatenate([np.full(len(one), place, np.int32) for place, one in enumerate(streams)])
    time_N = np.concatenate([one.time_T for one in streams])
    values_ND = np.concatenate([one.values_TD for one in streams])
    events = len(time_N)
    return Observations(
        "topic",
        partition,
        tuple(one.key for one in streams),
        stream_N,
        np.arange(events),
        np.zeros(events, np.int32),
        time_N,
        time_N,
        values_ND,
        np.isnan(values_ND).astype(np.uint8),
        np.concatenate([one.categories_TC for one in streams]),
        {code: text for text, code in CODES.items()},
    )


def rows_and_cuts(streams: int = 3, events: int = 200) -> tuple[list[Row], Cuts]:
    """Return rows and cuts that the network of `SMALL` can be trained on."""
    recorded = [series(f"s{place}", events, seed=place) for place in range(streams)]
    return network_rows(recorded, SCHEMA, WORDS, Normalizer(), Layout.JOINT), cut_points(recorded, 0.2, 0.2)


def write_recording(folder: Path, events: int = 600, streams: int = 12) -> Path:
    """Write a file of JSON lines, and in the same folder the configuration that reads it, whose path is returned."""
    lines = []
    for place in range(streams):
        one = series(f"s{place}", events, start=1_700_000_000, seed=place)
        names = {code: text for text, code in CODES.items()}
        for time, (a, b), (code,) in zip(one.time_T, one.values_TD, one.categories_TC, strict=True):
            record = {"key": one.key, "time": int(time) // SECOND, "a": a, "b": b, "mode": names[int(code)]}
            lines.append(json.dumps(record))
    (folder / "recorded.jsonl").write_text("\n".join(lines) + "\n")
    config = folder / "config.yaml"
    config.write_text(
        f"""
name: small
source: {{kind: files, paths: ["{folder / "recorded.jsonl"}"]}}
stream: {{key: [key], time: time, numeric: [a, b], categorical: [mode]}}
training: {{epochs: 3, window: 32, batch_size: 32, hidden: 50, learning_rate: 0.01}}
"""
    )
    return config

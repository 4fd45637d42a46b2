"""The measures of the test part, compared with results worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_samples import SCHEMA, SMALL, rows_and_cuts, series, settings

from anomaly_daemon.detection.network import Layout, Network
from anomaly_daemon.detection.normalizer import Normalizer
from anomaly_daemon.training.dataset import Part, cut_points
from anomaly_daemon.training.evaluate import SMOOTHING, evaluate
from anomaly_daemon.training.loop import train
from anomaly_daemon.training.rows import network_rows


def test_the_test_part_alone_is_measured() -> None:
    rows, cuts = rows_and_cuts()
    network = Network(SMALL, torch.Generator().manual_seed(0)).eval()
    before = evaluate(network, rows, cuts, 32)
    assert before["events"] == sum(stop - start for start, stop in (cuts.span(row.time_T, Part.TEST) for row in rows))
    for row in rows:
        row.values_TD[: cuts.span(row.time_T, Part.TEST)[0]] += 5.0
    after = evaluate(network, rows, cuts, 32)
    assert after["network"] == before["network"]


def test_events_are_counted_once_however_many_rows_a_stream_has() -> None:
    recorded = [series(f"s{place}", 200, seed=place) for place in range(3)]
    rows = network_rows(recorded, SCHEMA, {}, Normalizer(), Layout.CHANNEL)
    cuts = cut_points(recorded, 0.2, 0.2)
    assert len(rows) == 6
    channel = replace(SMALL, layout=Layout.CHANNEL, values=1, classes=())
    assert evaluate(Network(channel).eval(), rows, cuts, 32)["events"] == 3 * 40


def test_the_last_value_is_the_baseline_it_is_named_for() -> None:
    rows, cuts = rows_and_cuts(streams=1)
    start, stop = cuts.span(rows[0].time_T, Part.TEST)
    values = rows[0].values_TD.astype(float)
    found = evaluate(Network(SMALL), rows, cuts, 32)
    assert found["last_value"]["absolute_error"] == pytest.approx(
        np.abs(np.diff(values, axis=0))[start - 1 : stop].mean()
    )


def test_the_average_remembers_and_skips_what_is_masked() -> None:
    rows, cuts = rows_and_cuts(streams=1)
    row, (start, stop) = rows[0], cuts.span(rows[0].time_T, Part.TEST)
    row.mask_TD[start - 5 : start, 0] = 0.0
    level, errors = np.zeros(2), []
    for t in range(stop):
        error = row.values_TD[t] - level
        level = level + SMOOTHING * error * row.mask_TD[t]
        errors.append(np.abs(error))
    found = evaluate(Network(SMALL), rows, cuts, 32)
    assert found["ewma"]["absolute_error"] == pytest.approx(np.mean(errors[start:stop]))


def test_the_frequency_of_two_even_classes_tells_one_bit() -> None:
    rows, cuts = rows_and_cuts()
    found = evaluate(Network(SMALL), rows, cuts, 32)
    assert found["class_frequency"]["category_nll"] == pytest.approx(np.log(2), abs=0.05)


def test_a_trained_network_is_better_than_an_untrained_one_and_than_an_average() -> None:
    rows, cuts = rows_and_cuts(streams=8, events=400)
    trained, _ = train(SMALL, settings(epochs=20, learning_rate=0.01), rows, cuts)
    found, untrained = evaluate(trained, rows, cuts, 32), evaluate(Network(SMALL).eval(), rows, cuts, 32)
    assert found["network"]["nll"] < min(untrained["network"]["nll"], found["ewma"]["nll"])
    assert found["reconstruction_loss"] < untrained["reconstruction_loss"]
    assert found["network"]["category_nll"] < found["class_frequency"]["category_nll"]

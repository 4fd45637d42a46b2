"""Counters are reported by `init`, which configures them to be judged by what they count a second, and by each command
that reads records."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import yaml
from codec_batches import batch_of

from anomaly_daemon.settings import LimitSettings, StreamSettings
from anomaly_daemon.transport.codec import Decoder
from anomaly_daemon.transport.legible import Legible
from anomaly_daemon.transport.sample import Inferred, infer
from anomaly_daemon.transport.sample_notes import notes
from anomaly_daemon.transport.sample_rows import sample_rows
from anomaly_daemon.transport.sample_yaml import written

START = 1_700_000_000


def bytes_of(host: int, turn: int, again: int = 10**9) -> int:
    """Return the number of bytes that a host has counted at this turn. `again` is the turn at which the counter was
    reset."""
    return (turn - again if turn >= again else 5_000 * (host + 1) + turn) * 1500 + random.Random(turn).randrange(1500)


def records(make: Callable[[int, int], dict[str, Any]], turns: int = 60, hosts: int = 3) -> list[bytes]:
    return [
        json.dumps({"at": START + turn * 30, "host": f"web-{host}", **make(host, turn)}).encode()
        for turn in range(turns)
        for host in range(hosts)
    ]


def sampled(make: Callable[[int, int], dict[str, Any]]) -> Inferred:
    return infer(sample_rows(records(make), header=True))


def line_of(inferred: Inferred, name: str) -> str:
    (line,) = (
        line for line in written(inferred, [], "x").splitlines() if f"- {name}" in line or f"name: {name}" in line
    )
    return line


def load(turn: int) -> float:
    return random.Random(-turn).gauss(40, 5)


@pytest.mark.parametrize("again", [10**9, 40])
def test_a_counter_is_proposed_by_what_it_counts_a_second_though_it_began_anew(again: int) -> None:
    found = sampled(
        lambda host, turn: {"cpu": load(turn), "bytes_total": bytes_of(host, turn, again if host == 0 else 10**9)}
    )
    assert "{name: bytes_total, transform: rate}" in line_of(found, "bytes_total")
    assert "transform" not in line_of(found, "cpu")
    assert notes(found) == []


def test_a_field_that_rises_and_does_not_say_what_it_counts_is_asked_about() -> None:
    found = sampled(lambda host, turn: {"cpu": load(turn), "fuel": bytes_of(host, turn)})
    assert "transform: rate" not in line_of(found, "fuel")
    (note,) = notes(found)
    assert '"fuel"' in note
    assert "transform: rate" in note


@pytest.mark.parametrize("nothing", [-1e30, float(np.float32(-1e30))])
def test_a_counter_is_seen_where_numbers_stand_for_missing_as_float32_has_them_too(nothing: float) -> None:
    found = sampled(lambda host, turn: {"bytes_total": nothing if turn % 10 == 3 else bytes_of(host, turn)})
    assert "{name: bytes_total, transform: rate, missing_values: [-1.0e+30]}" in line_of(found, "bytes_total")


@pytest.mark.parametrize("value", [lambda host, turn: -bytes_of(host, turn), lambda host, turn: load(turn)])
def test_what_falls_counts_nothing_whatever_it_is_called(value: Callable[[int, int], float]) -> None:
    found = sampled(lambda host, turn: {"bytes_total": value(host, turn)})
    assert "transform: rate" not in line_of(found, "bytes_total")
    assert notes(found) == []


def test_of_several_metrics_in_one_field_those_that_rise_are_told_of() -> None:
    make: Callable[[int, int], dict[str, Any]] = lambda host, turn: {"value": bytes_of(0, turn) if host else load(turn)}  # noqa: E731
    (note,) = notes(sampled(make))
    assert '"value" only rises in 2 of 3 streams, such as web-1' in note


def test_a_metric_of_the_long_shape_may_be_a_counter() -> None:
    names = ("cpu", "bytes_total", "memory")
    lines = [
        json.dumps(
            {
                "at": START + turn * 30,
                "host": "web",
                "metric": name,
                "value": bytes_of(0, turn) if place == 1 else load(turn),
            }
        )
        for turn in range(60)
        for place, name in enumerate(names)
    ]
    found = infer(sample_rows([line.encode() for line in lines], header=True))
    assert found.shape == "long"
    assert [name for name in names if "transform: rate" in line_of(found, name)] == ["bytes_total"]


def doubts(values: list[bytes], numeric: list[Any], cuts: int = 1) -> list[str]:
    stream = StreamSettings(key=["host"], time="at", numeric=numeric)
    legible, decoder = Legible(stream), Decoder(stream, LimitSettings())
    for cut in range(cuts):
        legible.read(decoder.decode(batch_of(values[cut::cuts])).observations)
    return legible.doubts()


def test_whoever_reads_records_is_told_of_counters_once() -> None:
    some = records(lambda host, turn: {"cpu": load(turn), "bytes_total": bytes_of(host, turn)})
    (doubt,) = doubts(some, ["cpu", "bytes_total"], cuts=3)
    assert doubt.startswith("stream.numeric bytes_total: never lower than before in ")
    assert doubt.endswith("{name: bytes_total, transform: rate}")
    (of_field,) = doubts(some, ["cpu", {"name": "traffic", "field": "bytes_total"}])
    assert of_field.endswith("{name: traffic, field: bytes_total, transform: rate}")
    assert doubts(some, ["cpu", {"name": "bytes_total", "transform": "rate"}]) == []


@pytest.mark.parametrize(
    "name", ["bytes, total", "in: bytes", "# of bytes", "5 min bytes", 'the "bytes"', "bytes_total", "yes", "${bytes}"]
)
def test_the_advice_on_a_counter_can_be_copied_whatever_its_name(name: str) -> None:
    (doubt,) = doubts(records(lambda host, turn: {name: bytes_of(host, turn)}), [name])
    advice = "{" + doubt.partition(": {")[2]
    escaped = name.replace("${", "$${")  # in a configuration, `${` begins a variable
    assert yaml.safe_load(advice) == {"name": escaped, "transform": "rate"}


def test_a_counter_that_began_anew_is_told_of_with_how_often() -> None:
    some = records(lambda host, turn: {"bytes_total": bytes_of(host, turn, 40 if host == 0 else 10**9)})
    (doubt,) = doubts(some, ["bytes_total"])
    assert "bytes_total: 1 times lower than before in 177 changes" in doubt

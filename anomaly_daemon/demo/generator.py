"""Records of a demo as a broker would deliver them: in order of arrival, some twice, some late, a few unreadable.

Pure: the same seed gives the same bytes. Nothing here is tuned to what the detector finds, and the detector is not
tuned to this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from anomaly_daemon.demo import sensors, transactions
from anomaly_daemon.demo.faults import DAY, HOUR, Fault, plan
from anomaly_daemon.demo.sensors import METRICS, Plant
from anomaly_daemon.demo.transactions import CATEGORIES, CHANNELS, Bank

MONDAY = int(datetime(2025, 3, 3, tzinfo=UTC).timestamp()) * 1_000_000
"""The beginning of the demo's time, in epoch microseconds."""

DUPLICATE_SHARE = LATE_SHARE = 0.0005
UNREADABLE_SHARE = 0.0001


class Record(NamedTuple):
    """One record: its arrival time (epoch microseconds), key and value."""

    arrival: int
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Generated:
    """One deployment's records in order of arrival, and the faults that were injected into them."""

    records: tuple[Record, ...]
    streams: tuple[str, ...]
    faults: tuple[Fault, ...]
    start: int
    end: int
    aftermath: int
    """Microseconds after a fault's end in which an alarm is attributed to the end of the fault, and not counted as
    false."""

    @property
    def days(self) -> float:
        return (self.end - self.start) / DAY


def sensor_records(seed: int, plant: Plant | None = None, faults: int = 40) -> Generated:
    """Return factory sensors as JSON, with `faults` injected faults from the second day on, the kinds in turn."""
    plant = plant or Plant(MONDAY)
    rng = np.random.default_rng([seed, 1])
    end = plant.start + int(plant.days * DAY)
    planned = plan(plant.names, sensors.FAULT_HOURS, faults, (plant.start + int(1.2 * DAY), end - DAY), rng)
    readings = sensors.injected(plant, sensors.healthy(plant, rng), planned, rng)
    late_by = int(2.5 * plant.cadence_seconds * 1_000_000)
    records = _disturbed(_sensor_json(plant, readings), late_by, rng)
    return Generated(records, plant.names, planned, plant.start, end, HOUR)


def transaction_records(seed: int, bank: Bank | None = None, faults: int = 16) -> Generated:
    """Return card transactions as JSON, with `faults` injected faults in the second half, the kinds in turn."""
    bank = bank or Bank(MONDAY)
    rng = np.random.default_rng([seed, 2])
    end = bank.start + int(bank.days * DAY)
    half = bank.start + int(bank.days * DAY / 2)
    planned = plan(bank.names, transactions.FAULT_HOURS, faults, (half, end - DAY), rng)
    columns = transactions.transactions(bank, planned, rng)
    records = _disturbed(_transaction_json(bank, columns), 3 * HOUR, rng)
    return Generated(records, bank.names, planned, bank.start, end, 12 * HOUR)


def _sensor_json(plant: Plant, readings: sensors.Readings) -> Iterator[Record]:
    """Yield the readings that were sent, in time order."""
    encode = msgspec.json.Encoder().encode
    machine_N, step_N = np.nonzero(readings.sent_MT)
    order = np.argsort(readings.time_MT[machine_N, step_N], kind="stable")
    machine_N, step_N = machine_N[order], step_N[order]
    time_N = readings.time_MT[machine_N, step_N]
    values_ND = np.round(readings.values_MTD[machine_N, step_N], 3)
    present_ND = readings.present_MTD[machine_N, step_N]
    iso_N = np.datetime_as_string(time_N.astype("datetime64[us]"), unit="s")
    columns = zip(
        machine_N.tolist(), time_N.tolist(), iso_N.tolist(), values_ND.tolist(), present_ND.tolist(), strict=True
    )
    for machine, time, iso, values, present in columns:
        name = plant.names[machine]
        reading: dict[str, Any] = {"machine": name, "time": iso + "Z"}
        reading |= {metric: value for metric, value, there in zip(METRICS, values, present, strict=True) if there}
        yield Record(time, name.encode(), encode(reading))


def _transaction_json(bank: Bank, columns: transactions.Transactions) -> Iterator[Record]:
    encode = msgspec.json.Encoder().encode
    for card, time, amount, category, channel in zip(
        columns.card_N.tolist(),
        columns.time_N.tolist(),
        np.round(columns.amount_N, 2).tolist(),
        columns.category_N.tolist(),
        columns.channel_N.tolist(),
        strict=True,
    ):
        name = bank.names[card]
        payment = {
            "card": name,
            "time": time // 1000,
            "amount": amount,
            "merchant_category": CATEGORIES[category],
            "channel": CHANNELS[channel],
        }
        yield Record(time, name.encode(), encode(payment))


def _disturbed(records: Iterator[Record], late_by: int, rng: np.random.Generator) -> tuple[Record, ...]:
    """Return the records in order of arrival. A few are late, and a few get an extra copy that is a duplicate or
    unreadable."""
    ordered = list(records)
    twice = [ordered[place] for place in _some(len(ordered), DUPLICATE_SHARE, rng)]
    extra = [record._replace(arrival=record.arrival + 1_000_000) for record in twice]
    for place in _some(len(ordered), LATE_SHARE, rng):
        ordered[place] = ordered[place]._replace(arrival=ordered[place].arrival + late_by)
    for place in _some(len(ordered), UNREADABLE_SHARE, rng):
        spoil = _SPOILS[int(rng.integers(len(_SPOILS)))]
        extra.append(ordered[place]._replace(value=spoil(ordered[place].value)))
    return tuple(sorted(ordered + extra, key=lambda record: record.arrival))


def _some(count: int, share: float, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    return np.flatnonzero(rng.random(count) < share)


_SPOILS: tuple[Callable[[bytes], bytes], ...] = (
    lambda value: value[: len(value) // 2],
    lambda value: b"\xff\xfe" + value,
    lambda value: b"<html>502 Bad Gateway</html>",
    lambda value: b"",
)
"""Ways to make a value unreadable: cut off, not UTF-8, not JSON at all, empty."""

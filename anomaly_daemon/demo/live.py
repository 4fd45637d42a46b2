"""Generated records as an endless source would send them: a backlog at once, then each record at its own time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from anomaly_daemon.demo.deployments import SENSORS, TRANSACTIONS
from anomaly_daemon.demo.faults import DAY
from anomaly_daemon.demo.generator import Generated, sensor_records, transaction_records
from anomaly_daemon.demo.sensors import Plant
from anomaly_daemon.demo.transactions import Bank
from anomaly_daemon.transport.ports import Outgoing

SENSOR_BACKLOG, TRANSACTION_BACKLOG = 2, 21
"""Days before today that the backlog covers: enough to calibrate on, with the first faults already in them."""


def live_records(deployment: str, seed: int) -> tuple[str, Iterator[Outgoing]]:
    """Return the topic of the "sensors" or "transactions" deployment, and its records up to about a week ahead."""
    today = int(time.time() * 1e6) // DAY * DAY
    if deployment == "sensors":
        start = today - SENSOR_BACKLOG * DAY
        generated = sensor_records(seed, Plant(start, days=SENSOR_BACKLOG + 7))
    else:
        start = today - TRANSACTION_BACKLOG * DAY
        generated = transaction_records(seed, Bank(start, days=TRANSACTION_BACKLOG + 7))
    settings = SENSORS if deployment == "sensors" else TRANSACTIONS
    return str(settings.source.topic), due(generated)


def due(
    generated: Generated, now: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Outgoing]:
    """Yield each record once its arrival time (epoch) is past."""
    for record in generated.records:
        while (wait := record.arrival / 1e6 - now()) > 0:
            sleep(min(wait, 1.0))
        yield Outgoing(record.key, record.value)

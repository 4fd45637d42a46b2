"""Puts the readings of one message in order, and makes readings of the long shape, in which a record holds one metric.

Shapes: N readings, G readings after those that belong together were joined, D numeric features.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from anomaly_daemon.detection.observation import Int64, Presence
from anomaly_daemon.transport.columns import number_streams
from anomaly_daemon.transport.readings import Readings


def time_order(row_N: Int64, time_N: Int64) -> Int64 | None:
    """Return the order in which the readings of each message are in order of time, and those of one time in the order
    in which the message has them; None where they are already.

    A message that lists the readings of one stream after those of another would otherwise advance the watermark past
    the other's readings, and the other stream would be taken for silent before they are reached.
    """
    if ((np.diff(row_N) > 0) | (np.diff(time_N) >= 0)).all():
        return None
    return np.lexsort((time_N, row_N))


def ordered(readings: Readings, order_N: Int64) -> Readings:
    """Return the readings in this order, in which they stay in their messages. Places within a message are given in the
    new order."""
    keys, stream_N = number_streams([readings.keys[stream] for stream in readings.stream_N[order_N].tolist()])
    return replace(
        readings,
        keys=keys,
        stream_N=stream_N,
        time_N=readings.time_N[order_N],
        values_ND=readings.values_ND[order_N],
        presence_ND=readings.presence_ND[order_N],
        categories_NC=readings.categories_NC[order_N],
    )


def belonging_together(readings: Readings, metric_N: Int64) -> Int64:
    """Return the number of the group of each reading [N], in order of first appearance. A group holds metrics of one
    message, stream and time. A metric that a stream has several times at one time begins another group, unless it has
    no value.

    `readings` hold the value of one metric each, which `metric_N` is the index of.
    """
    held_N = readings.presence_ND[:, 0] != Presence.ABSENT
    together = [readings.row_N, readings.stream_N.astype(np.int64), readings.time_N]
    occurrence_N = _occurrence(np.stack([*together, np.where(held_N, metric_N, -1)], axis=1))
    _, first_G, group_N = np.unique(
        np.stack([*together, np.where(held_N, occurrence_N, 0)], axis=1), axis=0, return_index=True, return_inverse=True
    )
    return np.argsort(np.argsort(first_G))[group_N.reshape(-1)]


def joined(readings: Readings, metric_N: Int64, group_N: Int64, features: int) -> Readings:
    """Return one reading per group, with the values of its metrics. The other features are ABSENT, because of the shape
    and not of the records. `group_N` numbers the groups in order of first appearance."""
    _, first_G = np.unique(group_N, return_index=True)
    values_GD = np.full((len(first_G), features), np.nan)
    presence_GD = np.full((len(first_G), features), np.uint8(Presence.ABSENT))
    at_N = np.flatnonzero(readings.presence_ND[:, 0] != Presence.ABSENT)
    place = group_N[at_N], metric_N[at_N]
    values_GD[place], presence_GD[place] = readings.values_ND[at_N, 0], readings.presence_ND[at_N, 0]
    return replace(
        readings,
        row_N=readings.row_N[first_G],
        index_N=readings.index_N[first_G],
        stream_N=readings.stream_N[first_G],
        time_N=readings.time_N[first_G],
        values_ND=values_GD,
        presence_ND=presence_GD,
        categories_NC=readings.categories_NC[first_G],
    )


def _occurrence(rows_NK: Int64) -> Int64:
    """Return how many equal rows come before each row [N]."""
    _, group_N = np.unique(rows_NK, axis=0, return_inverse=True)
    order = np.argsort(group_N, axis=None, kind="stable")
    sorted_N = group_N.reshape(-1)[order]
    begins_N = np.searchsorted(sorted_N, sorted_N)
    occurrence_N = np.empty(len(order), np.int64)
    occurrence_N[order] = np.arange(len(order)) - begins_N
    return occurrence_N

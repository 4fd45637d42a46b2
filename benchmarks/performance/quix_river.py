"""The same job as one would build it with Quix Streams and river: half-space trees for each key. A program of its own.

    python quix_river.py BOOTSTRAP TOPIC RECORDS FIRST

Runs in an environment that has both (`pip install quixstreams river`), and needs nothing of ours. Prints the CPU-seconds
of so many records after the first ones, in which every key's trees are made.
"""

from __future__ import annotations

import sys
import time
from typing import Any
from uuid import uuid4

from quixstreams import Application
from river import anomaly, compose, preprocessing


def main() -> None:
    """Score every record by its key's own trees, and publish what stands out."""
    bootstrap, topic, records, first = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    application = Application(
        broker_address=bootstrap, consumer_group=f"quix-{uuid4().hex[:8]}", auto_offset_reset="earliest", loglevel=None
    )
    models: dict[str, Any] = {}
    done, began = 0, 0.0

    def score(event: dict[str, Any]) -> dict[str, Any]:
        nonlocal done, began
        if done == first:
            began = time.process_time()
        values = {name: value for name, value in event.items() if name.startswith("v")}
        model = models.get(event["id"])
        if model is None:
            model = models[event["id"]] = compose.Pipeline(
                preprocessing.MinMaxScaler(), anomaly.HalfSpaceTrees(n_trees=10, height=8, seed=0)
            )
        event["score"] = model.score_one(values)
        model.learn_one(values)
        done += 1
        if done == first + records:
            print(time.process_time() - began, flush=True)
            application.stop()
        return event

    events = application.dataframe(application.topic(topic, value_deserializer="json"))
    alerts = events.apply(score)
    alerts = alerts[alerts["score"] > 0.99]
    alerts.to_topic(application.topic(f"{topic}-quix", value_serializer="json"))
    application.run()


if __name__ == "__main__":
    main()

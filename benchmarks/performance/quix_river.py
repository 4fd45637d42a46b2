"""The same job as one would build it with Quix Streams and river: half-space trees for each key. A program of its own.

    python quix_river.py BOOTSTRAP TOPIC RECORDS FIRST

Runs in an environment that has both (`pip install quixstreams river`), and needs nothing of ours. Prints the CPU-seconds
of so many records after the first ones, in which every key's trees are made.
"""

from __future__ import annotations

import sys
from typing import Any
from uuid import uuid4

from quixstreams import Application
from river_trees import ALERT_ABOVE, Trees


def main() -> None:
    """Score every record by its key's own trees, and publish what stands out."""
    bootstrap, topic, records, first = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    application = Application(
        broker_address=bootstrap, consumer_group=f"quix-{uuid4().hex[:8]}", auto_offset_reset="earliest", loglevel=None
    )
    trees = Trees(first, records)

    def score(event: dict[str, Any]) -> dict[str, Any]:
        event["score"] = trees.score(event)
        if (seconds := trees.ended) is not None:
            print(seconds, flush=True)
            application.stop()
        return event

    events = application.dataframe(application.topic(topic, value_deserializer="json"))
    alerts = events.apply(score)
    alerts = alerts[alerts["score"] > ALERT_ABOVE]
    alerts.to_topic(application.topic(f"{topic}-quix", value_serializer="json"))
    application.run()


if __name__ == "__main__":
    main()

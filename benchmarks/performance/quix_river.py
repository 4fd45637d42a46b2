"""The benchmark's job as one would build it with Quix Streams and river: half-space trees for each key. A separate
program.

    python quix_river.py BOOTSTRAP TOPIC RECORDS FIRST

Runs in an environment that has both packages (`pip install quixstreams river`), and needs nothing of anomaly-daemon.
Prints the CPU-seconds for RECORDS records after the FIRST ones. Each key's trees are made during the FIRST records,
which are not counted.
"""

from __future__ import annotations

import sys
from typing import Any
from uuid import uuid4

from quixstreams import Application
from river_trees import ALERT_ABOVE, Trees


def main() -> None:
    """Score every record with the trees of its key, and publish the scores above the alert threshold."""
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

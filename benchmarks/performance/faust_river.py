"""The benchmark's job as one would build it with Faust (faust-streaming) and river. A separate program: see
`quix_river`.

    python faust_river.py BOOTSTRAP TOPIC RECORDS FIRST

Runs in an environment that has both packages (`pip install faust-streaming river`), and needs nothing of
anomaly-daemon.
"""

from __future__ import annotations

import os
import sys
import tempfile
from typing import Any
from uuid import uuid4

import faust
from river_trees import ALERT_ABOVE, Trees


def main() -> None:
    """Score every record with the trees of its key, and publish the scores above the alert threshold."""
    bootstrap, topic, records, first = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    app = faust.App(
        f"faust-{uuid4().hex[:8]}",
        broker=f"kafka://{bootstrap}",
        store="memory://",
        datadir=tempfile.mkdtemp(),
        web_enabled=False,
        topic_partitions=1,
        consumer_auto_offset_reset="earliest",
    )
    alerts = app.topic(f"{topic}-faust", value_serializer="json")
    trees = Trees(first, records)

    @app.agent(app.topic(topic, value_serializer="json"))
    async def judge(events: Any) -> None:
        async for event in events:
            score = trees.score(event)
            if (seconds := trees.ended) is not None:
                print(seconds, file=sys.__stdout__, flush=True)  # sys.stdout is redirected to the log
                os._exit(0)  # a Faust worker does not end by itself
            if score > ALERT_ABOVE:
                await alerts.send(value=event | {"score": score})

    sys.argv = [sys.argv[0], "worker", "--loglevel=error"]
    app.main()


if __name__ == "__main__":
    main()

"""One /live, /ready and /metrics for all processes: each process is asked. One that does not answer never counts as
ready, and as live only for a limited time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Any

from prometheus_client import Metric

from anomaly_daemon.daemon.http import REQUESTS_AT_ONCE, Answer, answer_of, answered
from anomaly_daemon.supervision.exposition import LABEL, Merged
from anomaly_daemon.supervision.member import Member

ASK_SECONDS = 2.0
"""Seconds for one process to answer."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

UP = "anomaly_daemon_process_up"
STARTS = "anomaly_daemon_process_starts"
MEANINGS = {
    UP: "With --processes: 1 where this process answers.",
    STARTS: "With --processes: how often this process was started.",
}


class GroupPages:
    """Asks the members. Call `close` at the end."""

    def __init__(self, members: Sequence[Member], stalled_seconds: float, monotonic: Callable[[], float]) -> None:
        self._members, self._stalled_seconds, self._monotonic = tuple(members), stalled_seconds, monotonic
        self._last_answer = {member.number: float("-inf") for member in members}
        most = len(members) * (REQUESTS_AT_ONCE + 1)  # one that hangs must not delay another request; one is systemd's
        self._asking = ThreadPoolExecutor(max_workers=most, thread_name_prefix="ask")

    def close(self) -> None:
        self._asking.shutdown(wait=False, cancel_futures=True)

    def answer(self, path: str) -> Answer:
        """`path` is without its query."""
        return answered({"/live": self.live, "/ready": self.ready, "/metrics": self.metrics}, path)

    def live(self) -> Answer:
        """Fails when a loop has stalled, or when a running process has not answered for `stalled_seconds`. A process
        that waits for its next start does not count, because a restart is under way already."""
        answers = self._ask("/live")
        well = {member.number: self._is_live(member, answers[member.number]) for member in self._members}
        return _page("live", well, answers)

    def ready(self) -> Answer:
        """Succeeds when every process is ready."""
        answers = self._ask("/ready")
        return _page("ready", {number: _is_ok(answer) for number, answer in answers.items()}, answers)

    def metrics(self) -> Answer:
        """Return the metrics of every process that answers, labelled with its number, and for each process whether it
        answers and how often it was started."""
        answers = self._ask("/metrics")
        texts = {number: answer.body.decode() for number, answer in answers.items() if answer and _is_ok(answer)}
        return Answer(HTTPStatus.OK, CONTENT_TYPE, Merged(texts, self._own(texts)).text())

    def _own(self, texts: dict[int, str]) -> Iterator[Metric]:
        up, starts = Metric(UP, MEANINGS[UP], "gauge"), Metric(STARTS, MEANINGS[STARTS], "counter")
        for member in self._members:
            labels = {LABEL: str(member.number)}
            up.add_sample(UP, labels, float(member.number in texts))
            starts.add_sample(f"{STARTS}_total", labels, float(member.starts))
        yield from (up, starts)

    def _is_live(self, member: Member, answer: Answer | None) -> bool:
        if answer is not None or not member.running:
            return answer is None or _is_ok(answer)
        silent_since = max(member.since, self._last_answer[member.number])
        return self._monotonic() - silent_since <= self._stalled_seconds

    def _ask(self, path: str) -> dict[int, Answer | None]:
        """Return the answers by process number; None for a process that gives none."""
        found = self._asking.map(lambda member: self._asked(member, path), self._members)
        return {member.number: answer for member, answer in zip(self._members, found, strict=True)}

    def _asked(self, member: Member, path: str) -> Answer | None:
        if not member.running:
            return None
        try:
            with closing(HTTPConnection("127.0.0.1", member.port, timeout=ASK_SECONDS)) as connection:
                connection.request("GET", path)
                found = connection.getresponse()
                answer = Answer(HTTPStatus(found.status), found.getheader("Content-Type", ""), found.read())
        except (OSError, HTTPException):
            return None
        if not answer.content_type:  # the server's 503 at too many connections is no page, and says nothing of the loop
            return None
        self._last_answer[member.number] = self._monotonic()
        return answer


def _is_ok(answer: Answer | None) -> bool:
    return answer is not None and answer.status == HTTPStatus.OK


def _page(name: str, well: dict[int, bool], answers: dict[int, Answer | None]) -> Answer:
    status = HTTPStatus.OK if all(well.values()) else HTTPStatus.SERVICE_UNAVAILABLE
    content: dict[str, Any] = {str(number): answer and json.loads(answer.body) for number, answer in answers.items()}
    return answer_of(status, {name: all(well.values()), "processes": content})

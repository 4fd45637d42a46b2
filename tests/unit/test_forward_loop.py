"""The loop of `forward`: sent messages are marked as done, the membership in the group is kept up meanwhile, and the
pages report the state."""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass, field
from typing import Any
from urllib.request import Request

import pytest
import structlog

from anomaly_daemon import cli
from anomaly_daemon.commands.forward_pages import FORWARD_METRICS, ForwardPages
from anomaly_daemon.forwarding.loop import KEEP_ALIVE_SECONDS, RESEND_SECONDS, ForwardLoop
from anomaly_daemon.forwarding.webhook import Webhook
from anomaly_daemon.transport.kafka.subscription import TopicRecord


def read(offset: int, value: bytes | None = b"{}", partition: int = 0) -> TopicRecord:
    return TopicRecord(partition, offset, value, (("ce_id", str(offset).encode()),))


@dataclass
class Topic:
    """Implements `Messages`. `reads` holds what each read returns; `asked` records the calls, in order."""

    reads: list[list[TopicRecord]]
    asked: list[str] = field(default_factory=list)
    lost: set[int] = field(default_factory=set)
    lose: set[int] = field(default_factory=set)
    """Partitions that the next `keep_alive` takes away from this member."""

    def read(self) -> list[TopicRecord]:
        return self.reads.pop(0) if self.reads else []

    def keep_alive(self) -> None:
        self.asked.append("keep_alive")
        self.lost |= self.lose

    def is_ours(self, one: TopicRecord) -> bool:
        return one.partition not in self.lost

    def done(self, one: TopicRecord) -> None:
        self.asked.append(f"done {one.offset}")

    def joined(self) -> bool:
        return True


@dataclass
class Hook:
    """Opens requests. Each takes `seconds`. The errors in `answers` come first; after them every message is accepted."""

    answers: list[Exception] = field(default_factory=list)
    seconds: float = 0.0
    now: float = 0.0
    accepted: list[str] = field(default_factory=list)

    def open(self, request: Any, timeout: float) -> io.BytesIO:
        self.now += self.seconds
        if self.answers:
            raise self.answers.pop(0)
        self.accepted.append(request.get_header("Ce-id"))
        return io.BytesIO(b"ok")

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Again(Webhook):
    """A webhook that counts how often messages are to be repeated."""

    def __init__(self) -> None:
        super().__init__("http://hook/x", {})
        self.times = 0

    def to_resend(self) -> tuple[()]:
        self.times += 1
        return ()


def forward_loop(topic: Topic, hook: Hook, target: Webhook | None = None) -> ForwardLoop:
    target = target or Webhook("http://hook/x", {})
    log = structlog.get_logger()
    return ForwardLoop(topic, target, hook.open, log, clock=lambda: hook.now, sleep=hook.sleep)


def test_messages_are_sent_in_order_and_done_and_tombstones_are_only_done() -> None:
    topic, hook = Topic([[read(1), read(2, None), read(3)]]), Hook()
    forward_loop(topic, hook).turn()
    assert hook.accepted == ["1", "3"]
    assert topic.asked == ["done 1", "done 2", "done 3"]


def test_the_group_hears_of_us_while_a_slow_hook_takes_one_message_after_the_other() -> None:
    """A member that does not poll for kafka.max_poll_interval_seconds would lose its partitions to another, again and
    again."""
    topic, hook = Topic([[read(offset) for offset in range(7)]]), Hook(seconds=0.4 * KEEP_ALIVE_SECONDS)
    forward_loop(topic, hook).turn()
    assert topic.asked.count("keep_alive") == 2
    assert topic.asked.index("keep_alive") == 3, "after what was done is said to be"


def test_the_group_hears_of_us_while_a_message_waits() -> None:
    topic, hook = Topic([[read(1)]]), Hook([TimeoutError(), TimeoutError(), TimeoutError()])
    forward_loop(topic, hook).turn()
    assert topic.asked.count("keep_alive") == 1 + 2 + 4
    assert hook.accepted == ["1"]


def test_what_a_rebalance_takes_is_not_sent_any_more() -> None:
    topic, hook = Topic([[read(1), read(2), read(1, partition=1)]]), Hook([TimeoutError()])
    topic.lose = {0}
    forward_loop(topic, hook).turn()
    assert hook.accepted == ["1"], "that of partition 1"


def test_a_process_that_stood_still_asks_the_group_before_it_sends_what_it_had_in_hand() -> None:
    """Meanwhile another member may have the partition, and may have sent later messages."""
    topic, hook = Topic([[read(1), read(2)]]), Hook(seconds=600.0)
    topic.lose = {0}
    forward_loop(topic, hook).turn()
    assert hook.accepted == ["1"]


def test_what_is_open_is_told_again_each_minute_and_not_while_nothing_is_taken() -> None:
    topic, hook, target = Topic([[read(1)]]), Hook([TimeoutError() for _ in range(8)]), Again()
    one = forward_loop(topic, hook, target)
    one.turn()
    assert hook.now > RESEND_SECONDS
    assert target.times == 0
    one.turn()
    one.turn()
    assert target.times == 1
    hook.now += RESEND_SECONDS
    one.turn()
    assert target.times == 2


def test_the_group_hears_of_us_while_many_are_told_again() -> None:
    class Parts(Webhook):
        def to_resend(self) -> list[Request]:
            return [Request("http://hook/x", b"", {"Ce-id": str(part)}) for part in range(3)]

    topic, hook = Topic([]), Hook(seconds=9.0)
    one = forward_loop(topic, hook, Parts("http://hook/x", {}))
    hook.now += RESEND_SECONDS
    one.turn()
    assert hook.accepted == ["0", "1", "2"]
    assert topic.asked == ["keep_alive", "keep_alive"]
    assert hook.now - one.last_turn == 9.0


@dataclass
class Broker:
    silent_seconds: float = 0.0
    lag: int | None = None


def test_the_pages_say_how_it_goes() -> None:
    topic, hook, broker = Topic([[read(1), read(2, b"{}")]]), Hook(), Broker()
    one = forward_loop(topic, hook)
    pages = ForwardPages(one, broker, 60.0)
    assert (pages.live().status, pages.ready().status) == (200, 503)
    one.turn()
    assert pages.ready().status == 200
    text = pages.answer("/metrics").body.decode()
    assert "anomaly_daemon_forward_sent_total 2.0" in text
    assert "anomaly_daemon_forward_lag_records NaN" in text
    assert all(f"\nanomaly_daemon_{metric.name} " in text for metric in FORWARD_METRICS)
    broker.lag, broker.silent_seconds = 7, 12.5
    one.sender.stuck_since, hook.now = hook.now, hook.now + 30
    text = pages.answer("/metrics").body.decode()
    assert "anomaly_daemon_forward_lag_records 7.0" in text
    assert "anomaly_daemon_forward_broker_silent_seconds 12.5" in text
    assert "anomaly_daemon_forward_stuck_seconds 30.0" in text
    assert math.isclose(json.loads(pages.ready().body)["stuck_seconds"], 30.0)
    assert pages.answer("/").status == 404


def test_it_is_not_live_when_its_loop_has_stalled_and_is_while_it_waits() -> None:
    topic, hook = Topic([[read(1)]]), Hook([TimeoutError() for _ in range(9)])
    one = forward_loop(topic, hook)
    pages = ForwardPages(one, Broker(), 60.0)
    one.turn()
    assert hook.now > 120
    assert pages.live().status == 200
    hook.now += 61
    assert pages.live().status == 503


@pytest.mark.parametrize("words", [["--http-port=65536"], ["--http-port=x"], ["--give-up-seconds=0"]])
def test_numbers_that_are_none_are_usage_errors(words: list[str]) -> None:
    with pytest.raises(SystemExit, match="64"):
        cli.main(["forward", "--webhook", "http://x/", *words])

"""`forward`: alerts from their topic to who is woken by them."""

from __future__ import annotations

import argparse
import re
import signal
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from anomaly_daemon.commands import common
from anomaly_daemon.errors import ConfigurationError, UsageError, unread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from structlog.typing import FilteringBoundLogger

    from anomaly_daemon.forwarding.message import Message, Target
    from anomaly_daemon.forwarding.sender import Sender
    from anomaly_daemon.settings import Settings
    from anomaly_daemon.transport.kafka.subscription import Read, Subscription

HELP = "send alerts on, each at least once: to Prometheus' Alertmanager, or to a webhook as CloudEvents"
EXAMPLE = """\
  anomaly-daemon forward --config sensors.yaml --alertmanager http://alertmanager:9093
  anomaly-daemon forward --config sensors.yaml --webhook https://example.org/hook --headers-file token.txt"""

ATTRIBUTE = re.compile("ce_[a-z0-9]+")
"""A header that holds an attribute of a CloudEvent. Others of the topic are none of ours."""
AGAIN_SECONDS = 60.0
"""Between two times that Alertmanager is told of what is open."""
STAY_SECONDS = 1.0
"""Between two words to the group while a message waits."""


def arguments(parser: argparse.ArgumentParser) -> None:
    common.add_config_arguments(parser)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--alertmanager", metavar="URL", help="episodes as its alerts, such as http://alertmanager:9093"
    )
    target.add_argument("--webhook", metavar="URL", help="each message of the topic as a POST, as it is")
    parser.add_argument("--headers-file", type=Path, metavar="FILE", help='"Name: value" lines sent along: a login')
    parser.add_argument(
        "--cafile", type=Path, metavar="FILE", help="the certificates that vouch for the address, in PEM"
    )
    parser.add_argument("--group", metavar="NAME", help="its consumer group (default: kafka.group_id with -forward)")
    parser.add_argument(
        "--from-beginning", action="store_true", help="the first time: what is on the topic already, too"
    )


def run(args: argparse.Namespace) -> int:
    import structlog

    from anomaly_daemon.daemon import logs
    from anomaly_daemon.transport import web

    settings = common.load(args)
    if settings.sink.kind != "kafka":
        raise UsageError("the alerts of this configuration go to a file (sink.kind): `alerts --follow --json` reads it")
    target, open_ = target_of(args), web.opener(args.cafile, "--cafile")
    logs.configure(settings.log.format, settings.log.level, sys.stderr, deployment=settings.name)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    log = structlog.get_logger("anomaly_daemon")
    try:
        _serve(settings, args, target, open_, log)
    except KeyboardInterrupt:
        log.info("ended")
    return 0


def target_of(args: argparse.Namespace) -> Target:
    """Raises UsageError for an address that is none, ConfigurationError, NoInput or NotPermitted for the headers' file."""
    from anomaly_daemon.forwarding.alertmanager import Alertmanager
    from anomaly_daemon.forwarding.webhook import Webhook
    from anomaly_daemon.settings.address import is_address

    url = args.alertmanager or args.webhook
    if not is_address(url):
        raise UsageError(f"{url}: no address, such as http://alertmanager:9093")
    headers = {} if args.headers_file is None else headers_of(args.headers_file)
    return Alertmanager(url, headers) if args.alertmanager else Webhook(url, headers)


def headers_of(file: Path) -> dict[str, str]:
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise unread(file, error) from error
    pairs = [line.partition(":") for line in lines if line]
    if any(not name.strip() or not colon for name, colon, _ in pairs):
        raise ConfigurationError(f'{file}: each line is a header, such as "Authorization: Bearer ..."')
    return {name.strip(): value.strip() for name, _, value in pairs}


def _serve(
    settings: Settings, args: argparse.Namespace, target: Target, open_: Callable[..., Any], log: FilteringBoundLogger
) -> None:
    from anomaly_daemon.forwarding.sender import Sender
    from anomaly_daemon.transport.kafka.subscription import Subscription
    from anomaly_daemon.transport.web import host_of

    topic, group = settings.sink.alerts_topic, args.group or f"{settings.kafka.group_id}-forward"
    with closing(Subscription(settings.kafka, topic, group, from_beginning=args.from_beginning)) as subscription:
        log.info("forwarding", topic=topic, group=group, to=host_of(args.alertmanager or args.webhook))
        sender = Sender(target, open_, log, _staying(subscription))
        last = time.monotonic()
        while True:
            _send(subscription.read(), subscription, sender, log)
            if time.monotonic() - last >= AGAIN_SECONDS:
                sender.again()
                last = time.monotonic()


def _staying(subscription: Subscription) -> Callable[[float], None]:
    """How to wait: the group takes who says nothing for long for gone."""

    def wait(seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, STAY_SECONDS))
            subscription.stay()

    return wait


def _send(found: Sequence[Read], subscription: Subscription, sender: Sender, log: FilteringBoundLogger) -> None:
    if not found:
        return
    for one in found:
        if one.value is not None:
            sender.send(message_of(one))
    if not subscription.commit(found):
        log.warning("these messages are another's by now, and may be sent a second time", messages=len(found))
    log.info("sent", sent=sender.sent, refused=sender.refused)


def message_of(read: Read) -> Message:
    from anomaly_daemon.forwarding.message import Message

    named = ((name, value or b"") for name, value in read.headers if ATTRIBUTE.fullmatch(name))
    texts = {name: value.decode("utf-8", "replace") for name, value in named}
    return Message(read.value or b"", texts, f"{read.partition}/{read.offset}")

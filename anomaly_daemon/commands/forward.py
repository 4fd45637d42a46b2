"""`forward`: sends alerts from their topic to Alertmanager or to a webhook."""

from __future__ import annotations

import argparse
import re
import signal
import socket
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from anomaly_daemon.commands import common, numbers
from anomaly_daemon.errors import ConfigurationError, DaemonError, UsageError, unread

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from structlog.typing import FilteringBoundLogger

    from anomaly_daemon.forwarding.loop import ForwardLoop
    from anomaly_daemon.forwarding.message import Target
    from anomaly_daemon.settings import Settings
    from anomaly_daemon.transport.kafka.subscription import Subscription

HELP = "forward alerts, each at least once, to Prometheus' Alertmanager, or to a webhook as CloudEvents"
EXAMPLE = """\
  anomaly-daemon forward --config sensors.yaml --alertmanager http://alertmanager:9093
  anomaly-daemon forward --config sensors.yaml --webhook https://example.org/hook --headers-file token.txt"""

NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""The name of an HTTP header (RFC 9110)."""


def arguments(parser: argparse.ArgumentParser) -> None:
    common.add_config_arguments(parser)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--alertmanager",
        metavar="URL",
        help="send episodes as alerts to this Alertmanager, such as http://alertmanager:9093",
    )
    target.add_argument(
        "--webhook", metavar="URL", help="send each message of the topic unchanged to this URL, as a POST"
    )
    parser.add_argument(
        "--headers-file",
        type=Path,
        metavar="FILE",
        help='a file of "Name: value" lines to send as HTTP headers, such as a login',
    )
    parser.add_argument(
        "--cafile", type=Path, metavar="FILE", help="PEM file of the authority that signed the target's certificate"
    )
    parser.add_argument(
        "--group",
        metavar="NAME",
        help="its consumer group (default: kafka.group_id with -forward); a second target needs its own",
    )
    parser.add_argument(
        "--from-beginning", action="store_true", help="for a new consumer group: also send what is already on the topic"
    )
    parser.add_argument(
        "--give-up-seconds",
        type=numbers.positive,
        metavar="N",
        help="skip a message that has been answered with 5xx (except 503) for this long (default: retry forever)",
    )
    parser.add_argument(
        "--http-port",
        type=numbers.port,
        metavar="PORT",
        help="serve /live, /ready and /metrics on this port of http.host",
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
        log.info("ended", exit_code=0)
    except DaemonError as error:
        log.error("ended", error=str(error), exit_code=int(error.exit_code))
        raise
    return 0


def target_of(args: argparse.Namespace) -> Target:
    """Return the target that --alertmanager or --webhook names. Raises UsageError for an invalid address, and
    ConfigurationError, NoInput or NotPermitted for the headers file."""
    from anomaly_daemon.forwarding.alertmanager import Alertmanager
    from anomaly_daemon.forwarding.webhook import Webhook
    from anomaly_daemon.settings.address import is_address
    from anomaly_daemon.transport import web

    url = args.alertmanager or args.webhook
    if not is_address(url):
        raise UsageError(f"{url}: not an address such as http://alertmanager:9093")
    if "@" in urlsplit(url).netloc:
        raise UsageError(f"{web.host_of(url)}: the address holds a user name: give logins with --headers-file")
    headers = {} if args.headers_file is None else headers_of(args.headers_file)
    return Alertmanager(url, headers) if args.alertmanager else Webhook(url, headers)


def headers_of(file: Path) -> dict[str, str]:
    """Return the HTTP headers that the file holds. Raises ConfigurationError, NoInput or NotPermitted; no message
    repeats what the file holds, as it may be a secret."""
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except OSError as error:
        raise unread(file, error) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file}: not UTF-8 text") from error
    pairs = [
        (name.strip(), colon, value.strip()) for name, colon, value in (one.partition(":") for one in lines if one)
    ]
    if not all(
        NAME.fullmatch(name) and colon and value.isascii() and value.isprintable() for name, colon, value in pairs
    ):
        raise ConfigurationError(f'{file}: each line must be a header in ASCII, such as "Authorization: Bearer ..."')
    return {name: value for name, _, value in pairs}


def _serve(
    settings: Settings, args: argparse.Namespace, target: Target, open_: Callable[..., Any], log: FilteringBoundLogger
) -> None:
    from anomaly_daemon.forwarding.loop import ForwardLoop
    from anomaly_daemon.transport.kafka.subscription import Subscription
    from anomaly_daemon.transport.web import host_of

    topic, group = settings.sink.alerts_topic, args.group or f"{settings.kafka.group_id}-forward"
    with ExitStack() as stack:
        listening = None if args.http_port is None else stack.enter_context(_listen(settings, args.http_port))
        subscription = Subscription(
            settings.kafka,
            topic,
            group,
            from_beginning=args.from_beginning,
            retry_seconds=settings.limits.retry_seconds,
            on_lost=target.partitions_lost,
        )
        stack.enter_context(closing(subscription))
        loop = ForwardLoop(
            subscription,
            target,
            open_,
            log,
            give_up_seconds=args.give_up_seconds,
            on_turn=_report_of(subscription, log),
        )
        if listening is not None:
            _show(settings, listening, loop, subscription, stack, log)
        log.info("forwarding", topic=topic, group=group, to=host_of(args.alertmanager or args.webhook))
        if subscription.begins_at_end:
            log.warning("new consumer group: starts at the end of the topic", group=group)
        loop.run()


def _listen(settings: Settings, port: int) -> socket.socket:
    from anomaly_daemon.daemon.http import listen

    return listen(settings.http.host, port)


def _show(
    settings: Settings,
    listening: socket.socket,
    loop: ForwardLoop,
    subscription: Subscription,
    stack: ExitStack,
    log: FilteringBoundLogger,
) -> None:
    from anomaly_daemon.commands.forward_pages import ForwardPages
    from anomaly_daemon.daemon.http import HealthServer

    pages = ForwardPages(loop, subscription.monitor, settings.http.stalled_seconds)
    server = HealthServer(listening, pages)
    server.start()
    stack.callback(server.close)
    log.info("listening", host=settings.http.host, port=server.port)


def _report_of(subscription: Subscription, log: FilteringBoundLogger) -> Callable[[ForwardLoop], None]:
    """Return the function that reports each turn of the loop: to systemd (watchdog and readiness), and to the log when
    the broker stops answering and when it answers again."""
    from anomaly_daemon.supervision.systemd import notify

    system, ready, silent = notify(), False, 0.0

    def tell(loop: ForwardLoop) -> None:
        nonlocal ready, silent
        system.tell("WATCHDOG=1")
        if loop.ready and not ready:
            system.tell("READY=1\nSTATUS=joined its consumer group")
        before, silent = silent, subscription.monitor.silent_seconds
        if silent and not before:
            log.warning("the broker does not answer: waiting for it", seconds=round(silent, 1))
        elif before and not silent:
            log.info("the broker answers again", silent_seconds=round(before, 1))
        ready = ready or loop.ready

    return tell

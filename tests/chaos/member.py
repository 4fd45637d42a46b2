"""A member of the group as a separate process: `anomaly-daemon run`, except that it may have to die at a place."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import forked

from chaos.fate import Death, Fate


def nursery() -> ForkServerContext:
    """Return the fork server context from which members are forked."""
    return forked.nursery("anomaly_daemon.bootstrap", "anomaly_daemon.commands.run")


def begin(context: ForkServerContext, overrides: Sequence[str], death: Death | None, log: Path) -> ForkServerProcess:
    """Start a member with these settings. Its log is the file `log`."""
    return forked.begin(context, log, live, list(overrides), death)


def live(overrides: Sequence[str], death: Death | None) -> int:
    """Run the member and return its exit code. Idle timers are switched off: they depend on a clock, so two runs might
    differ."""
    from anomaly_daemon import bootstrap, cli
    from anomaly_daemon.transport.kafka import delivery, snapshots, source
    from chaos.mortal import mortal

    doomed = mortal(Fate(death))
    delivery.KafkaDelivery = doomed["KafkaDelivery"]  # type: ignore[misc]
    snapshots.KafkaSnapshots = doomed["KafkaSnapshots"]  # type: ignore[misc]
    source.KafkaSource = doomed["KafkaSource"]  # type: ignore[misc]
    bootstrap.build_worker = functools.partial(bootstrap.build_worker, idle_timers=False)
    return cli.main(["run", *(f"--set={override}" for override in overrides)])

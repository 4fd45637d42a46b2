"""How fast the daemon is, and what limits it.

    make bench                                  all benchmarks, some minutes: a table
    make bench BENCH='--only step stages'       only some of them
    make bench BENCH='--json figures.json'      also write rows {benchmark, case, metric, value}
    make bench BENCH='--plots folder'           also draw them

Runs in one thread. Nothing else should run on the machine. `end_to_end`, `latency` and `restore` start Apache Kafka on
loopback, which needs Java and Maven.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from anomaly_daemon.daemon.allocation import keep_freed_memory
from performance import end_to_end, latency, restoring, sizes, stages, step
from performance.plots import plot
from performance.rows import Row


def main() -> None:
    """Print the table, and write the rows and the plots where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seconds", type=float, default=0.5, help="for each measured call")
    parser.add_argument("--events", type=int, default=100_000, help="at each point, and of the backlog")
    parser.add_argument("--streams", type=int, default=100_000, help="the most that are tried")
    parser.add_argument("--latency-seconds", type=float, default=20.0, help="at each share of the most")
    for name, (needs, _) in OTHERS.items():
        option, has = f"--{name.split()[0].lower()}-python", f"of an environment with {needs} and river"
        parser.add_argument(option, type=Path, metavar="PYTHON", help=has)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plots", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as the daemon does
    found: list[Row] = []
    print(f"{'benchmark':<12}{'case':<48}{'metric':<28}value")
    for name in arguments.only:
        for row in PARTS[name](arguments):
            found.append(row)
            print(f"{row.benchmark:<12}{row.case:<48}{row.metric:<28}{row.value:,.3f}", flush=True)
    if arguments.json:
        arguments.json.write_text("".join(json.dumps(row._asdict()) + "\n" for row in found))
    if arguments.plots:
        plot(found, arguments.plots)


OTHERS = {
    "Quix Streams": ("quixstreams", "quix_river.py"),
    "Faust": ("faust-streaming", "faust_river.py"),
    "PyFlink": ("apache-flink", "flink_river.py"),
}
"""The stream processors in Python that are compared, by name: the package to install, and the program here that does
the same job with it."""


def _others(arguments: argparse.Namespace) -> end_to_end.Others:
    return {
        name: (program, getattr(arguments, f"{name.split()[0].lower()}_python"))
        for name, (_, program) in OTHERS.items()
    }


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Row]]] = {
    "step": lambda arguments: step.measure(arguments.seconds),
    "stages": lambda arguments: stages.measure(arguments.seconds, arguments.events),
    "sizes": lambda arguments: sizes.measure(arguments.events, arguments.streams),
    "end_to_end": lambda arguments: end_to_end.measure(arguments.events, _others(arguments)),
    "latency": lambda arguments: latency.measure(arguments.latency_seconds, arguments.events),
    "restore": lambda arguments: restoring.measure(arguments.seconds, arguments.streams),
}

if __name__ == "__main__":
    main()

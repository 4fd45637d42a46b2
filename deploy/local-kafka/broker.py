#!/usr/bin/env python3
"""A local Apache Kafka broker without Docker, for tests, benchmarks and a first look.

    python deploy/local-kafka/broker.py --port 9092
    python deploy/local-kafka/broker.py --port 9092 --topic sensors:4 --folder ./kafka-storage

Needs Java 17 or newer and Maven. The first start resolves the broker's jars (pom.xml beside this file) into
`$XDG_CACHE_HOME/anomaly-daemon`; later ones need no network. One node in KRaft combined mode, on loopback only, with
the settings a single node needs (replication factor 1, no rebalance delay). Standard library only, so that anything
may import it: `Broker(...)` starts, stops and restarts on the same ports and storage.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

HERE = Path(__file__).resolve().parent
CLUSTER_ID = "local-kafka-000000000w"
READY = "Kafka Server started"
START_SECONDS = 60.0
JAVA_OPTIONS = ("-Xmx512m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")


class BrokerError(Exception):
    """The broker could not be fetched or started; the text says why."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One more way in. `protocol` is Kafka's: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.

    `properties` are the broker's own, without the `listener.name.<name>.` prefix.
    """

    name: str
    protocol: str
    properties: Mapping[str, str] = field(default_factory=dict)


def missing() -> str | None:
    """What this machine lacks to start a broker, or None."""
    absent = [name for name in ("java", "mvn") if shutil.which(name) is None]
    return f"not on PATH: {' and '.join(absent)}" if absent else None


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "anomaly-daemon"


def kafka_version() -> str:
    found = re.search(r"<kafka.version>([^<]+)<", (HERE / "pom.xml").read_text())
    assert found
    return found[1]


def jars() -> Path:
    """The folder of the broker's jars, fetched by Maven when it is not there yet.

    Fetched beside its place and renamed, so that two processes that start together never see half of it.
    """
    folder = cache_folder() / f"kafka-{kafka_version()}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix="kafka-", dir=folder.parent))
    _copy_dependencies(fresh)
    try:
        fresh.rename(folder)
    except OSError:  # another process was first
        shutil.rmtree(fresh)
    return folder


def _copy_dependencies(folder: Path) -> None:
    command = ["mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        output = getattr(error, "stdout", "") or str(error)
        raise BrokerError(f"Maven could not fetch Kafka {kafka_version()}:\n{output[-2000:]}") from error


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Broker:
    """One node on loopback. A context manager; also `start`, `stop`, `kill`, `pause` and `resume` for tests of faults.

    `bootstrap` is the plaintext listener; `addresses` has every listener's "localhost:port" by name.
    `scram_users` (name -> password) are created for both SCRAM mechanisms; `properties` go into server.properties.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        listeners: Sequence[Listener] = (),
        properties: Mapping[str, str] | None = None,
        scram_users: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.keeps_storage = folder is not None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="local-kafka-"))
        self._listeners = [Listener("PLAINTEXT", "PLAINTEXT"), *listeners]
        names = ["CONTROLLER", *(listener.name for listener in self._listeners)]
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))
        self._ports["PLAINTEXT"] = port or self._ports["PLAINTEXT"]
        self._properties = dict(properties or {})
        self._scram_users = dict(scram_users or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return self.addresses["PLAINTEXT"]

    @property
    def addresses(self) -> dict[str, str]:
        return {listener.name: f"localhost:{self._ports[listener.name]}" for listener in self._listeners}

    @property
    def log(self) -> Path:
        return self.folder / "broker.log"

    def start(self) -> Self:
        """Format the storage where that was not done yet, start, and wait until the broker says it is ready."""
        java = ["java", *JAVA_OPTIONS, f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}"]
        java += ["-cp", f"{jars()}/*"]
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "server.properties").write_text(self._server_properties())
        if not (self.folder / "storage" / "meta.properties").exists():
            self._format(java)
        with self.log.open("wb") as log:
            command = [*java, "kafka.Kafka", str(self.folder / "server.properties")]
            self._process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, preexec_fn=_end_with_parent
            )
        self._wait_until_ready()
        return self

    def _server_properties(self) -> str:
        lines = {
            "controller.quorum.voters": f"1@localhost:{self._ports['CONTROLLER']}",
            "listeners": ",".join(f"{key}://127.0.0.1:{port}" for key, port in self._ports.items()),
            "advertised.listeners": ",".join(f"{key}://{address}" for key, address in self.addresses.items()),
            "listener.security.protocol.map": ",".join(
                ["CONTROLLER:PLAINTEXT", *(f"{listener.name}:{listener.protocol}" for listener in self._listeners)]
            ),
            "log.dirs": str(self.folder / "storage"),
        }
        for listener in self._listeners:
            prefix = f"listener.name.{listener.name.lower()}"
            lines |= {f"{prefix}.{key}": text for key, text in listener.properties.items()}
        ours = "".join(f"{key}={text}\n" for key, text in (lines | self._properties).items())
        return (HERE / "server.properties").read_text() + ours

    def _format(self, java: Sequence[str]) -> None:
        command = [*java, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID]
        command += ["-c", str(self.folder / "server.properties")]
        for user, password in self._scram_users.items():
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
                command += ["--add-scram", f"{mechanism}=[name={user},password={password}]"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise BrokerError(f"the storage could not be formatted:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while READY not in self.log.read_text(errors="replace"):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise BrokerError(f"the broker did not start:\n{self.log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """A clean stop; the storage stays for the next `start` until `close`."""
        self._signal(signal.SIGTERM)
        self._reap()

    def kill(self) -> None:
        """The crash of a broker."""
        self._signal(signal.SIGKILL)
        self._reap()

    def pause(self) -> None:
        """A broker that hangs: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop, and remove the storage unless a folder was asked for."""
        if self.keeps_storage:
            self.stop()
            return
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _reap(self) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def create_topic(self, name: str, partitions: int = 1) -> None:
        """By the broker's own jars, so that this script needs no Kafka client (slow: it starts a JVM)."""
        program = "org.apache.kafka.tools.TopicCommand"
        command = ["java", "-Xmx128m", "-cp", f"{jars()}/*", program, "--bootstrap-server", self.bootstrap]
        command += ["--create", "--if-not-exists", "--topic", name, "--partitions", str(partitions)]
        subprocess.run(command, check=True, capture_output=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _end_with_parent() -> None:
    """Linux: the broker ends with the *thread* that started it, however it went. So start it from the main thread."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=9092, help="of the plaintext listener; 0: any free one")
    parser.add_argument("--folder", type=Path, help="keep the storage here (default: a temporary folder, removed)")
    parser.add_argument(
        "--topic", action="append", default=[], metavar="NAME[:PARTITIONS]", help="create it; repeatable"
    )
    parser.add_argument("--fetch-only", action="store_true", help="fetch the jars and end")
    chosen = parser.parse_args(arguments)
    if lack := missing():
        print(f"a local broker needs Java 17 and Maven; {lack}", file=sys.stderr)
        return 69
    if chosen.fetch_only:
        print(jars())
        return 0
    return _serve(chosen.port, chosen.folder, chosen.topic)


def _serve(port: int, folder: Path | None, topics: Sequence[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with Broker(port=port, folder=folder) as broker:
            for topic in topics:
                name, _, partitions = topic.partition(":")
                broker.create_topic(name, int(partitions or 1))
            print(f"Apache Kafka {kafka_version()} is ready on {broker.bootstrap} (log: {broker.log})", flush=True)
            signal.pause()
    except BrokerError as error:
        print(error, file=sys.stderr)
        return 69
    except KeyboardInterrupt:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())

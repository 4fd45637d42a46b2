"""One node of Apache Kafka in KRaft combined mode, on loopback."""

from __future__ import annotations

import ctypes
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from jars import HERE, BrokerError, jars

CLUSTER_ID = "local-kafka-000000000w"
READY = "Kafka Server started"
START_SECONDS = 60.0
JAVA_OPTIONS = ("-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
HEAP_MEGABYTES = 512
PORTS = range(20_000, 32_000)
"""Ports below those that systems assign by themselves: Linux from 32768 on, others from 49152."""
PORT_ATTEMPTS = 1000


@dataclass(frozen=True, slots=True)
class Listener:
    """An additional listener. `protocol` is Kafka's: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.

    `properties` are broker properties without the `listener.name.<name>.` prefix.
    """

    name: str
    protocol: str
    properties: Mapping[str, str] = field(default_factory=dict)


def free_ports(count: int) -> list[int]:
    """Return free ports. A broker binds them some seconds later, and again after each restart. They are therefore not
    taken from the range from which the system assigns a port to any process that asks for one. Raises BrokerError."""
    chance, found = random.SystemRandom(), list[int]()
    with ExitStack() as held:
        for _ in range(PORT_ATTEMPTS):
            if len(found) == count:
                return found
            one, port = held.enter_context(socket.socket()), chance.choice(PORTS)
            with suppress(OSError):
                one.bind(("127.0.0.1", port))
                found.append(port)
    raise BrokerError(f"no {count} free ports from {PORTS.start} to {PORTS.stop - 1}")


class Broker:
    """One node on loopback, as a context manager. `start`, `stop`, `kill`, `pause`, `resume` are for tests of faults.

    `bootstrap` is the plaintext listener; `addresses` has the "localhost:port" of every listener by name. `scram_users`
    (name -> password) are created for both SCRAM mechanisms; `properties` are added to server.properties. `number` is
    the node.id. A cluster also sets `voters`, to the `voter` of each of its nodes.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        listeners: Sequence[Listener] = (),
        properties: Mapping[str, str] | None = None,
        scram_users: Mapping[str, str] | None = None,
        folder: Path | None = None,
        number: int = 1,
        heap_megabytes: int = HEAP_MEGABYTES,
    ) -> None:
        self.keeps_storage = folder is not None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="local-kafka-"))
        self._listeners = [Listener("PLAINTEXT", "PLAINTEXT"), *listeners]
        names = ["CONTROLLER", *(listener.name for listener in self._listeners)]
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))
        self._ports["PLAINTEXT"] = port or self._ports["PLAINTEXT"]
        self._properties = dict(properties or {})
        self._scram_users = dict(scram_users or {})
        self._number, self._heap = number, heap_megabytes
        self.voters = [self.voter]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def voter(self) -> str:
        return f"{self._number}@localhost:{self._ports['CONTROLLER']}"

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
        """Format the storage if that was not done yet, start the node, and wait until its log says that it is ready."""
        self.launch()
        self.wait_until_ready()
        return self

    def launch(self) -> None:
        """Start without waiting: a node of a cluster becomes ready only once most of the others run."""
        java = ["java", *JAVA_OPTIONS, f"-Xmx{self._heap}m", f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}"]
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

    def _server_properties(self) -> str:
        lines = {
            "node.id": str(self._number),
            "controller.quorum.voters": ",".join(self.voters),
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

    def wait_until_ready(self) -> None:
        """Wait until the node is ready. Raises BrokerError with the errors of the log if it ends or takes too long."""
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while READY not in self.log.read_text(errors="replace"):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise BrokerError(f"the broker did not start:\n{_why(self.log.read_text(errors='replace'))}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop in an orderly way. The storage remains for the next `start`, until `close`."""
        self.terminate()
        self._reap()

    def terminate(self) -> None:
        """Ask the node to stop in an orderly way, and do not wait."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the node, as in a crash."""
        self._signal(signal.SIGKILL)
        self._reap()

    def pause(self) -> None:
        """Suspend the node: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop, and remove the storage unless a folder was given."""
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
        """Create a topic with the tools in the broker's own jars, so that this script needs no Kafka client. Slow,
        because it starts a JVM."""
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


def _why(log: str) -> str:
    """Return the errors of the log and their causes, because the lines after them only report the shutdown. Without
    errors, return the end of the log."""
    told = [line for line in log.splitlines() if re.search(r"\] (ERROR|FATAL) |^Caused by: ", line)]
    return "\n".join(dict.fromkeys(told)) or log[-3000:]


def _end_with_parent() -> None:
    """On Linux, end the broker when the *thread* that started it ends, in whatever way. A broker should therefore be
    started from the main thread."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)

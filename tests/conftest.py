"""Fixtures of all tests: one Apache Kafka broker for each process that runs tests, and one thread for the arithmetic.

`KAFKA_BOOTSTRAP_SERVERS` names a broker to use. Without it a broker is started where Java and Maven are installed.
Without either, tests that need Kafka are skipped on a developer's machine and fail in CI (`CI` set), so that a green
run there means that they ran.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from uuid import uuid4

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: results to the last bit; cores are shared

import hypothesis
import pytest

BROKER_SCRIPT = Path(__file__).parents[1] / "deploy" / "local-kafka" / "broker.py"
sys.path.append(str(BROKER_SCRIPT.parent))  # the script is several files without a package


def load_broker_script() -> ModuleType:
    return importlib.import_module("broker")


MOST_WORKERS = 4
"""Most processes that run tests: each takes about 2 GB with its broker and the daemons that it starts."""

hypothesis.settings.register_profile(
    "untimed", hypothesis.settings.default, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")  # the time of an example depends on what else the machine does


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return the number of processes for `-n auto`: one more than there are processors, because tests on Kafka mostly
    wait."""
    return min((os.cpu_count() or 1) + 1, MOST_WORKERS)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile the detector once before several processes need its machine code at the same time. Compiling takes each
    of them a minute of a processor, and a test that waits for daemons would wait for all of that."""
    if getattr(session.config.option, "numprocesses", None) and not hasattr(session.config, "workerinput"):
        script = "from streams import detector, schema, wave; detector(schema(['x', 'y'])).step(wave())"
        path = os.pathsep.join(["tests/unit/detection", *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = os.environ | {"PYTHONPATH": path}
        subprocess.run([sys.executable, "-c", script], cwd=BROKER_SCRIPT.parents[2], env=environment, check=False)


LOG_LINES = 30


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the last lines of the logs that the processes of a failed test have written below its `tmp_path`."""
    report = yield
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    if report.when == "call" and report.failed and folder is not None:
        for log in sorted(folder.rglob("*.jsonl")):
            with suppress(OSError):  # the process may have removed it just now
                lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
                report.sections.append((f"end of {log.relative_to(folder)}", "\n".join(lines)))
    return report


@pytest.fixture
def in_a_terminal() -> Iterator[None]:
    """Give SIGHUP, which a terminal sends when it closes, its default effect, even if the tests run under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@dataclass(frozen=True)
class KafkaBroker:
    """A broker to test against. `bootstrap` is its plaintext address."""

    bootstrap: str

    def topic(self, name_prefix: str, partitions: int = 1, configs: Mapping[str, str] | None = None) -> str:
        """Create a new topic with so many partitions, and return its name."""
        from kafka.admin import KafkaAdminClient, NewTopic

        from anomaly_daemon.transport.kafka.sockets import PROXY_URL

        name = f"{name_prefix}-{uuid4().hex[:10]}"
        # The records of tests have old timestamps: with a retention time the broker would delete them within minutes.
        kept = {"retention.ms": "-1"}
        admin = KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=self.bootstrap)
        try:
            admin.create_topics([NewTopic(name, partitions, 1, topic_configs=kept | dict(configs or {}))])
        finally:
            admin.close()
        return name


def no_kafka(reason: str) -> None:
    """Skip the test on a developer's machine, fail it in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"Kafka tests must run in CI: {reason}", pytrace=False)
    pytest.skip(f"no Apache Kafka: {reason}")


@pytest.fixture(scope="session")
def broker_script() -> ModuleType:
    """deploy/local-kafka/broker.py as a module. Skips the test (fails it in CI) where it could not start a broker."""
    script = load_broker_script()
    if lack := script.missing():
        no_kafka(f"{lack}; install Java 17 and Maven, or set KAFKA_BOOTSTRAP_SERVERS")
    return script


@pytest.fixture(scope="session")
def broker_at() -> type[KafkaBroker]:
    """broker_at(bootstrap): a broker that the test started itself."""
    return KafkaBroker


@pytest.fixture(scope="session")
def kafka_broker(request: pytest.FixtureRequest) -> Iterator[KafkaBroker]:
    """The Apache Kafka broker of this session: `.bootstrap`, and `.topic(prefix, partitions)` for a new topic."""
    given = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if given:
        yield KafkaBroker(given)
        return
    script = request.getfixturevalue("broker_script")
    try:
        broker = script.Broker().start()
    except script.BrokerError as error:
        no_kafka(str(error))
    yield KafkaBroker(broker.bootstrap)
    broker.close()

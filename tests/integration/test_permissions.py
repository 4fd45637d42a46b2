"""What `anomaly-daemon run` reports, and its exit code, where access is denied: at its start, and when a right is
revoked later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from daemon_process import Daemon, Deployment, readings, wait_for
from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    NewTopic,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)

from anomaly_daemon.configuration import load
from anomaly_daemon.transport.kafka.requests import RequestQueue
from anomaly_daemon.transport.kafka.sockets import PROXY_URL

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]

LINES = readings(["press"], 80, [50])
TOPIC, GROUP, TRANSACTIONAL_ID = ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID
Right = tuple[ResourceType, str, str]

RIGHTS: dict[str, Right] = {
    "input": (TOPIC, "readings", "READ"),
    "alerts": (TOPIC, "readings-alerts", "WRITE"),
    "dead letters": (TOPIC, "readings-dead-letters", "WRITE"),
    "snapshots": (TOPIC, "readings-snapshots", "WRITE"),
    "state": (TOPIC, "readings-snapshots", "READ"),
    "group": (GROUP, "readings", "READ"),
    "transactional id": (TRANSACTIONAL_ID, "the-one", "WRITE"),
}
NAMED = {
    "input": "readings",
    "alerts": "readings-alerts",
    "dead letters": "readings-dead-letters",
    "snapshots": "readings-snapshots",
    "state": "readings-snapshots",
    "group": "grant READ on the consumer group",
    "transactional id": "grant WRITE on the transactional id",
}


@pytest.fixture(scope="module")
def guarded(broker_script: Any) -> Iterator[Any]:
    """A broker on which clients that do not log in may do everything, and the user alice only what she is granted."""
    login = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="secret";'
    properties = {"sasl.enabled.mechanisms": "PLAIN", "plain.sasl.jaas.config": login}
    with broker_script.Broker(
        listeners=[broker_script.Listener("LOGIN", "SASL_PLAINTEXT", properties)],
        properties={
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        },
    ) as broker:
        yield broker


class Guard:
    """The access list of one deployment, whose topics exist."""

    def __init__(self, broker: Any, folder: Path, name: str) -> None:
        self.prefix = name
        self.one = Deployment(
            broker.bootstrap,
            name,
            folder,
            f"kafka.bootstrap_servers={broker.addresses['LOGIN']}",
            "kafka.security_protocol=SASL_PLAINTEXT",
            "kafka.sasl_mechanism=PLAIN",
            "kafka.sasl_plain_username=alice",
            "kafka.sasl_plain_password=secret",
            f"kafka.transactional_id={name}-the-one",
            "sink.create_topics=false",
            "limits.retry_seconds=20",
        )
        self._bootstrap = broker.bootstrap
        self.one.create_topics()

    def _named(self, right: Right) -> tuple[ResourceType, str, ACLOperation]:
        kind, name, operation = right
        name = name.replace("readings", self.prefix) if kind is not TRANSACTIONAL_ID else f"{self.prefix}-{name}"
        return kind, name, ACLOperation[operation]

    def grant(self, *rights: Right) -> None:
        with closing(KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=self._bootstrap)) as admin:
            acls = []
            for kind, name, operation in map(self._named, rights):
                pattern = ResourcePattern(kind, name)
                for each in (operation, ACLOperation.DESCRIBE):
                    acls += [ACL("User:alice", "*", each, ACLPermissionType.ALLOW, pattern)]
            admin.create_acls(acls)

    def grant_prefixed(self, kind: ResourceType, name: str, operation: str) -> None:
        pattern = ResourcePattern(kind, name, ACLResourcePatternType.PREFIXED)
        with closing(KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=self._bootstrap)) as admin:
            admin.create_acls([ACL("User:alice", "*", ACLOperation[operation], ACLPermissionType.ALLOW, pattern)])

    def revoke(self, right: Right) -> None:
        kind, name, operation = self._named(right)
        pattern = ResourcePatternFilter(kind, name, ACLResourcePatternType.LITERAL)
        with closing(KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=self._bootstrap)) as admin:
            admin.delete_acls([ACLFilter("User:alice", "*", operation, ACLPermissionType.ALLOW, pattern)])


@pytest.fixture
def guard(guarded: Any, tmp_path: Path, daemons: list[Daemon], request: pytest.FixtureRequest) -> Guard:
    return Guard(guarded, tmp_path, f"readings{abs(hash(request.node.name))}")


@pytest.mark.parametrize("lacking", NAMED)
def test_a_right_that_lacks_at_the_start_is_named(guard: Guard, lacking: str) -> None:
    guard.grant(*(right for name, right in RIGHTS.items() if name != lacking))
    guard.one.produce(LINES)
    daemon = guard.one.start()
    assert daemon.process.wait(timeout=90) == 77
    assert NAMED[lacking].replace("readings", guard.prefix) in daemon.log().splitlines()[-1]


@pytest.mark.parametrize("lost", ["input", "alerts", "snapshots", "group", "transactional id"])
def test_a_right_that_is_taken_away_is_named(guard: Guard, lost: str) -> None:
    guard.grant(*RIGHTS.values())
    daemon = guard.one.start()
    wait_for("it to be ready", daemon.ready)
    guard.one.produce(LINES[:20])
    wait_for("the first part to be committed", lambda: guard.one.committed() == 20)
    guard.revoke(RIGHTS[lost])
    guard.one.produce(LINES[20:])
    assert daemon.process.wait(timeout=90) == 77
    assert NAMED[lost].replace("readings", guard.prefix) in daemon.log().splitlines()[-1]


def test_a_worker_of_retraining_needs_no_right_to_create_topics_that_are_there(guard: Guard) -> None:
    requests, results, group = (f"{guard.prefix}-{name}" for name in ("requests", "results", "workers"))
    with closing(KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=guard.one.bootstrap)) as admin:
        admin.create_topics([NewTopic(name, 1, 1) for name in (requests, results)])
    rights = [(TOPIC, f"readings-{name}", right) for name in ("requests", "results") for right in ("READ", "WRITE")]
    guard.grant(*rights, (GROUP, "readings-workers", "READ"))
    guard.grant_prefixed(TRANSACTIONAL_ID, group, "WRITE")
    topics = [f"retraining.requests_topic={requests}", f"retraining.results_topic={results}"]
    settings = load(None, [*guard.one.overrides, *topics, f"retraining.group_id={group}"], {})
    with closing(RequestQueue(settings.kafka, settings.retraining)) as queue:
        queue.ask("a1", b"{}")
        received = wait_for("the request", lambda: queue.next(1.0))
        assert not queue.answered("a1")
        queue.answer(received, "a1", b"{}")
        assert queue.answered("a1")


def test_a_wrong_password_ends_it_at_once(guard: Guard) -> None:
    daemon = guard.one.start("kafka.sasl_plain_password=wrong")
    assert daemon.process.wait(timeout=60) == 77
    assert "check kafka.sasl_plain_username and its password" in daemon.log()

"""TLS, mutual TLS and SASL with a broker that requires them, and the messages when a setting does not fit."""

from __future__ import annotations

import errno
import json
import ssl
import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer

from anomaly_daemon.errors import ConfigurationError, DaemonError, NotPermitted, Unavailable
from anomaly_daemon.settings import KafkaSettings
from anomaly_daemon.transport.kafka.checks import check_online
from anomaly_daemon.transport.kafka.connection import connect
from anomaly_daemon.transport.kafka.probe import find_fault
from anomaly_daemon.transport.kafka.sockets import PROXY_URL
from anomaly_daemon.transport.ports import Commit, Outgoing, Partition

pytestmark = pytest.mark.kafka

PASSWORD = "p4ss,word"
MODULES = "org.apache.kafka.common.security"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of certificates. ca.pem is the authority that signed server.pem and expired.pem (both for the name
    localhost) and client.pem. stranger.pem is another authority."""
    folder = tmp_path_factory.mktemp("certificates")

    def make(name: str, *more: str) -> None:
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "2", "-subj", f"/CN={name}"]
        command += ["-keyout", f"{name}.key", "-out", f"{name}.pem", *more]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)

    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE")
    make("ca")
    make("stranger")
    make("server", *signed, "-addext", "subjectAltName=DNS:localhost")
    make("client", *signed)
    make_expired(folder)
    for name in ("server", "expired"):
        (folder / f"{name}.both").write_text(
            (folder / f"{name}.key").read_text() + (folder / f"{name}.pem").read_text()
        )
    return folder


def make_expired(folder: Path) -> None:
    """Make expired.pem, signed by the same authority. `openssl req` can only issue from now on; only `openssl ca`
    accepts another start date."""
    (folder / "ca.cnf").write_text(
        "[ca]\ndefault_ca = own\n[own]\ndatabase = index\nserial = serial\nnew_certs_dir = .\ndefault_md = sha256\n"
        "policy = any\n[any]\ncommonName = supplied\n"
    )
    (folder / "serial").write_text("01\n")
    (folder / "index").touch()
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    asked = "req -newkey rsa:2048 -noenc -subj /CN=expired -keyout expired.key -out expired.csr"
    signed = (
        "ca -batch -notext -config ca.cnf -cert ca.pem -keyfile ca.key -extfile names -in expired.csr -out expired.pem"
    )
    for words in (asked, f"{signed} -startdate 20200101000000Z -enddate 20210101000000Z"):
        subprocess.run(["openssl", *words.split()], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def secured(broker_script: Any, certificates: Path) -> Iterator[Any]:
    """A broker with one listener of each kind, and with access lists. Only clients that are not authenticated
    (ANONYMOUS), such as those of the plaintext listener, may do everything."""
    tls = {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(certificates / "server.both")}
    mutual = tls | {
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(certificates / "ca.pem"),
        "ssl.client.auth": "required",
    }
    plain = f'{MODULES}.plain.PlainLoginModule required user_alice="{PASSWORD}";'
    scram = f"{MODULES}.scram.ScramLoginModule required;"
    bearer = f'{MODULES}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";'
    scrams = {f"scram-sha-{bits}.sasl.jaas.config": scram for bits in (256, 512)}
    listener = broker_script.Listener
    with broker_script.Broker(
        listeners=[
            listener("TLS", "SSL", tls),
            listener("EXPIRED", "SSL", tls | {"ssl.keystore.location": str(certificates / "expired.both")}),
            listener("MUTUAL", "SSL", mutual),
            listener("PLAIN", "SASL_PLAINTEXT", {"sasl.enabled.mechanisms": "PLAIN", "plain.sasl.jaas.config": plain}),
            listener("SCRAM", "SASL_SSL", tls | scrams | {"sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512"}),
            listener(
                "BEARER",
                "SASL_PLAINTEXT",
                {"sasl.enabled.mechanisms": "OAUTHBEARER", "oauthbearer.sasl.jaas.config": bearer},
            ),
        ],
        scram_users={"alice": "scram-password"},
        properties={
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        },
    ) as broker:
        yield broker


@pytest.fixture
def settings(secured: Any, certificates: Path) -> Callable[..., KafkaSettings]:
    """Makes the settings for a listener, as in settings("TLS", ...). With TLS they name the certificate authority."""

    def make(listener: str, **more: Any) -> KafkaSettings:
        fixed = {
            "bootstrap_servers": secured.addresses[listener],
            "bootstrap_timeout_seconds": 1.0,
        }
        tls = str(more.get("security_protocol")).endswith("SSL")
        return KafkaSettings(**(fixed | ({"ssl_cafile": certificates / "ca.pem"} if tls else {}) | more))

    return make


def plain(password: str = PASSWORD) -> dict[str, Any]:
    return {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "alice",
        "sasl_plain_password": password,
    }


def reaches(kafka: KafkaSettings) -> bool:
    admin: Any = connect(kafka, KafkaAdminClient)
    try:
        return bool(admin.describe_cluster()["brokers"])
    finally:
        admin.close()


def fault_of(kafka: KafkaSettings) -> str:
    with pytest.raises(DaemonError) as caught:
        connect(kafka, KafkaAdminClient)
    return f"{type(caught.value).__name__}: {caught.value}"


def test_tls(settings: Any) -> None:
    assert reaches(settings("TLS", security_protocol="SSL"))


def test_mutual_tls(settings: Any, certificates: Path) -> None:
    ours = {"ssl_certfile": certificates / "client.pem", "ssl_keyfile": certificates / "client.key"}
    assert reaches(settings("MUTUAL", security_protocol="SSL", **ours))


def test_sasl_plain(settings: Any) -> None:
    assert reaches(settings("PLAIN", **plain()))


def test_a_password_comes_from_a_file(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    given = plain() | {"sasl_plain_password": None, "sasl_plain_password_file": tmp_path / "password"}
    assert reaches(settings("PLAIN", **given))


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_sasl_scram_over_tls(settings: Any, mechanism: str) -> None:
    given = plain("scram-password") | {"security_protocol": "SASL_SSL", "sasl_mechanism": mechanism}
    assert reaches(settings("SCRAM", **given))


def test_sasl_oauthbearer_with_a_token_from_a_file(settings: Any, tmp_path: Path) -> None:
    claims = {"sub": "alice", "iat": 1_600_000_000, "exp": 4_000_000_000}
    parts = (urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "none"}, claims))
    (tmp_path / "token").write_text(".".join(parts) + ".\n")
    bearer = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "OAUTHBEARER"}
    assert reaches(settings("BEARER", sasl_oauth_token_file=tmp_path / "token", **bearer))


def test_consumers_and_producers_are_let_in_by_the_same_settings(settings: Any) -> None:
    for client in (KafkaConsumer, KafkaProducer):
        made: Any = connect(settings("TLS", security_protocol="SSL"), client)
        made.close()


def test_plaintext_spoken_to_a_tls_port_is_told(settings: Any) -> None:
    assert "kafka.security_protocol to SSL or SASL_SSL" in fault_of(settings("TLS"))


def test_tls_spoken_to_a_plaintext_port_is_told(settings: Any) -> None:
    said = fault_of(settings("PLAINTEXT", security_protocol="SSL"))
    assert said.startswith("ConfigurationError")
    assert "no TLS there" in said


def test_an_unknown_authority_is_told(settings: Any, certificates: Path) -> None:
    said = fault_of(settings("TLS", security_protocol="SSL", ssl_cafile=certificates / "stranger.pem"))
    assert "certificate is not accepted" in said
    assert said.endswith("set kafka.ssl_cafile to the authority that signed it")


def test_a_certificate_that_has_expired_is_told_without_a_word_of_its_authority(settings: Any) -> None:
    said = fault_of(settings("EXPIRED", security_protocol="SSL"))
    assert "certificate has expired; the broker needs a new one" in said
    assert "kafka.ssl_cafile" not in said


def test_a_certificate_for_another_name_is_told_and_the_check_may_be_switched_off(settings: Any) -> None:
    kafka = settings("TLS", security_protocol="SSL")
    by_number = {"bootstrap_servers": kafka.bootstrap_servers.replace("localhost", "127.0.0.1")}
    said = fault_of(kafka.model_copy(update=by_number))
    assert "IP address mismatch" in said
    assert "kafka.ssl_cafile" not in said
    assert reaches(kafka.model_copy(update=by_number | {"ssl_check_hostname": False}))


def test_a_missing_client_certificate_is_told(settings: Any) -> None:
    assert "set kafka.ssl_certfile and kafka.ssl_keyfile" in fault_of(settings("MUTUAL", security_protocol="SSL"))


def test_a_key_that_is_encrypted_is_opened_or_its_password_is_asked_for(
    settings: Any, certificates: Path, tmp_path: Path
) -> None:
    locked = tmp_path / "locked.key"
    command = ["openssl", "pkcs8", "-topk8", "-v2", "aes256", "-in", str(certificates / "client.key")]
    subprocess.run([*command, "-out", str(locked), "-passout", "pass:opener"], check=True, capture_output=True)
    ours = {"security_protocol": "SSL", "ssl_certfile": certificates / "client.pem", "ssl_keyfile": locked}
    assert reaches(settings("MUTUAL", **ours, ssl_password="opener"))
    assert fault_of(settings("MUTUAL", **ours)).endswith("is encrypted: set kafka.ssl_password (or ..._file)")
    said = fault_of(settings("MUTUAL", **ours, ssl_password="wrong-one"))
    assert said.endswith("is encrypted: kafka.ssl_password does not open it")
    others = ours | {"ssl_certfile": certificates / "server.pem", "ssl_password": "opener"}
    assert "KEY_VALUES_MISMATCH" in fault_of(settings("MUTUAL", **others))


def test_a_file_that_is_not_ours_to_read_is_an_error_of_permission(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", refused)
    said = fault_of(settings("TLS", security_protocol="SSL"))
    assert said == "NotPermitted: kafka.ssl_cafile may not be read: Permission denied"


def test_a_certificate_file_that_is_not_there_is_told(settings: Any) -> None:
    said = fault_of(settings("TLS", security_protocol="SSL", ssl_cafile=Path("/no/such.pem")))
    assert "kafka.ssl_cafile cannot be used" in said


def test_a_wrong_password_is_told_at_once(settings: Any) -> None:
    kafka = settings("PLAIN", bootstrap_timeout_seconds=600.0, **plain("wrong"))
    assert fault_of(kafka).startswith("NotPermitted")
    scram = plain("wrong") | {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512"}
    said = fault_of(settings("SCRAM", bootstrap_timeout_seconds=600.0, **scram))
    assert said.startswith("NotPermitted")
    assert "wrong" not in said.split("SCRAM")[0], "no password in an error"


def test_a_listener_that_asks_for_a_login_says_which(settings: Any) -> None:
    said = fault_of(settings("PLAIN"))
    assert "SASL_PLAINTEXT" in said
    assert "one of PLAIN" in said


def test_another_mechanism_than_offered_is_told(settings: Any) -> None:
    said = fault_of(settings("PLAIN", **(plain() | {"sasl_mechanism": "SCRAM-SHA-256"})))
    assert "set kafka.sasl_mechanism to PLAIN" in said


def test_a_login_nobody_asked_for_is_told(settings: Any) -> None:
    assert "takes no login" in fault_of(settings("PLAINTEXT", **plain()))


def test_a_port_where_nobody_listens_is_waited_for_and_then_told(broker_script: Any) -> None:
    (port,) = broker_script.free_ports(1)
    kafka = KafkaSettings(bootstrap_servers=f"localhost:{port}", bootstrap_timeout_seconds=0.2)
    said = fault_of(kafka)
    assert said.startswith("Unavailable")
    assert "connection refused" in said


def test_one_server_of_several_is_enough(secured: Any, broker_script: Any) -> None:
    (port,) = broker_script.free_ports(1)
    assert find_fault([f"localhost:{port}", secured.bootstrap], {}) is None
    assert isinstance(find_fault([f"localhost:{port}"], {}), Unavailable)
    assert isinstance(find_fault([], {}), ConfigurationError)
    assert isinstance(find_fault(["localhost:many"], {}), ConfigurationError)


def test_permissions_that_lack_are_found(secured: Any, settings: Any, make_settings: Any, allow: Any) -> None:
    """The user alice may read the input and describe all topics, and nothing else."""
    topics = {name: make_settings.topic(secured.bootstrap, name) for name in ("input", "alerts", "dead", "snapshots")}
    allow(secured.bootstrap, "alice", topics["input"], "READ")
    for name in topics.values():
        allow(secured.bootstrap, "alice", name, "DESCRIBE")
    kafka = settings("PLAIN", **plain()).model_dump(exclude_unset=True)

    found = check_online(make_settings(topics, kafka | {"sasl_plain_password": PASSWORD}))

    failed = {finding.what: finding.detail for finding in found if not finding.ok}
    assert failed[f"permission on {topics['alerts']}"] == "grant WRITE"
    assert failed[f"permission on {topics['snapshots']}"] == "grant READ and WRITE"
    assert f"permission on {topics['input']}" not in failed
    assert "grant READ" in failed["permission on group anomaly-daemon"]
    assert "grant WRITE" in failed["permission on transactional id anomaly-daemon-..."]


def test_settings_of_topics_that_this_user_may_not_see_are_not_called_right(
    secured: Any, settings: Any, make_settings: Any, allow: Any
) -> None:
    topics = {name: make_settings.topic(secured.bootstrap, name) for name in ("input", "alerts", "dead", "snapshots")}
    for name in topics.values():
        allow(secured.bootstrap, "alice", name, "READ")
    for name in set(topics.values()) - {topics["snapshots"]}:
        allow(secured.bootstrap, "alice", name, "DESCRIBE_CONFIGS")
    kafka = settings("PLAIN", **plain()).model_dump(exclude_unset=True) | {"sasl_plain_password": PASSWORD}

    found = {one.what: one for one in check_online(make_settings(topics, kafka))}

    unseen = found[f"settings of {topics['snapshots']}"]
    assert unseen.ok
    assert unseen.doubtful
    assert "grant DESCRIBE_CONFIGS" in unseen.detail
    assert found[f"snapshots in {topics['snapshots']}"].detail == "with as many partitions as the input"


def test_a_user_without_rights_to_transactions_delivers_at_least_once(
    secured: Any, settings: Any, make_settings: Any, allow: Any, polling: Any, taking_all: Any
) -> None:
    from anomaly_daemon.settings import SourceSettings
    from anomaly_daemon.transport.kafka.delivery import KafkaDelivery
    from anomaly_daemon.transport.kafka.plain_delivery import PlainDelivery
    from anomaly_daemon.transport.kafka.snapshots import KafkaSnapshots
    from anomaly_daemon.transport.kafka.source import KafkaSource

    topics = {name: make_settings.topic(secured.bootstrap, name) for name in ("input", "alerts", "dead", "snapshots")}
    for name, operations in {"input": "READ", "alerts": "WRITE", "dead": "WRITE", "snapshots": "READ WRITE"}.items():
        for operation in operations.split():
            allow(secured.bootstrap, "alice", topics[name], operation)
    allow_group(secured.bootstrap, "alice", "plain-group")
    kafka = settings("PLAIN", **plain(), group_id="plain-group")
    whole = make_settings(topics, kafka.model_dump(exclude_unset=True) | {"sasl_plain_password": PASSWORD})
    sink = whole.sink.model_copy(update={"delivery": "at_least_once"})
    found = check_online(whole.model_copy(update={"sink": sink}))
    assert {finding.what for finding in found if not finding.ok and "permission" in finding.what} == set()

    partition = Partition(topics["input"], 0)
    with ExitStack() as stack:
        source = KafkaSource(kafka, SourceSettings(topic=partition.topic))
        stack.callback(source.close)
        told = taking_all(source)
        source.subscribe(told)
        polling([source], lambda _: bool(told.owned))
        with pytest.raises(NotPermitted):
            KafkaDelivery(kafka, sink, whole.snapshot, source.membership, deadline_seconds=30.0)
        delivery = PlainDelivery(kafka, sink, whole.snapshot, source.membership, deadline_seconds=30.0)
        stack.callback(delivery.close)
        stored = [Outgoing(b"ledger", b"first")]
        delivery.deliver(Commit({partition: 5}, [Outgoing(b"k", b"alert")], snapshots={partition: stored}))
        snapshots = KafkaSnapshots(kafka, whole.snapshot)
        stack.callback(snapshots.close)
        assert source.committed(partition) == 5
        assert snapshots.load(partition) == {b"ledger": b"first"}


def allow_group(bootstrap: str, user: str, group: str) -> None:
    from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType

    with closing(KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=bootstrap)) as admin:
        pattern = ResourcePattern(ResourceType.GROUP, group)
        admin.create_acls([ACL(f"User:{user}", "*", ACLOperation.READ, ACLPermissionType.ALLOW, pattern)])


def test_a_refused_topic_is_an_error_of_permission(secured: Any, settings: Any, make_settings: Any) -> None:
    from anomaly_daemon.settings import SourceSettings
    from anomaly_daemon.transport.kafka.source import KafkaSource

    topic = make_settings.topic(secured.bootstrap, "hidden")
    source = KafkaSource(settings("PLAIN", **plain()), SourceSettings(topic=topic))
    with pytest.raises(DaemonError, match="may not describe it"):
        source.subscribe(None)  # type: ignore[arg-type]

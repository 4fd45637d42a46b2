"""Errors of kafka-python become errors of this program, named for what the caller must do."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from subprocess import PIPE

import pytest
from kafka import errors as kafka_errors

from anomaly_daemon.errors import DaemonError, ExitCode, Fenced, Incompatible, NotPermitted, Unavailable
from anomaly_daemon.settings import KafkaSettings
from anomaly_daemon.transport.kafka.connection import secret, transactional_id
from anomaly_daemon.transport.kafka.failures import named, translate, unwrapped
from anomaly_daemon.transport.kafka.watchdog import watch


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (kafka_errors.ProducerFencedError(), Fenced),
        (kafka_errors.FencedInstanceIdError(), Fenced),
        (kafka_errors.TopicAuthorizationFailedError({"alerts"}), NotPermitted),
        (kafka_errors.SaslAuthenticationFailedError("no"), NotPermitted),
        (kafka_errors.MessageSizeTooLargeError(), Incompatible),
        (kafka_errors.UnknownTopicOrPartitionError(), Incompatible),
        (kafka_errors.InconsistentGroupProtocolError(), Incompatible),
        (kafka_errors.InvalidTopicError("bad topic"), Incompatible),
        (kafka_errors.InvalidReplicationFactorError(), Incompatible),
        (kafka_errors.PolicyViolationError(), Incompatible),
        (kafka_errors.InvalidConfigurationError(), Incompatible),
        (kafka_errors.KafkaTimeoutError("late"), Unavailable),
        (kafka_errors.KafkaConnectionError("gone"), Unavailable),
        (kafka_errors.NotLeaderForPartitionError(), Unavailable),
    ],
)
def test_an_error_is_named_for_what_to_do(theirs: Exception, ours: type[DaemonError]) -> None:
    found = translate(theirs, "committing")
    assert type(found) is ours
    assert str(found).startswith("committing")


def test_an_answer_that_the_client_only_names_is_that_error() -> None:
    """The text is made by kafka-python's own classes."""
    said = f"Unexpected error in TxnOffsetCommitResponse: {kafka_errors.TopicAuthorizationFailedError()}"
    found = unwrapped(kafka_errors.KafkaError(said))
    assert type(found) is kafka_errors.TopicAuthorizationFailedError
    assert isinstance(translate(found, "committing"), NotPermitted)
    for other in (
        kafka_errors.KafkaError("closed"),
        kafka_errors.KafkaError("[Error 7] NoSuchError"),
        ValueError(said),
    ):
        assert unwrapped(other) is other


def test_a_timeout_that_the_broker_does_not_allow_is_no_bug_though_the_client_only_names_the_error() -> None:
    """This is how kafka-python raises it when transactions are opened."""
    said = f"Unexpected error in InitProducerIdResponse: {kafka_errors.InvalidTransactionTimeoutError()}"
    with pytest.raises(Incompatible, match=r"kafka\.transaction_timeout_seconds"), named("opening transactions"):
        raise kafka_errors.KafkaError(said)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("'only 1 broker(s) are registered.'", "InvalidReplicationFactorError: only 1 broker(s) are registered; set"),
        ('"the broker\'s limit"', "InvalidReplicationFactorError: the broker's limit; set"),
        ("None", "InvalidReplicationFactorError; set sink.replication_factor"),
    ],
)
def test_of_a_refused_request_only_what_the_broker_says_is_told(message: str, said: str) -> None:
    answer = f"CreateTopicsResponse(topics=[Result(name='t', error_code=38, error_message={message}, configs=[])])"
    error = kafka_errors.InvalidReplicationFactorError(
        f"Request 'CreateTopicsRequest(a='b')' failed with response '{answer}'."
    )
    told = str(translate(error, "creating topic 't'"))
    assert said in told
    assert "Request" not in told


def test_what_is_not_expected_counts_as_a_bug() -> None:
    assert translate(kafka_errors.CorruptRecordError(), "reading").exit_code is ExitCode.BUG


def test_an_error_of_ours_inside_a_listener_comes_out_as_it_was() -> None:
    ours = Fenced("gone")
    wrapped = kafka_errors.KafkaError("User rebalance callback throws an error")
    wrapped.__cause__ = ours
    with pytest.raises(Fenced) as caught, named("polling"):
        raise wrapped
    assert caught.value is ours


def test_the_transactional_id_is_stable_where_the_instance_is() -> None:
    assert transactional_id(KafkaSettings(group_id="g", group_instance_id="pod-0"), "x") == "g-pod-0"
    assert transactional_id(KafkaSettings(group_id="g"), "x") == "g-x"
    assert transactional_id(KafkaSettings(group_id="g", transactional_id="chosen"), "x") == "chosen"


def test_no_secret_is_no_secret() -> None:
    assert secret(None, None, "kafka.ssl_password_file") is None


def test_the_watchdog_speaks_when_a_call_hangs_and_keeps_silent_otherwise() -> None:
    said: list[str] = []
    spoken = threading.Event()

    def speak(text: str) -> None:
        said.append(text)
        spoken.set()

    with watch("a commit", 0.01, speak):
        assert spoken.wait(10)
    with watch("a commit", 60, said.append):
        pass

    assert said == ["a commit has not ended within 0.01 s (limits.retry_seconds): no answer from Kafka"]


def test_what_the_watchdog_ends_says_so_in_the_log_and_to_a_person() -> None:
    script = """
import sys
from anomaly_daemon.daemon import logs
from anomaly_daemon.transport.kafka.watchdog import watch
logs.configure("json", "info", sys.stderr, deployment="sensors", process="1")
with watch("a commit", 0.01):
    input()
"""
    with subprocess.Popen([sys.executable, "-c", script], stdin=PIPE, stderr=PIPE, text=True) as process:
        assert process.wait(timeout=60) == ExitCode.TEMPORARY
        assert process.stderr is not None
        logged, said = process.stderr.read().splitlines()
    line = json.loads(logged)
    assert line["event"] == "ended immediately"
    assert (line["deployment"], line["process"], line["exit_code"], line["level"]) == ("sensors", "1", 75, "critical")
    assert line["reason"].startswith("a commit has not ended within")
    assert said == f"anomaly-daemon: error: {line['reason']}"


def test_an_error_is_named_once_however_often_the_client_does() -> None:
    inner = kafka_errors.SaslAuthenticationFailedError("wrong credentials")
    said = str(translate(kafka_errors.SaslAuthenticationFailedError(str(inner)), "reading"))
    assert said.startswith("reading: SaslAuthenticationFailedError: wrong credentials; check ")

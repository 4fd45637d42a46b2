"""Translates kafka-python's errors to errors that are named for what the caller must do (law L10)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from kafka import errors as kafka_errors

from anomaly_daemon.errors import DaemonError, Fenced, Incompatible, NotPermitted, Unavailable

FENCED = (
    kafka_errors.ProducerFencedError,
    kafka_errors.InvalidProducerEpochError,
    kafka_errors.FencedInstanceIdError,
    kafka_errors.TransactionCoordinatorFencedError,
)
"""Another instance with our transactional id or group instance id has started, and owns what this one owned."""

TOO_LARGE = (kafka_errors.MessageSizeTooLargeError, kafka_errors.RecordListTooLargeError)

NOT_PERMITTED = (kafka_errors.AuthorizationError, kafka_errors.SaslAuthenticationFailedError)

REFUSED_TOPIC = (
    kafka_errors.InvalidPartitionsError,
    kafka_errors.InvalidConfigurationError,
    kafka_errors.PolicyViolationError,
)
"""The cluster does not create a topic with these settings."""

INCOMPATIBLE = (
    kafka_errors.UnsupportedVersionError,
    kafka_errors.UnsupportedSaslMechanismError,
    kafka_errors.InconsistentGroupProtocolError,
    kafka_errors.InvalidSessionTimeoutError,
    kafka_errors.InvalidTransactionTimeoutError,
    kafka_errors.KafkaConfigurationError,
    kafka_errors.InvalidTopicError,
    kafka_errors.InvalidReplicationFactorError,
    *REFUSED_TOPIC,
)

ADVICE = {
    kafka_errors.InconsistentGroupProtocolError: "another kind of consumer is in this group: change kafka.group_id",
    kafka_errors.InvalidSessionTimeoutError: "the broker allows kafka.session_timeout_seconds only within its "
    "group.min.session.timeout.ms and group.max.session.timeout.ms",
    kafka_errors.InvalidTransactionTimeoutError: "the broker allows kafka.transaction_timeout_seconds only from a "
    "millisecond to its transaction.max.timeout.ms",
    kafka_errors.InvalidTopicError: "a topic's name holds up to 249 letters, digits, '.', '_' and '-'",
    kafka_errors.InvalidReplicationFactorError: "set sink.replication_factor to at most the number of brokers, or to "
    "-1, their default",
    **dict.fromkeys(REFUSED_TOPIC, "create the topic yourself, with settings that the cluster allows"),
    kafka_errors.TopicAuthorizationFailedError: "the topic's access list does not let this user in",
    kafka_errors.SaslAuthenticationFailedError: "check kafka.sasl_plain_username and its password, or the token",
    kafka_errors.GroupAuthorizationFailedError: "grant READ on the consumer group",
    kafka_errors.TransactionalIdAuthorizationFailedError: "grant WRITE on the transactional id",
}


WRAPPED = re.compile(r"\[Error \d+\] (\w+)")
ANSWERED = re.compile(r"Request '.*' failed with response '(?:.*error_message=(['\"])(.*?)\1,)?.*'\.", re.DOTALL)
"""The text of an error of kafka-python's admin client: the whole request and the whole response. The second group is
what the broker says about it, where it says anything."""


def unwrapped(error: BaseException) -> BaseException:
    """Return the error that `error` stands for. kafka-python raises some of the coordinator's answers as a plain
    KafkaError whose text names the real error. Any other error is returned unchanged."""
    matched = WRAPPED.search(str(error)) if type(error) is kafka_errors.KafkaError else None
    kind = getattr(kafka_errors, matched[1], None) if matched else None
    return kind(str(error)) if isinstance(kind, type) and issubclass(kind, kafka_errors.KafkaError) else error


def translate(error: BaseException, doing: str) -> DaemonError:
    """Return the error to raise instead of `error`, which occurred while `doing`. An error that is not expected becomes
    a plain DaemonError."""
    if isinstance(error, DaemonError):
        return error
    error = unwrapped(error)
    name = type(error).__name__
    message = re.sub(rf"^(\[Error \d+\] |{name}(: |$))+", "", str(error))  # without its own name, once or twice
    message = ANSWERED.sub(lambda answered: (answered[2] or "").removesuffix("."), message)
    text = f"{doing}: {name}: {message}".removesuffix(": ")
    if advice := ADVICE.get(type(error)):
        text = f"{text}; {advice}"
    if isinstance(error, FENCED):
        return Fenced(f"{doing}: another instance with the same id has taken over ({type(error).__name__})")
    if isinstance(error, TOO_LARGE):
        return Incompatible(f"{text}; raise max.message.bytes of the topic, and start again: nothing is lost")
    if isinstance(error, NOT_PERMITTED):
        return NotPermitted(text)
    if isinstance(error, INCOMPATIBLE):
        return Incompatible(text)
    if isinstance(error, kafka_errors.UnknownTopicOrPartitionError):
        return Incompatible(f"{text}; create the topic, or set sink.create_topics")
    if isinstance(error, kafka_errors.KafkaError) and error.retriable:
        return Unavailable(text)
    return DaemonError(text)  # exit code 70: a bug, to be reported with its traceback


@contextmanager
def named(doing: str) -> Iterator[None]:
    """Translate an error that kafka-python raises inside the block to one of this program's errors."""
    try:
        yield
    except kafka_errors.KafkaError as error:
        raise translate(within(error), doing) from error


def within(error: BaseException) -> BaseException:
    """Return the DaemonError that a rebalance listener raised and the client wrapped, or `error` itself."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, DaemonError):
        cause = cause.__cause__
    return cause or error

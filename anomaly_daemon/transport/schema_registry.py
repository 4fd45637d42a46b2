"""Fetches schemas by id from a registry with Confluent's REST interface (Confluent, Apicurio, Karapace, Redpanda).

If the registry is away, the daemon waits for it and then ends. Its records are read once the registry is back, and none
is lost. An id that the registry does not have is a fault of the record.
"""

from __future__ import annotations

import json
import math
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import quote

from anomaly_daemon.errors import ConfigurationError, DaemonError, NotPermitted, Unavailable
from anomaly_daemon.settings import RegistrySettings
from anomaly_daemon.transport import web
from anomaly_daemon.transport.json_tree import REGISTRY_PREFIX
from anomaly_daemon.transport.rejection import NoSchema

PATIENCE_SECONDS = 30.0
"""How long a request is repeated while the registry is away, busy or broken."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
UNKNOWN_SECONDS = 60.0
"""An id that the registry did not have is requested again after this long, as the registry may be a replica that lags
behind."""
MOST_UNKNOWN = 10_000
LARGEST_ANSWER = 10_000_000
MOST_REFERENCES = 1000
NOT_FOUND = {40401: "subject", 40402: "version", 40403: "schema"}
"""The registry's own error codes in the body of a 404. Any other 404 comes from something else than a registry."""


UNFRAMED = (
    "it does not begin with a schema id (a zero byte and four bytes), as a schema registry's serializers write it"
)
AnySchema = TypeVar("AnySchema")


class Text(NamedTuple):
    """A schema as the registry has it, and the name under which a schema refers to it (its own is empty)."""

    name: str
    text: str


class Language(NamedTuple, Generic[AnySchema]):
    """A language that schemas are written in."""

    kind: str
    """The registry's name for it."""
    section: str
    """The section of the configuration that names the registry."""
    read: Callable[[Text, Sequence[Text]], AnySchema]
    """Returns the schema, given also all schemas that it refers to, each after those that it refers to itself. Raises
    NoSchema, or ConfigurationError where the registry's answers cannot be used at all."""
    form: str = ""
    """The form in which the registry should give schemas, as a query."""
    without_form: str = ""
    """What to do about a registry that does not give schemas in that form."""


def schema_id(value: bytes) -> int:
    """Return the id of the schema that a value was written with. Raises NoSchema if it does not begin with one."""
    if value[:1] != b"\0" or len(value) < REGISTRY_PREFIX:
        raise NoSchema(UNFRAMED)
    return int.from_bytes(value[1:REGISTRY_PREFIX], "big")


class SchemaRegistry(Generic[AnySchema]):
    """The schemas of one registry. Each is requested once, and then cached."""

    def __init__(
        self,
        settings: RegistrySettings,
        language: Language[AnySchema],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Raises NotPermitted, NoInput or ConfigurationError if the `registry_cafile` cannot be used."""
        self.url, self._language = (settings.registry_url or "").rstrip("/"), language
        self._clock, self._sleep = clock, sleep
        self._known: dict[int, AnySchema] = {}
        self._unknown: dict[int, tuple[float, str]] = {}
        self._headers = {"Accept": "application/vnd.schemaregistry.v1+json, application/json"} | _login(settings)
        self._open = web.opener(settings.registry_cafile, f"{language.section}.registry_cafile")

    def schema(self, number: int) -> AnySchema:
        """Return the schema with this id.

        Raises:
            NoSchema: the registry does not have it, or not all that it refers to, or it is not a usable schema of the
                language.
            Unavailable, NotPermitted, ConfigurationError: the registry gave no usable answer.
        """
        if number not in self._known:
            until, why = self._unknown.get(number, (-math.inf, None))
            if why is not None and self._clock() < until:
                raise NoSchema(why)  # a new one, as each raise lengthens an exception's traceback
            self._known[number] = self._asked_for(number)
        return self._known[number]

    def newest(self, subject: str) -> AnySchema:
        """Return the newest schema of a subject. Raises as `schema` does."""
        return self._read(self._of_subject(subject, "latest"))

    def _asked_for(self, number: int) -> AnySchema:
        try:
            return self._read(self._by_id(number))
        except NoSchema as error:
            why = f"schema {number}: {error}"
            if len(self._unknown) >= MOST_UNKNOWN:
                self._unknown.clear()
            self._unknown[number] = self._clock() + UNKNOWN_SECONDS, why
            raise NoSchema(why) from error

    def _read(self, answer: Any) -> AnySchema:
        try:
            text, kind = answer["schema"], answer.get("schemaType") or "AVRO"
            if kind != self._language.kind:
                raise NoSchema(f"it is of the type {kind}, and stream.format is {self._language.kind.lower()}")
            referred = list(self._referred(answer, set()))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._no_registry() from error
        if not all(isinstance(one, str) for one in (text, *(other.text for other in referred))):
            raise self._no_registry()
        return self._language.read(Text("", text), referred)

    def _no_registry(self) -> ConfigurationError:
        reason = f"{self.url} answers, but not as a schema registry does"
        return ConfigurationError(f"{self._language.section}.registry_url: {reason}")

    def _referred(self, answer: Any, met: set[tuple[str, int]]) -> Iterator[Text]:
        """Yield the schemas that an answer's schema refers to, each once, and after those that it refers to itself.
        `met` has the references found so far."""
        for reference in answer.get("references") or ():
            subject, version = str(reference["subject"]), int(reference["version"])
            if (subject, version) in met:
                continue
            met.add((subject, version))
            if len(met) > MOST_REFERENCES:
                raise NoSchema(f"it refers to more than {MOST_REFERENCES} others")
            other = self._of_subject(subject, version)
            yield from self._referred(other, met)
            yield Text(str(reference.get("name", "")), other["schema"])

    def _of_subject(self, subject: str, version: int | str) -> Any:
        """Return the answer for a version of a subject. Karapace knows other forms than text by id alone."""
        answer = self._ask(f"/subjects/{quote(subject, safe='')}/versions/{version}")
        if not self._language.form:
            return answer
        try:
            return self._by_id(int(answer["id"]))
        except (KeyError, TypeError, ValueError) as error:
            raise self._no_registry() from error

    def _by_id(self, number: int) -> Any:
        return self._ask(f"/schemas/ids/{number}{self._language.form}")

    def _ask(self, path: str) -> Any:
        deadline, pause = self._clock() + PATIENCE_SECONDS, FIRST_PAUSE
        while True:
            try:
                with self._open(
                    urllib.request.Request(self.url + path, headers=self._headers), timeout=web.TIMEOUT_SECONDS
                ) as answer:
                    return json.loads(answer.read(LARGEST_ANSWER))
            except (*web.FAILURES, ValueError, RecursionError) as error:
                fault = self._fault(error, path)
                if not isinstance(fault, Unavailable) or self._clock() >= deadline:
                    raise fault from error
            self._sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _fault(self, error: Exception, path: str) -> DaemonError | NoSchema:
        """Return the error that a failed request amounts to. Only Unavailable may pass without a change by a person,
        and is retried."""
        what = f"the schema registry {self.url}"
        if isinstance(error, urllib.error.HTTPError):
            with error:
                return self._refusal(error, path)
        if isinstance(error, ValueError | RecursionError):
            return self._no_registry()
        reason = web.reason_of(error)
        if not web.may_pass(error):
            return ConfigurationError(f"{what}: {reason.verify_message}: set {self._language.section}.registry_cafile")
        return Unavailable(f"{what} cannot be reached: {reason}")

    def _refusal(self, error: urllib.error.HTTPError, path: str) -> DaemonError | NoSchema:
        what = f"the schema registry {self.url}"
        if error.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            key = f"{self._language.section}.registry_username"
            return NotPermitted(f"{what} does not let this user read {path} ({error.code}): check {key}")
        if error.code == HTTPStatus.NOT_IMPLEMENTED and self._language.form:  # Redpanda before 25.2
            reason = f"{self.url} answers {error.code} to {path}: {self._language.without_form}"
            return ConfigurationError(f"{self._language.section}.registry_url: {reason}")
        if web.may_pass(error):
            return Unavailable(f"{what} answers {error.code} to {path}")
        if error.code == HTTPStatus.NOT_FOUND and (kind := NOT_FOUND.get(_code(error))):
            return NoSchema(f"{what} has no such {kind}: {path}")
        reason = f"{self.url} answers {error.code} to {path}{web.moved_to(error)}"
        return ConfigurationError(f"{self._language.section}.registry_url: {reason}")


def _code(error: urllib.error.HTTPError) -> int:
    try:
        found = json.loads(error.read(LARGEST_ANSWER))
        return int(found["error_code"])
    except (*web.FAILURES, ValueError, KeyError, TypeError, RecursionError):
        return 0


def _login(settings: RegistrySettings) -> dict[str, str]:
    if settings.registry_username is None or settings.registry_password is None:
        return {}
    return web.basic(settings.registry_username, settings.registry_password.get_secret_value())

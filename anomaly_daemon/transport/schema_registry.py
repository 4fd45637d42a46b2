"""Schemas by their ids, from a registry that speaks Confluent's REST interface (Confluent, Apicurio, Karapace, Redpanda).

A registry that is away is waited for, and then ends the daemon: its records are read when it is back, and none is lost. An
id that it does not know is a matter of the record.
"""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.parse import quote

from anomaly_daemon.errors import ConfigurationError, DaemonError, NotPermitted, Unavailable, unread
from anomaly_daemon.settings import AvroSettings
from anomaly_daemon.transport.avro_schema import NoSchema, Schema, schema_of

TIMEOUT_SECONDS = 10.0
PATIENCE_SECONDS = 30.0
"""For a registry that is away, busy or broken."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
UNKNOWN_SECONDS = 60.0
"""An id that the registry does not know is asked for again after this long: it may be a copy that is behind."""
MOST_UNKNOWN = 10_000
LARGEST_ANSWER = 10_000_000
MOST_REFERENCES = 1000
NOT_FOUND = {40401: "subject", 40402: "version", 40403: "schema"}
"""The registry's own codes within a 404. Another 404 is of something that is no registry."""


class SchemaRegistry:
    """Each schema is asked for once."""

    def __init__(
        self,
        avro: AvroSettings,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Raises NotPermitted, NoInput or ConfigurationError for a `registry_cafile` that cannot be used."""
        self.url = (avro.registry_url or "").rstrip("/")
        self._clock, self._sleep = clock, sleep
        self._known: dict[int, Schema | NoSchema] = {}
        self._unknown: dict[int, tuple[float, NoSchema]] = {}
        self._headers = {"Accept": "application/vnd.schemaregistry.v1+json, application/json"} | _login(avro)
        self._open = urllib.request.build_opener(_Stay, urllib.request.HTTPSHandler(context=_trust(avro))).open

    def schema(self, number: int) -> Schema:
        """The schema of that id.

        Raises:
            NoSchema: the registry knows none, or it is none of Avro.
            Unavailable, NotPermitted, ConfigurationError: the registry did not say.
        """
        found = self._known.get(number) or self._still_unknown(number)
        if found is None:
            found = self._asked_for(number)
        if isinstance(found, NoSchema):
            raise found
        return found

    def newest(self, subject: str) -> Schema:
        """The newest schema of a subject; raises as `schema` does."""
        return self._read(self._ask(f"/subjects/{quote(subject, safe='')}/versions/latest"))

    def _still_unknown(self, number: int) -> NoSchema | None:
        until, why = self._unknown.get(number, (0.0, None))
        return why if why is not None and self._clock() < until else None

    def _asked_for(self, number: int) -> Schema | NoSchema:
        try:
            answer = self._ask(f"/schemas/ids/{number}")
        except NoSchema as why:
            if len(self._unknown) >= MOST_UNKNOWN:
                self._unknown.clear()
            self._unknown[number] = (self._clock() + UNKNOWN_SECONDS, why)
            return why
        try:
            self._known[number] = self._read(answer)
        except NoSchema as why:
            self._known[number] = NoSchema(f"schema {number}: {why}")
        return self._known[number]

    def _read(self, answer: Any) -> Schema:
        if not isinstance(answer, dict) or not isinstance(answer.get("schema"), str):
            raise ConfigurationError(f"stream.avro.registry_url: {self.url} answers, but not as a schema registry does")
        kind = answer.get("schemaType") or "AVRO"
        if kind != "AVRO":
            raise NoSchema(f"it is {kind}, and stream.format is avro")
        referred = [other["schema"] for other in self._referred(answer, set())]
        return schema_of(answer["schema"], referred)

    def _referred(self, answer: Any, met: set[tuple[str, int]]) -> Iterator[Any]:
        """What a schema refers to, each once and after what it refers to itself."""
        for reference in answer.get("references") or ():
            subject, version = str(reference["subject"]), int(reference["version"])
            if (subject, version) in met:
                continue
            met.add((subject, version))
            if len(met) > MOST_REFERENCES:
                raise NoSchema(f"it refers to more than {MOST_REFERENCES} others")
            other = self._ask(f"/subjects/{quote(subject, safe='')}/versions/{version}")
            yield from self._referred(other, met)
            yield other

    def _ask(self, path: str) -> Any:
        deadline, pause = self._clock() + PATIENCE_SECONDS, FIRST_PAUSE
        while True:
            try:
                with self._open(
                    urllib.request.Request(self.url + path, headers=self._headers), timeout=TIMEOUT_SECONDS
                ) as answer:
                    return json.loads(answer.read(LARGEST_ANSWER))
            except (OSError, HTTPException, ValueError) as error:
                fault = self._fault(error, path)
                if not isinstance(fault, Unavailable) or self._clock() >= deadline:
                    raise fault from error
            self._sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _fault(self, error: Exception, path: str) -> DaemonError | NoSchema:
        """What to do about it: only what is Unavailable may pass by itself."""
        what = f"the schema registry {self.url}"
        if isinstance(error, urllib.error.HTTPError):
            with error:
                return self._refusal(error, path)
        if isinstance(error, ValueError):
            return ConfigurationError(
                f"stream.avro.registry_url: {self.url} answers, but not as a schema registry does"
            )
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            return ConfigurationError(f"{what}: {reason.verify_message}: set stream.avro.registry_cafile")
        return Unavailable(f"{what} cannot be reached: {reason}")

    def _refusal(self, error: urllib.error.HTTPError, path: str) -> DaemonError | NoSchema:
        what = f"the schema registry {self.url}"
        if error.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return NotPermitted(f"{what} lets us not read {path} ({error.code}): see stream.avro.registry_username")
        if error.code >= HTTPStatus.INTERNAL_SERVER_ERROR or error.code == HTTPStatus.TOO_MANY_REQUESTS:
            return Unavailable(f"{what} answers {error.code} to {path}")
        if error.code == HTTPStatus.NOT_FOUND and (kind := NOT_FOUND.get(_code(error))):
            return NoSchema(f"{what} knows no such {kind}: {path}")
        moved = f", and to go to {error.headers['Location']}" if error.headers.get("Location") else ""
        return ConfigurationError(f"stream.avro.registry_url: {self.url} answers {error.code} to {path}{moved}")


class _Stay(urllib.request.HTTPRedirectHandler):
    """A registry that has moved is told of: our password is for no other."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _code(error: urllib.error.HTTPError) -> int:
    try:
        found = json.loads(error.read(LARGEST_ANSWER))
        return int(found["error_code"])
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return 0


def _login(avro: AvroSettings) -> dict[str, str]:
    if avro.registry_username is None or avro.registry_password is None:
        return {}
    pair = f"{avro.registry_username}:{avro.registry_password.get_secret_value()}"
    return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def _trust(avro: AvroSettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=avro.registry_cafile)
    except ssl.SSLError as error:
        what = f"stream.avro.registry_cafile {avro.registry_cafile}"
        raise ConfigurationError(f"{what}: no certificates in PEM: {error.reason}") from error
    except OSError as error:
        raise unread(f"stream.avro.registry_cafile {avro.registry_cafile}", error) from error

"""A schema registry for tests: the part of Confluent's REST interface that returns schemas."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from fastavro import parse_schema, schemaless_writer


class Registry:
    """Returns schemas by id and by subject. `asked` are the requested paths, in order."""

    def __init__(self) -> None:
        self.by_id: dict[int, dict[str, Any]] = {}
        self.by_subject: dict[tuple[str, int], dict[str, Any]] = {}
        self.asked: list[str] = []
        self.failures: list[int] = []
        """Status codes of the next answers, which are errors."""
        self.login: str | None = None
        self.body: bytes | None = None
        """The body of every answer, whatever was asked; None for the regular answers."""
        self.moved: str | None = None
        self.url = ""

    def register(
        self, schema: Any, subject: str = "readings-value", references: Sequence[Mapping[str, Any]] = (), **more: Any
    ) -> int:
        """Register a new schema, as the newest of the subject, and return its id."""
        number = len(self.by_id) + 1
        text = schema if more.get("schemaType") == "PROTOBUF" else json.dumps(schema)
        answer = {"schema": text, **({"references": list(references)} if references else {}), **more}
        version = 1 + sum(name == subject for name, _ in self.by_subject)
        self.by_id[number] = answer
        self.by_subject[subject, version] = {**answer, "id": number, "subject": subject, "version": version}
        if more.get("schemaType") == "PROTOBUF":  # as Karapace does, which knows `format` by id alone
            self.by_subject[subject, version]["schema"] = 'syntax = "proto3";'
        return number

    def answer(self, path: str, login: str | None) -> tuple[int, Any]:
        self.asked.append(path)
        if self.failures:
            return self.failures.pop(0), {"error_code": 50001}
        if self.login is not None and login != "Basic " + base64.b64encode(self.login.encode()).decode():
            return 401, {"error_code": 401}
        parts = urlsplit(path).path.strip("/").split("/")
        if parts[:2] == ["schemas", "ids"]:
            found = self.by_id.get(int(parts[2]))
            return (404, {"error_code": 40403}) if found is None else (200, found)
        if parts[0] == "subjects":
            versions = [version for name, version in self.by_subject if name == parts[1]]
            if not versions:
                return 404, {"error_code": 40401}
            version = max(versions) if parts[3] == "latest" else int(parts[3])
            return 200, self.by_subject[parts[1], version]
        return 404, {"message": "HTTP 404 Not Found"}


@contextmanager
def registry() -> Iterator[Registry]:
    """Run a registry on loopback."""
    one = Registry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if one.moved is not None:
                self.send_response(301)
                self.send_header("Location", one.moved)
                self.end_headers()
                return
            code, found = one.answer(self.path, self.headers.get("Authorization"))
            body = one.body if one.body is not None else json.dumps(found).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    one.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield one
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def written(schema: Any, record: Any, number: int | None = None) -> bytes:
    """Return the record in Avro, behind a registry's prefix if it has an id."""
    stream = BytesIO()
    schemaless_writer(stream, parse_schema(schema), record)
    return (b"" if number is None else b"\0" + number.to_bytes(4, "big")) + stream.getvalue()

"""The keys of a schema registry, which `stream.avro` and `stream.protobuf` have in common."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from anomaly_daemon.settings.address import is_address
from anomaly_daemon.settings.section import Section


class RegistrySettings(Section):
    FORMAT: ClassVar[Literal["avro", "protobuf"]]

    registry_url: str | None = Field(None, min_length=1)
    """The schema registry, such as "http://registry:8081". Values begin with a zero byte and the id of their schema."""
    registry_username: str | None = None
    """The registry's user, or an API key."""
    registry_password: SecretStr | None = None
    """The user's password, or the API key's secret."""
    registry_password_file: Path | None = None
    """A file that holds the password."""
    registry_cafile: Path | None = None
    """PEM file of the authority that signed the registry's certificate; none: the system's own list."""

    @model_validator(mode="after")
    def _is_reachable(self) -> Self:
        if self.registry_url is not None:
            if not is_address(self.registry_url):
                raise ValueError('registry_url must be like "http://registry:8081"')
            if "@" in urlsplit(self.registry_url).netloc:
                raise ValueError("registry_url holds a user: use registry_username and registry_password (or ..._file)")
        return self._knows_whom_it_logs_in_as()

    def _knows_whom_it_logs_in_as(self) -> Self:
        password = self.registry_password is not None or self.registry_password_file is not None
        if password and self.registry_username is None:
            raise ValueError("registry_password is set and registry_username is not")
        for key in ("registry_username", "registry_cafile"):
            if getattr(self, key) is not None and self.registry_url is None:
                raise ValueError(f"{key} is set and registry_url is not")
        if self.registry_username is not None and not password:
            raise ValueError("registry_username is set: set registry_password, too (or registry_password_file)")
        return self

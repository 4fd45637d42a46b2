"""Keys of `stream.avro`: where the schemas of Avro values are found."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import model_validator

from anomaly_daemon.settings.registry import RegistrySettings


class AvroSettings(RegistrySettings):
    FORMAT = "avro"

    schema_file: Path | None = None
    """Without a registry: an Avro schema (.avsc) for all values, which then have no prefix."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.registry_url is not None and self.schema_file is not None:
            raise ValueError("registry_url and schema_file are both set: schemas come from one of the two")
        return self

"""Keys of `stream.protobuf`: where the descriptors of Protobuf messages are found."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from anomaly_daemon.settings.registry import RegistrySettings


class ProtobufSettings(RegistrySettings):
    FORMAT = "protobuf"

    descriptor_file: Path | None = None
    """Without a registry: what protoc --include_imports --descriptor_set_out=FILE has made of the .proto file."""
    message: str | None = Field(None, min_length=1)
    """The full name of the message in descriptor_file, such as "plant.Reading"; none: the file's only message."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.registry_url is not None and self.descriptor_file is not None:
            raise ValueError("registry_url and descriptor_file are both set: schemas come from one of the two")
        if self.message is not None and self.descriptor_file is None:
            raise ValueError("message names a message of descriptor_file, which is not set")
        return self

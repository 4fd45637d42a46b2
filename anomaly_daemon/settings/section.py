"""What every part of the configuration is."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

LONGEST_SECONDS = 604_800
"""A week, the longest wait that can be configured. Kafka counts in milliseconds, and its messages have no room for more
than 24 days of them; the waits of Python end at 292 years, and none may be infinite."""


class Section(BaseModel):
    """Strict and frozen: a configuration is read once and never changes under a running daemon."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class FiniteSection(Section):
    """One in which no number may be infinite: elsewhere that is "never", or "no limit"."""

    model_config = ConfigDict(allow_inf_nan=False)


def _topic_name(name: str) -> str:
    if name in (".", "..") or not re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", name):
        raise ValueError(f"{name!r} is not a topic's name: up to 249 letters, digits, '.', '_' and '-'")
    return name


TopicName = Annotated[str, Field(min_length=1), AfterValidator(_topic_name)]
"""The name of a topic, by Kafka's rules: a broker answers any other with an error that names no key."""

"""Writes texts so that they can be copied into a configuration."""

from __future__ import annotations

import math
import re

import yaml

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_NOT_TEXT = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "nan", "inf"})


def quoted(text: str) -> str:
    """Return the text as a YAML scalar. `${` is escaped, because it would be read as a variable."""
    text = text.replace("${", "$${")
    if _PLAIN.fullmatch(text) and text.lower() not in _NOT_TEXT:
        return text
    return str(yaml.safe_dump(text, default_style='"', width=math.inf, allow_unicode=True)).rstrip("\n")

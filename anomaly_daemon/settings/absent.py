"""The key `missing_values`: what a source writes where there is no value."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

MOST = 16
CHARACTERS = 64


def _missing_value(value: Any) -> float | str:
    """A finite number or a text. A text that is a number is one: YAML takes 1e20 for text."""
    if isinstance(value, str):
        return _text(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f'must be a number or a text, such as -9999 or "Bad Input", not {value!r}')
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"must be a finite number, not {number}")
    return number


def _text(text: str) -> float | str:
    if not text:
        raise ValueError("must not be empty: an empty field is absent as it is")
    if len(text) > CHARACTERS:
        raise ValueError(f"must be of at most {CHARACTERS} characters")
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) and "_" not in text else text


MissingValues = Annotated[list[Annotated[float | str, BeforeValidator(_missing_value)]], Field(max_length=MOST)]

"""Card numbers do not belong into logs and configurations, which more people read than the records they came from.

What is shown of one is what PCI DSS lets be shown: its first six and last four digits.
"""

from __future__ import annotations

import re

_LIKE_ONE = re.compile(r"(?<![0-9A-Za-z.])[3-6](?:[ -]?[0-9]){12,18}(?![0-9A-Za-z])")
"""13 to 19 digits, perhaps in groups. Those of all networks begin so; epoch times and decimals do not."""


def masked(text: str) -> str:
    """The text with `411111******1111` in the place of each card number: digits whose check digit (Luhn) is right."""
    return _LIKE_ONE.sub(_mask, text)


def _mask(found: re.Match[str]) -> str:
    digits = [letter for letter in found[0] if letter.isdigit()]
    return f"{''.join(digits[:6])}{'*' * (len(digits) - 10)}{''.join(digits[-4:])}" if _checks(digits) else found[0]


def _checks(digits: list[str]) -> bool:
    """Luhn: every second digit from the right is doubled, and the sum of all digits ends in 0."""
    doubled = [int(digit) * 2 if place % 2 else int(digit) for place, digit in enumerate(reversed(digits))]
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0

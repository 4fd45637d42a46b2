"""Masks card numbers in text for logs and configurations, which more people can read than the records themselves.

The first six and last four digits of a card number stay visible, which PCI DSS allows.
"""

from __future__ import annotations

import re

_LIKE_ONE = re.compile(r"(?<![0-9A-Za-z.])[3-6](?:[ -]?[0-9]){12,18}(?![0-9A-Za-z])")
"""13 to 19 digits, of which the first is 3 to 6, with at most a space or a hyphen between two of them. Epoch times
begin with another digit, and digits after a decimal point do not match. Nor do card numbers that begin with 2."""


def masked(text: str) -> str:
    """Return the text with each card number masked as `411111******1111`. Only digits with a valid check digit (Luhn)
    are taken for a card number."""
    return _LIKE_ONE.sub(_mask, text)


def _mask(found: re.Match[str]) -> str:
    digits = [letter for letter in found[0] if letter.isdigit()]
    return f"{''.join(digits[:6])}{'*' * (len(digits) - 10)}{''.join(digits[-4:])}" if _checks(digits) else found[0]


def _checks(digits: list[str]) -> bool:
    """Whether the Luhn checksum holds: every second digit from the right is doubled (less 9 if above 9), and the sum of
    all ends in 0."""
    doubled = [int(digit) * 2 if place % 2 else int(digit) for place, digit in enumerate(reversed(digits))]
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0

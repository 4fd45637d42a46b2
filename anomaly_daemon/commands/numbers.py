"""Parsers for numbers on the command line, in the form that argparse expects. A text that is not such a number is a
usage error."""

from __future__ import annotations

import argparse


def positive(text: str) -> float:
    """Parse a finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"a number above 0 is expected, not {text!r}")
    return number


def whole(text: str) -> int:
    """Parse a whole number above 0, and at most 2**53, which a float holds exactly; "1e5" counts as one."""
    number = positive(text)
    if not number.is_integer() or number > 2**53:
        raise argparse.ArgumentTypeError(f"a whole number above 0 is expected, not {text!r}")
    return int(number)


def not_negative(text: str) -> float:
    """Parse a finite number from 0 on."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"a number from 0 on is expected, not {text!r}")
    return number


def natural(text: str) -> int:
    """Parse a whole number from 0 on, written in digits."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a whole number from 0 on is expected, not {text!r}")
    return int(text)


def port(text: str) -> int:
    """Parse a TCP port; 0 stands for any free one."""
    number = natural(text)
    if number > 65535:
        raise argparse.ArgumentTypeError(f"a port is at most 65535, not {text!r}")
    return number


def percentage(text: str) -> float:
    """Parse a number from 0 to 100."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 100:
        raise argparse.ArgumentTypeError(f"a number from 0 to 100 is expected, not {text!r}")
    return number

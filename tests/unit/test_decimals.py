"""Numbers of JSON become the same float64 that Python reads from their text, or are left to other code."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anomaly_daemon.transport.decimals import numbers


def read(texts: Sequence[str]) -> list[float | None]:
    """Return each number, or None where it was left to other code."""
    octets = np.frombuffer("\0".join([*texts, ""]).encode(), np.uint8)
    length_N = np.array([len(text) + 1 for text in texts])
    at_N = np.cumsum(length_N) - length_N
    found_N, after_N = np.empty(len(texts)), np.empty(len(texts), np.int64)
    numbers(octets, at_N, found_N, after_N)
    whole_N = after_N == at_N + length_N - 1
    return [found if whole else None for found, whole in zip(found_N.tolist(), whole_N.tolist(), strict=True)]


def bits(number: float) -> bytes:
    return struct.pack("d", number)


def between_two(number: float) -> str:
    """Return the middle between this float and the next one, with all its digits."""
    middle = (Fraction(number) + Fraction(float(np.nextafter(number, np.inf)))) / 2
    power = middle.denominator.bit_length() - 1
    return f"{middle.numerator * 5**power}e-{power}"


written = (
    st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.builds("{:.{}e}".format, st.floats(-1e280, 1e280), st.integers(1, 17))
    | st.builds("{:.{}f}".format, st.floats(-1e6, 1e6), st.integers(0, 12))
    | st.builds("{}e{}".format, st.integers(-(10**18), 10**18), st.integers(-320, 300))
    | st.integers(-(10**20), 10**20).map(str)
    | st.floats(1e15, 1e16).map(between_two)
)


@given(st.lists(written, min_size=1, max_size=50))
@example(["9007199254740993", "9007199254740995", "4503599627370496.5", "4503599627370497.5", "-0.0", "0e0", "0.000"])
@example(["5e-324", "2.2250738585072014e-308", "1.7976931348623157e308", "1e-300", "9.5e280", "1e400"])
@example(
    ["8.5e22", "1e23", "9.999999999999999e22", "6.02214076e23", "3.2378839133029012895883524125015321748630094e-9"]
)
@settings(deadline=None)
def test_what_is_read_is_the_nearest_float(texts: list[str]) -> None:
    for text, found in zip(texts, read(texts), strict=True):
        assert found is None or bits(found) == bits(float(json.loads(text))), text


@given(st.lists(st.floats(1e-250, 1e250).map(repr) | st.integers(-(10**17), 10**17).map(str), min_size=1))
@settings(deadline=None)
def test_every_float_of_an_ordinary_size_is_read_as_python_writes_it(texts: list[str]) -> None:
    assert read(texts) == [float(text) for text in texts]


STRANGE = [
    "-",
    "+1",
    "01",
    "-01",
    "1.",
    ".5",
    "1.e3",
    "1e",
    "1e+",
    "0x1",
    "NaN",
    "1" * 19,
    "1e1" + "0" * 30,
    "1e-310",
]


@pytest.mark.parametrize("text", STRANGE)
def test_what_json_does_not_know_or_is_too_long_is_left_alone(text: str) -> None:
    assert read([text]) == [None]

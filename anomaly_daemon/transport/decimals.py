"""Parses the decimal numbers of JSON into the nearest float64, in compiled code, with the same bits as Python's `float`
of the text.

Up to 18 digits are taken as a whole number, times a power of ten. If both are exact as floats, one product or quotient
gives the nearest float (Clinger 1990). Otherwise the digits are multiplied by the first 128 bits of the power: the
first 55 bits of the product determine the float, and the remaining bits its rounding (Lemire 2021, "Number parsing at a
gigabyte per second"). Numbers that this does not settle are left to another decoder, as are longer numbers and those
near the ends of the range.

The caller must make sure that there is an octet after each number.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection.observation import Float64

Bytes = npt.NDArray[np.uint8]

PLUS, MINUS, POINT, ZERO, UPPER_E, LOWER_E = b"+-.0Ee"

MOST_DIGITS = 18
"""An int64 holds any number of so many digits."""

MOST_EXACT = 2**53
"""A float64 holds every whole number up to this one exactly."""

TENS = np.array([float(10**power) for power in range(23)])
"""The powers of ten that a float64 holds exactly."""

LEAST_POWER, MOST_POWER = -300, 280
"""The smallest and largest power of ten that are computed here. Between them no number overflows, and none has fewer
than 53 bits."""

HALF, LOWER_HALF, ALL = np.uint64(32), np.uint64(2**32 - 1), np.uint64(2**64 - 1)
LEFT = np.uint64(2**9 - 1)
"""Mask of the 9 bits of a 64-bit word that are below its first 55."""
TIED = -4, 23
"""The smallest and largest power of ten with which a number can lie exactly in the middle between two floats."""
SETTLED = -27, 55
"""The smallest and largest power of ten for which 128 bits are exact, or known to be enough."""


def _leading_bits(power: int) -> tuple[int, int]:
    """Return the first 128 bits of five to this power, as two halves of 64. They are rounded down; for a power below 0
    the quotient is rounded up before it is cut to 128 bits."""
    size = 5 ** abs(power)
    length = size.bit_length()
    if power < 0:
        size = (1 << (length + 127 if power >= SETTLED[0] else 2 * length + 128)) // size + 1
        length = size.bit_length()
    size = size << 128 - length if length <= 128 else size >> length - 128
    return size >> 64, size & (2**64 - 1)


FIVES = np.array([_leading_bits(power) for power in range(LEAST_POWER, MOST_POWER + 1)], np.uint64)


@compiled
def whole(octets: Bytes, at: int) -> tuple[int, int]:
    """Return the whole number that begins at `at`, and the index after it. The index is 0 if there is no number, or if
    it has a fraction, an exponent or too many digits."""
    negative = octets[at] == MINUS
    digits, significant, after = _digits(octets, at + negative, 0, 0)
    mark = octets[after]
    if not _grammatical(octets, at + negative, after) or mark in (POINT, LOWER_E, UPPER_E):
        return 0, 0
    return -digits if negative else digits, after if significant <= MOST_DIGITS else 0


@compiled
def number(octets: Bytes, at: int) -> tuple[float, int]:
    """Return the number that begins at `at`, and the index after it. The index is 0 if there is no number, or one that
    is left to another decoder."""
    negative, power, fractional = octets[at] == MINUS, 0, False
    first = at + negative
    digits, significant, at = _digits(octets, first, 0, 0)
    sound = _grammatical(octets, first, at)
    if octets[at] == POINT:
        fractional, point = True, at
        digits, significant, at = _digits(octets, point + 1, digits, significant)
        power = point + 1 - at
        sound = sound and power < 0
    if octets[at] == LOWER_E or octets[at] == UPPER_E:
        fractional, below = True, octets[at + 1] == MINUS
        begin = at + 1 + (below or octets[at + 1] == PLUS)
        exponent, few, at = _digits(octets, begin, 0, 0)
        sound = sound and at > begin and few < MOST_DIGITS
        power += -exponent if below else exponent
    if not sound or significant > MOST_DIGITS:
        return 0.0, 0
    size = nearest(digits, power)
    if size < 0.0:
        return 0.0, 0
    return -size if negative and (fractional or digits > 0) else size, at  # the whole number -0 is 0


@compiled
def _digits(octets: Bytes, at: int, digits: int, significant: int) -> tuple[int, int, int]:
    """Append the digits at `at` to the number `digits`. Returns the new number, how many digits it has without leading
    zeros (`significant` before), and the index after the digits."""
    digit = int(octets[at]) - ZERO
    while 0 <= digit <= 9:
        digits = 10 * digits + digit
        significant += (significant | digit) > 0
        at += 1
        digit = int(octets[at]) - ZERO
    return digits, significant, at


@compiled
def _grammatical(octets: Bytes, first: int, after: int) -> bool:
    """Whether the digits from `first` to `after` are valid before a fraction in JSON: at least one digit, and no
    further digit after a leading zero."""
    return bool(after == first + 1 or (after > first and octets[first] != ZERO))


@compiled
def nearest(digits: int, power: int) -> float:
    """Return the float64 nearest to `digits` times ten to the power; a negative number if it is not settled here."""
    if digits <= MOST_EXACT and -len(TENS) < power < len(TENS):
        return float(digits / TENS[-power] if power < 0 else digits * TENS[power])
    if digits == 0:
        return 0.0
    if power < LEAST_POWER or power > MOST_POWER:
        return -1.0
    return _by_product(np.uint64(digits), power)


@compiled
def _by_product(digits: np.uint64, power: int) -> float:
    """`nearest`, computed from the upper half of a product of 128 bits."""
    shifted, shift = _at_the_top(digits)
    fives = FIVES[power - LEAST_POWER]
    upper, lower = _product(shifted, fives[0])
    if upper & LEFT == LEFT:
        more, _ = _product(shifted, fives[1])
        lower += more
        upper += np.uint64(lower < more)
    if lower == ALL and not SETTLED[0] <= power <= SETTLED[1]:
        return -1.0
    top = upper >> np.uint64(63)
    over = top + np.uint64(9)
    bits = upper >> over
    middle = lower <= np.uint64(1) and TIED[0] <= power <= TIED[1] and bits & np.uint64(3) == np.uint64(1)
    if middle and bits << over == upper:
        bits &= ~np.uint64(1)  # exactly between two floats: take the even one
    bits = (bits + (bits & np.uint64(1))) >> np.uint64(1)
    exponent = ((152_170 + 65_536) * power >> 16) + 63 + int(top) - shift + 1023
    carried = bits >> np.uint64(53)  # rounded up to the next power of two, whose other bits are 0
    bits = (bits & np.uint64(2**52 - 1)) | (np.uint64(exponent + int(carried)) << np.uint64(52))
    return float(np.uint64(bits).view(np.float64))


@compiled
def _at_the_top(digits: np.uint64) -> tuple[np.uint64, int]:
    """Return the number shifted left until its highest bit is set, and by how many bits."""
    shift = 0
    for step in (32, 16, 8, 4, 2, 1):
        if digits >> np.uint64(64 - step) == np.uint64(0):
            digits = digits << np.uint64(step)
            shift += step
    return digits, shift


@compiled
def _product(a: np.uint64, b: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Return the upper and the lower half of the 128-bit product."""
    a_upper, a_lower, b_upper, b_lower = a >> HALF, a & LOWER_HALF, b >> HALF, b & LOWER_HALF
    low, middle, other = a_lower * b_lower, a_upper * b_lower, a_lower * b_upper
    carried = (low >> HALF) + (middle & LOWER_HALF) + (other & LOWER_HALF)
    upper = a_upper * b_upper + (middle >> HALF) + (other >> HALF) + (carried >> HALF)
    return upper, (carried << HALF) | (low & LOWER_HALF)


@compiled
def numbers(octets: Bytes, at_N: npt.NDArray[np.int64], found_N: Float64, after_N: npt.NDArray[np.int64]) -> None:
    """Store the result of `number` at each of the places `at_N` in `found_N` and `after_N`."""
    for n in range(len(at_N)):
        found_N[n], after_N[n] = number(octets, at_N[n])

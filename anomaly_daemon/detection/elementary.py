"""Exponential and logarithm of a float64, and the index of the least of some numbers, written without calls and
branches. A loop over contiguous numbers can therefore process as many at once as the processor can: four, where the C
library takes one.

Results are accurate to one or two units in the last place, and have the same bits for each number wherever it is in an
array (law L5): no operations are fused, and no sum is taken in another order.
"""

from __future__ import annotations

from math import inf

import numpy as np
import numpy.typing as npt

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection.observation import Float32, Float64

LOG2_E = 1.4426950408889634
LN2_UPPER, LN2_LOWER = 6.93147180369123816490e-01, 1.90821492927058770002e-10
"""The logarithm of 2, in two parts: the product of the first part with a small whole number is exact."""

LARGEST = 709.0
"""Bound of an exponent: above it the exponential is infinite, and below minus it 0."""

NEAREST = 1.5 * 2.0**52
"""Added to a smaller number, this leaves the nearest integer in the lowest bits."""

EXPONENT = 52
"""The position of the exponent in the bits of a float64."""
MANTISSA = np.uint64(2**EXPONENT - 1)
ROOT_HALF = np.uint64(0x3FE6A09E00000000)
"""The bits of about the square root of a half, which is the least mantissa."""
TO_ONE = np.uint64(0x3FF0000000000000) - ROOT_HALF
WHOLE = np.uint64(0x4330000000000000)
"""The bits of 2**52, the lowest of which are a whole number."""
BIAS = 2.0**52 + 1023.0

PLACE_BITS, PLACES = 5, 31
"""The bits that the index of a number takes beside the number, and the largest index."""


@compiled
def exp(x: float) -> float:
    """Return e to the power of x; NaN for NaN."""
    held = min(max(x, -LARGEST), LARGEST)
    shifted = held * LOG2_E + NEAREST
    whole = shifted - NEAREST
    r = (held - whole * LN2_UPPER) - whole * LN2_LOWER
    r2 = r * r
    r4 = r2 * r2
    low = (1.0 + r) + r2 * (1 / 2 + r * (1 / 6))
    middle = (1 / 24 + r * (1 / 120)) + r2 * (1 / 720 + r * (1 / 5040))
    high = (1 / 40320 + r * (1 / 362880)) + r2 * (1 / 3628800 + r * (1 / 39916800))
    mantissa = low + r4 * (middle + r4 * (high + r4 * (1 / 479001600)))
    bits = np.float64(mantissa).view(np.int64) + (np.float64(shifted).view(np.int64) << EXPONENT)
    found = float(np.int64(bits).view(np.float64))
    found = inf if x > LARGEST else found
    found = 0.0 if x < -LARGEST else found
    return found if x == x else x  # NaN is not equal to itself


@compiled
def log(x: float) -> float:
    """Return the natural logarithm, by fdlibm's method (Sun Microsystems 1993): minus infinity for 0 and negative
    numbers, about -709 for numbers below 1e-307."""
    top = np.float64(x).view(np.uint64) + TO_ONE
    power = float(np.uint64((top >> np.uint64(EXPONENT)) | WHOLE).view(np.float64)) - BIAS
    f = float(np.uint64((top & MANTISSA) + ROOT_HALF).view(np.float64)) - 1.0
    s = f / (2.0 + f)
    z = s * s
    rest = 1.531383769920937332e-01 + z * 1.479819860511658591e-01  # one chain: two sums side by side
    rest = 1.818357216161805012e-01 + z * rest  # would be paired by LLVM, and then the loop is not vectorised
    rest = 2.222219843214978396e-01 + z * rest
    rest = 2.857142874366239149e-01 + z * rest
    rest = 3.999999999940941908e-01 + z * rest
    rest = z * (6.666666666666735130e-01 + z * rest)
    half = 0.5 * f * f
    found = power * LN2_UPPER - ((half - (s * (half + rest) + power * LN2_LOWER)) - f)
    found = found if x > 0.0 else -inf
    return found if x < inf else x  # NaN and infinity


@compiled
def exponentials(x_N: Float64, found_N: Float64) -> None:
    """Write `exp` of each number into `found_N`."""
    for n in range(len(x_N)):
        found_N[n] = exp(x_N[n])


@compiled
def logarithms(x_N: Float64, found_N: Float64) -> None:
    """Write `log` of each number into `found_N`."""
    for n in range(len(x_N)):
        found_N[n] = log(x_N[n])


@compiled
def least_of(x_K: Float32) -> int:
    """Return the index of the least of K numbers, the first if several are equal. No number may be negative or NaN, and
    K is a multiple of 4 from 4 to 32."""
    bits_K = x_K.view(np.int32)  # non-negative floats have the same order as their bits
    a, b, c, d = _placed(bits_K, 0), _placed(bits_K, 1), _placed(bits_K, 2), _placed(bits_K, 3)
    for k in range(4, len(x_K), 4):
        e, f, g, h = _placed(bits_K, k), _placed(bits_K, k + 1), _placed(bits_K, k + 2), _placed(bits_K, k + 3)
        a, b, c, d = e if e < a else a, f if f < b else b, g if g < c else c, h if h < d else d
    a, c = b if b < a else a, d if d < c else c
    return int((c if c < a else a) & PLACES)


@compiled
def _placed(bits_K: npt.NDArray[np.int32], k: int) -> int:
    """Return a number's bits, followed by its index."""
    return int(np.int64(bits_K[k]) << PLACE_BITS | k)

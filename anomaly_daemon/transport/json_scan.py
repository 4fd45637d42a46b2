"""Reads many plain JSON objects in one pass of compiled code over their octets. The numbers, whole numbers and texts
under the wanted names go straight to columns.

The scanner is strict and stops at the first object with anything that it does not support: an escape in a wanted text
or a name, a number of very many digits, something other than a number or null where a number is wanted. The batch is
then left to a decoder that accepts anything, which gives the same result for all that is read here. A zero octet
follows each object. It matches nothing in an object, so no step has to check for the end.

Shapes: M objects, D wanted numbers, O other wanted values, W = D + O names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection.observation import Float64, Int32, Int64
from anomaly_daemon.transport.decimals import Bytes, number, whole

QUOTE, BACKSLASH, COLON, COMMA = b'"\\:,'
OPEN, CLOSE, OPEN_LIST, CLOSE_LIST = b"{}[]"
SPACES = np.isin(np.arange(256), list(b" \t\n\r"))
PLAIN = (np.arange(256) >= ord(" ")) & ~np.isin(np.arange(256), [QUOTE, BACKSLASH])
"""The octets that a text contains without an escape. The caller must know whether octets from 128 on are valid UTF-8.
"""
ESCAPED = np.isin(np.arange(256), list(b'"\\/bfnrt'))
"""What may follow a backslash, except `u`: it can give half a character (a lone surrogate), which is not a text."""
WORDS = tuple(np.frombuffer(word, np.uint8) for word in (b"null", b"true", b"false"))
NULL = WORDS[0]

DEEPEST = 60
"""How many lists and objects may be nested in a value that is skipped."""

TOGETHER = 8
"""How many occupied slots `distinct` may try in vain, on average, before a text is found to be new or known."""

NOTHING, WHOLE, TEXT = range(3)
"""What an object has under one of the other wanted names: nothing, a whole number or a text."""


class Wanted(NamedTuple):
    """The wanted names, concatenated in `octets`. The first `numeric` of them are names of numbers."""

    octets: Bytes
    start_W: Int64
    stop_W: Int64
    numeric: int

    @classmethod
    def of(cls, numbers: Sequence[str], others: Sequence[str]) -> Self:
        """Return the wanted names, numbers first."""
        names = [name.encode() for name in (*numbers, *others)]
        stop_W = np.cumsum([len(name) for name in names])
        start_W = np.concatenate([[0], stop_W[:-1]]).astype(np.int64)
        return cls(np.frombuffer(b"".join(names), np.uint8), start_W, stop_W, len(numbers))


class Found(NamedTuple):
    """What the objects hold under the wanted names."""

    numbers_MD: Float64
    """The numbers; NaN where the object has none, or null."""
    kind_OM: Bytes
    whole_OM: Int64
    """The whole number itself, or the index at which a text begins."""
    stop_OM: Int64
    """The index at which a text ends."""

    @classmethod
    def blank(cls, objects: int, numbers: int, others: int) -> Self:
        """Return room for the values of so many objects, numeric names and other names."""
        shape = (others, objects)
        kind_OM = np.zeros(shape, np.uint8)
        return cls(np.full((objects, numbers), np.nan), kind_OM, np.empty(shape, np.int64), np.empty(shape, np.int64))


@compiled
def scan(octets: Bytes, start_M: Int64, stop_M: Int64, wanted: Wanted, order_W: Int64, found: Found) -> int:
    """Read the objects at these places into `found`. Returns how many were read, which is fewer than M if the next
    object is not plain. `order_W` has the order in which the names occurred last, and is updated."""
    for m in range(len(start_M)):
        if not _object(octets, start_M[m], stop_M[m], wanted, order_W, found, m):
            return m
    return len(start_M)


@compiled
def _object(octets: Bytes, at: int, stop: int, wanted: Wanted, order_W: Int64, found: Found, m: int) -> bool:
    at = _past_space(octets, at)
    if octets[at] != OPEN:
        return False
    at, position = _past_space(octets, at + 1), 0
    while octets[at] == QUOTE:
        end = _text_end(octets, at + 1)
        if octets[end] != QUOTE:
            return False
        w = _which(octets, at + 1, end, wanted, order_W, position)
        at = _past_colon(octets, end + 1)
        at = _value(octets, at, wanted, found, m, w) if at > 0 else 0
        if at == 0:
            return False
        at, position = _past_space(octets, at), position + 1
        if octets[at] == CLOSE:
            return bool(_past_space(octets, at + 1) == stop)
        if octets[at] != COMMA:
            return False
        at = _past_space(octets, at + 1)
    return False


@compiled
def _which(octets: Bytes, start: int, stop: int, wanted: Wanted, order_W: Int64, position: int) -> int:
    """Return the index of the wanted name that this name equals, or -1. The name that was in this position before is
    tried first."""
    likely = order_W[position] if position < len(order_W) else -1
    if likely >= 0 and _same(octets, start, stop, wanted, likely):
        return int(likely)
    for w in range(len(wanted.start_W)):
        if _same(octets, start, stop, wanted, w):
            if position < len(order_W):
                order_W[position] = w
            return w
    return -1


@compiled
def _same(octets: Bytes, start: int, stop: int, wanted: Wanted, w: int) -> bool:
    first = wanted.start_W[w]
    if stop - start != wanted.stop_W[w] - first:
        return False
    for place in range(stop - start):  # noqa: SIM110 - compiled code has no generators
        if octets[start + place] != wanted.octets[first + place]:
            return False
    return True


@compiled
def _value(octets: Bytes, at: int, wanted: Wanted, found: Found, m: int, w: int) -> int:
    """Store the value that begins at `at` under the name `w`. Returns the index after the value, or 0 if it is not
    plain."""
    if w < 0:
        return _past_value(octets, at)
    if w < wanted.numeric:
        found.numbers_MD[m, w], after = number(octets, at)
        if after == 0 and octets[at] == NULL[0]:
            found.numbers_MD[m, w], after = np.nan, _past_word(octets, at, NULL)
        return after
    o = w - wanted.numeric
    if octets[at] == QUOTE:
        end = _text_end(octets, at + 1)
        found.kind_OM[o, m], found.whole_OM[o, m], found.stop_OM[o, m] = TEXT, at + 1, end
        return end + 1 if octets[end] == QUOTE else 0
    found.kind_OM[o, m] = WHOLE
    found.whole_OM[o, m], after = whole(octets, at)
    return after


@compiled
def _past_space(octets: Bytes, at: int) -> int:
    while SPACES[octets[at]]:
        at += 1
    return at


@compiled
def _past_colon(octets: Bytes, at: int) -> int:
    at = _past_space(octets, at)
    return _past_space(octets, at + 1) if octets[at] == COLON else 0


@compiled
def _text_end(octets: Bytes, at: int) -> int:
    """Return the index of the first octet that is not plain text: the closing quote, if the whole text is plain."""
    while PLAIN[octets[at]]:
        at += 1
    return at


@compiled
def _past_word(octets: Bytes, at: int, word: Bytes) -> int:
    for place in range(len(word)):
        if octets[at + place] != word[place]:
            return 0
    return at + len(word)


@compiled
def _past_text(octets: Bytes, at: int) -> int:
    """Return the index after a text that may contain escapes; 0 if there is no text."""
    if octets[at] != QUOTE:
        return 0
    at = _text_end(octets, at + 1)
    while octets[at] == BACKSLASH and ESCAPED[octets[at + 1]]:
        at = _text_end(octets, at + 2)
    return at + 1 if octets[at] == QUOTE else 0


@compiled
def _past_single(octets: Bytes, at: int) -> int:
    """Return the index after a value that contains no other values; 0 if there is none."""
    if octets[at] == QUOTE:
        return _past_text(octets, at)
    after = 0
    for word in WORDS:
        after = max(after, _past_word(octets, at, word))
    return after if after > 0 else number(octets, at)[1]


@compiled
def _past_value(octets: Bytes, at: int) -> int:
    """Return the index after any value, which is skipped; 0 if it is not plain. The bits of `inside` are the enclosing
    lists (0) and objects (1), the innermost lowest."""
    inside, depth = 0, 0
    while True:
        if octets[at] == OPEN or octets[at] == OPEN_LIST:
            keyed = octets[at] == OPEN
            at = _past_space(octets, at + 1)
            empty = octets[at] == (CLOSE if keyed else CLOSE_LIST)
            if not empty:
                if depth == DEEPEST:
                    return 0
                inside, depth = 2 * inside + keyed, depth + 1
                at = _past_name(octets, at) if keyed else at
                if at == 0:
                    return 0
                continue
            at += 1
        else:
            at = _past_single(octets, at)
        more = False
        while at > 0 and depth > 0 and not more:
            at, more = _past_space(octets, at), False
            keyed = inside & 1 == 1
            if octets[at] == COMMA:
                at, more = _past_space(octets, at + 1), True
                at = _past_name(octets, at) if keyed else at
            elif octets[at] == (CLOSE if keyed else CLOSE_LIST):
                at, depth, inside = at + 1, depth - 1, inside >> 1
            else:
                return 0
        if not more or at == 0:
            return at


@compiled
def _past_name(octets: Bytes, at: int) -> int:
    """Return the index of the value that follows the name at `at`; 0 if there is no name."""
    at = _past_text(octets, at)
    return _past_colon(octets, at) if at > 0 else 0


@compiled
def distinct(octets: Bytes, start_M: Int64, stop_M: Int64, slots: Int64, first_M: Int64, place_M: Int32) -> int:
    """Number the distinct texts in order of first appearance, and return how many there are. `first_M` gets the index
    of an object with each distinct text, `place_M` the number of each object's text. Returns 0 after too many hash
    collisions, as with texts chosen to collide. `slots` must be all -1, and its length a power of two, at least twice
    the number of texts."""
    last, count, tries_left = len(slots) - 1, 0, TOGETHER * len(start_M)
    for m in range(len(start_M)):
        slot = _mixed(octets, start_M[m], stop_M[m]) & last
        while slots[slot] >= 0 and not _equal(octets, start_M, stop_M, first_M[slots[slot]], m):
            slot, tries_left = (slot + 1) & last, tries_left - 1
            if tries_left == 0:
                return 0
        if slots[slot] < 0:
            slots[slot], first_M[count] = count, m
            count += 1
        place_M[m] = slots[slot]
    return count


@compiled
def _mixed(octets: Bytes, start: int, stop: int) -> int:
    """The FNV-1a hash (Fowler, Noll and Vo), with its upper half folded into the lower."""
    mixed = np.uint64(0xCBF29CE484222325)
    for at in range(start, stop):
        mixed = (mixed ^ np.uint64(octets[at])) * np.uint64(0x100000001B3)
    return int((mixed ^ (mixed >> np.uint64(32))) & np.uint64(2**31 - 1))


@compiled
def _equal(octets: Bytes, start_M: Int64, stop_M: Int64, one: int, other: int) -> bool:
    if stop_M[one] - start_M[one] != stop_M[other] - start_M[other]:
        return False
    for place in range(stop_M[one] - start_M[one]):
        if octets[start_M[one] + place] != octets[start_M[other] + place]:
            return False
    return True

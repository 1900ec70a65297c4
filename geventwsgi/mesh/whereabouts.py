"""Which worker holds a session: in memory that all workers of a master share, of a bounded size.

The master makes it before its first fork. A value (a session's identity, for example) is stored as a hash under a key
that nobody else has. What has not been asked for lately is forgotten. This module imports no gevent.
"""

from __future__ import annotations

import mmap
from _blake2 import blake2b
from typing import TYPE_CHECKING

from geventwsgi import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventwsgi.system.shared import Seat

#: Values that are remembered at the most, and how many of them share a bucket. The one of a bucket that was not asked
#: for longest makes room for the next. Powers of two.
MOST, WAYS = 1 << 17, 8
#: Seconds of one unit of the time in an entry, and units after which an entry is forgotten: a day.
UNIT, LIFETIME = 64, 1350
#: The bits of an entry's second word: a check, the time, the worker's age, its slot. A worker's number has its age and
#: its place.
_CHECK, _TIME, _AGE, _SLOT = 16, 12, 24, 12
_TIMES, _AGES, _SLOTS = (1 << _TIME) - 1, (1 << _AGE) - 1, (1 << _SLOT) - 1


class Whereabouts:
    """See above.

    :param key: 32 bytes that only the master's processes know.
    :param most: values that are remembered; a power of two, at least :data:`WAYS`.
    :param now: the seconds of a clock that all processes share.
    """

    def __init__(self, key: bytes, most: int = MOST, now: Callable[[], float] = clock.monotonic) -> None:
        self._key = key
        self._buckets = most // WAYS
        self._now = now
        # Two words for each value. Each word is written by one store, so that no other process sees half of it.
        self._words = memoryview(mmap.mmap(-1, 16 * most)).cast("Q")

    def digest(self, value: bytes, size: int, purpose: bytes) -> bytes:
        """Return a keyed hash that nobody outside of this master's processes can guess."""
        return blake2b(value, digest_size=size, key=self._key, person=purpose).digest()

    def learn(self, value: str, seat: Seat) -> None:
        """Note that a worker holds a value."""
        base, tag, check = self._place(value)
        index = self._slot_for(base, tag)
        self._words[index + 1] = _pack(check, self._units(), seat)  # first: the check does not suit the former tag
        self._words[index] = tag

    def find(self, value: str) -> tuple[int, int] | None:
        """Return the worker that holds a value: its slot and :func:`age_of` its number; None if it is not known."""
        base, tag, check = self._place(value)
        words = self._words
        for index in range(base, base + 2 * WAYS, 2):
            if words[index] == tag:
                word, now = words[index + 1], self._units()
                unused = (now - (word >> _AGE + _SLOT)) & _TIMES
                if word >> _TIME + _AGE + _SLOT != check or unused > LIFETIME:
                    return None
                if unused:
                    words[index + 1] = word & ~(_TIMES << _AGE + _SLOT) | now << _AGE + _SLOT
                return word & _SLOTS, age_of(word)
        return None

    def _place(self, value: str) -> tuple[int, int, int]:
        """Return where a value's bucket begins, the value's tag, which is not 0, and its check."""
        digest = int.from_bytes(self.digest(value.encode("utf-8", "surrogatepass"), 16, b"value"), "little")
        bucket = (digest >> 80) % self._buckets
        return bucket * 2 * WAYS, digest & (1 << 64) - 1 or 1, digest >> 64 & (1 << _CHECK) - 1

    def _slot_for(self, base: int, tag: int) -> int:
        """Return the entry of a tag in a bucket, else one that is free, else the one that was not used longest."""
        words, now = self._words, self._units()
        oldest, found = -1, base
        for index in range(base, base + 2 * WAYS, 2):
            if words[index] == tag:
                return index
            unused = _TIMES + 1 if not words[index] else (now - (words[index + 1] >> _AGE + _SLOT)) & _TIMES
            if unused > oldest:
                oldest, found = unused, index
        return found

    def _units(self) -> int:
        return int(self._now() / UNIT) & _TIMES


def numbered(age: int, place: int) -> int:
    """Return the number of a worker: of two, the one that began later has the greater one."""
    return age << _SLOT | place


def place_of(number: int) -> int:
    """Return a worker's place, which its successor takes."""
    return number & _SLOTS


def age_of(number: int) -> int:
    """Return a worker's age, as far as :meth:`Whereabouts.find` returns it."""
    return number >> _SLOT & _AGES


def _pack(check: int, units: int, seat: Seat) -> int:
    index, number = seat
    return ((check << _TIME | units) << _AGE | age_of(number)) << _SLOT | index

"""The worst stalls of the workers' loops, by place: a table in shared memory for each slot, which outlives its worker.

Only the worker of a slot writes its table. This module knows no process and no clock.
"""

from __future__ import annotations

import mmap
import struct
from typing import NamedTuple

#: How often, nanoseconds in all and of the worst one, bytes of the place; the place itself follows.
_HEAD = struct.Struct("=QQQQ")
#: Places of a table, and bytes of each.
PLACES, SIZE = 8, 256
LONGEST = SIZE - _HEAD.size


class Place(NamedTuple):
    """A place at which loops stood still.

    :param place: lines of code, the innermost first.
    :param times: how many stalls.
    :param total: nanoseconds of all of them.
    :param worst: nanoseconds of the longest.
    """

    place: str
    times: int
    total: int
    worst: int


class StallTable:
    """One worker's table."""

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory

    def note(self, place: str, nanoseconds: int) -> None:
        """Count a stall. Of more than :data:`PLACES` places those with the most time stay."""
        text = place.encode("utf-8", "replace")[:LONGEST].decode("utf-8", "ignore")
        records = [self._read(number) for number in range(PLACES)]
        number = next((number for number, record in enumerate(records) if record.place == text), -1)
        if number < 0:
            number = min(range(PLACES), key=lambda number: records[number].total)
            if records[number].total > nanoseconds:
                return
            records[number] = Place(text, 0, 0, 0)
        _, times, total, worst = records[number]
        self._write(number, Place(text, times + 1, total + nanoseconds, max(worst, nanoseconds)))

    def places(self) -> list[Place]:
        """Return the places of the table."""
        return [record for record in map(self._read, range(PLACES)) if record.times]

    def _read(self, number: int) -> Place:
        begin = number * SIZE
        times, total, worst, size = _HEAD.unpack_from(self._memory, begin)
        text = bytes(self._memory[begin + _HEAD.size : begin + _HEAD.size + min(size, LONGEST)])
        return Place(text.decode("utf-8", "replace"), times, total, worst)

    def _write(self, number: int, record: Place) -> None:
        begin, text = number * SIZE, record.place.encode()
        _HEAD.pack_into(self._memory, begin, 0, 0, 0, 0)  # whoever reads in between sees no record
        self._memory[begin + _HEAD.size : begin + _HEAD.size + len(text)] = text
        _HEAD.pack_into(self._memory, begin, record.times, record.total, record.worst, len(text))


class SharedStalls:
    """The tables; the master makes them before its first fork. The system allocates no memory for unused ones.

    :param tables: how many.
    """

    def __init__(self, tables: int) -> None:
        self._memory = memoryview(mmap.mmap(-1, tables * PLACES * SIZE))

    def of(self, index: int) -> StallTable:
        """Return the table of a slot."""
        return StallTable(self._memory[index * PLACES * SIZE : (index + 1) * PLACES * SIZE])


def worst(tables: list[StallTable], limit: int = 20) -> list[Place]:
    """Return the places of several tables, the one with the most time first."""
    merged: dict[str, Place] = {}
    for one in (place for table in tables for place in table.places()):
        known = merged.get(one.place, Place(one.place, 0, 0, 0))
        merged[one.place] = Place(
            one.place, known.times + one.times, known.total + one.total, max(known.worst, one.worst)
        )
    return sorted(merged.values(), key=lambda place: place.total, reverse=True)[:limit]

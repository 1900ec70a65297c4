"""Give memory back to the system when many connections have gone or have become idle.

The memory of these connections is free then. But it lies between memory that is in use, so the C library keeps it, and
a worker would stay as large as it was with most connections. Knows numbers of connections only.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

#: Connections that have gone or become idle before memory is given back, and seconds from then on.
MANY, SECONDS = 500, 1.0


def trim() -> None:
    """Give free memory back to the system, where the C library can: ``malloc_trim`` is glibc's alone."""
    import ctypes  # slow to import, and a worker with few connections does without

    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


class Trimmer:
    """Counts the connections that release their memory, and gives it back to the system after many."""

    __slots__ = ("_count", "_loop", "_timer")

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._count = 0
        self._timer: Any = None

    def count(self) -> None:
        """Note that a connection has gone or has become cold."""
        self._count += 1
        if self._count >= MANY and self._timer is None:
            self._timer = self._loop.timer(SECONDS, ref=False)
            self._timer.start(self._look)

    def _look(self) -> None:
        self._timer.close()
        self._timer = None
        self._count = 0
        trim()

"""Tickets: the numbers by which the messages of all workers have one order.

The master makes the counter, and the workers share it. The module imports no gevent, so that the master may import it.
"""

from __future__ import annotations

import mmap
import os
from contextlib import suppress

from geventwsgi.forks import close

#: The version of what workers tell each other: of frames, the tickets' memory, and what is passed with a connection. An
#: upgrade (USR2) may bring another one. Then the workers of the two masters do not meet.
FORMAT = 2
#: Number of tickets whose channels are remembered: the last ones. A power of two.
REMEMBERED = 1 << 16
#: Bits, beside the channel's key, that tell in which round through this memory the ticket was drawn.
ROUND = 0xFF


class Tickets:
    """Numbers from 1 on. No two processes that share the open file get the same number.

    The number is the offset of that file. ``lseek`` moves and returns it in one
    step (POSIX.1, XSH 2.9.7), so that a process that is stopped or killed does not hold up the others.

    The file's memory has the key of the channel for which each of the last tickets was drawn. So a worker sees which
    messages do not come to it, and their publishers need not send it anything.

    :param fd: the file, if this program has inherited it.
    :param world: see :attr:`world`.
    """

    def __init__(self, fd: int | None = None, world: str | None = None) -> None:
        #: A random name of the processes that share the numbers.
        self.world = world or os.urandom(8).hex()
        self.fd = open_unnamed() if fd is None else fd
        os.ftruncate(self.fd, 8 * REMEMBERED)
        # Each entry is written by one store of eight bytes, so that no other process sees half of it.
        self._keys = memoryview(mmap.mmap(self.fd, 8 * REMEMBERED)).cast("Q")

    def take(self, key: int = 1) -> int:
        """Return the next number.

        :param key: the channel's, from 1 to 2**56 - 1.
        """
        ticket = os.lseek(self.fd, 1, os.SEEK_CUR)
        self._keys[ticket % REMEMBERED] = key << 8 | (ticket // REMEMBERED) & ROUND
        return ticket

    @property
    def last(self) -> int:
        """The number that was taken last, by any process."""
        return os.lseek(self.fd, 0, os.SEEK_CUR)

    def key(self, ticket: int) -> int | None:
        """Return the key of the channel that a ticket was taken for; None if it is not written yet or forgotten."""
        noted = self._keys[ticket % REMEMBERED]
        return (noted >> 8) if noted and noted & ROUND == (ticket // REMEMBERED) & ROUND else None


def open_unnamed() -> int:
    """Open a regular file without a name, in memory if the system can do that."""
    with suppress(AttributeError, OSError):
        memory = os.memfd_create("geventwsgi")
        try:
            # On Linux the steps of an offset are atomic only for a file that was opened by a path.
            return os.open(f"/proc/self/fd/{memory}", os.O_RDWR | os.O_CLOEXEC)
        finally:
            close(memory)
    from tempfile import TemporaryFile  # with much of Python's library, for systems that have no memfd

    with TemporaryFile(buffering=0) as file:
        return os.dup(file.fileno())

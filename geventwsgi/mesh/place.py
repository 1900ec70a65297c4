"""This process's place among the workers of a master, and what waits for it to begin serving.

A worker fills it in after the fork. In other processes (a script with a ``WSGIServer``, a test) it stays empty, and
channels reach the greenlets of one process. The module imports no gevent, so that the master may import it.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from geventwsgi.forks import close

if TYPE_CHECKING:
    from collections.abc import Callable


class Tickets:
    """Numbers from 1 on. No two processes that were forked from the one that makes it get the same number.

    The number is the offset of one open file without content, which they share. ``lseek`` moves and returns it in one
    step (POSIX.1, XSH 2.9.7), so that a process that is stopped or killed does not hold up the others.
    """

    def __init__(self) -> None:
        #: A random name of the processes that share the numbers.
        self.world = os.urandom(8).hex()
        self._fd = _open_unnamed()

    def take(self) -> int:
        """Return the next number."""
        return os.lseek(self._fd, 1, os.SEEK_CUR)

    @property
    def last(self) -> int:
        """The number that was taken last, by any process."""
        return os.lseek(self._fd, 0, os.SEEK_CUR)


def _open_unnamed() -> int:
    """Open a regular file without a name, in memory if the system can do that."""
    with suppress(AttributeError, OSError):
        memory = os.memfd_create("geventwsgi-tickets")
        try:
            # On Linux the steps of an offset are atomic only for a file that was opened by a path.
            return os.open(f"/proc/self/fd/{memory}", os.O_RDWR | os.O_CLOEXEC)
        finally:
            close(memory)
    from tempfile import TemporaryFile  # noqa: PLC0415 - with much of Python's library, for systems that have no memfd

    with TemporaryFile(buffering=0) as file:
        return os.dup(file.fileno())


class Place:
    """This process's place among the workers of one master."""

    def __init__(self) -> None:
        #: The private directory in which the workers' sockets meet; None where there are no other workers.
        self.directory: str | None = None
        #: The numbers of the workers' messages; None where there are no other workers.
        self.tickets: Tickets | None = None
        self._complain: Callable[..., object] = logging.getLogger("geventwsgi.events").error
        self._arrived = False
        self._arrivals: list[Callable[[], object]] = []

    def settle(self, directory: str, tickets: Tickets, complain: Callable[..., object]) -> None:
        """Take a place: called by a worker before its application is loaded.

        :param complain: writes a line to its error log.
        """
        self.directory = directory
        self.tickets = tickets
        self._complain = complain

    def complain(self, text: str, *args: object) -> None:
        """Log a failure: to the server's error log if there is a server, else by ``logging``."""
        self._complain(text, *args)

    def on_arrival(self, function: Callable[[], object]) -> None:
        """Have ``function`` called when the worker is about to serve, or now if it serves already."""
        if self._arrived:
            function()
        else:
            self._arrivals.append(function)

    def arrive(self) -> None:
        """Call the functions that wait. A worker calls this before it accepts its first connection."""
        self._arrived = True
        arrivals, self._arrivals = self._arrivals, []
        for function in arrivals:
            function()


HERE = Place()

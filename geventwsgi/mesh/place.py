"""Where this process stands: which master's worker it is, and what waits for it to begin serving.

A worker fills it in after the fork; elsewhere (a script with a ``WSGIServer``, a test) it stays empty, and channels
reach the greenlets of one process. It knows neither sockets nor gevent, so that the master may import it.
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
    """Numbers from 1 on, of which no two processes get the same: those that fork from the one that makes it.

    They are the offset of one open file, which all of them share and nobody writes to. ``lseek`` moves it and tells
    where it is in one step (POSIX.1, XSH 2.9.7), so that a process that is stopped or killed holds up nobody.
    """

    def __init__(self) -> None:
        #: Names the processes that share them, in no other server and never again.
        self.world = os.urandom(8).hex()
        self._fd = _open_unnamed()

    def take(self) -> int:
        """Return the next number."""
        return os.lseek(self._fd, 1, os.SEEK_CUR)

    @property
    def last(self) -> int:
        """The number that was taken last, by whichever process."""
        return os.lseek(self._fd, 0, os.SEEK_CUR)


def _open_unnamed() -> int:
    """Open a regular file that has no name, in memory where that can be."""
    with suppress(AttributeError, OSError):
        memory = os.memfd_create("geventwsgi-tickets")
        try:
            # Linux makes the steps of an offset atomic only for what was opened by a path.
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
        #: What the workers' messages are numbered by; None where there are no other workers.
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
        """Say what has gone wrong: in the server's error log where there is a server, else by ``logging``."""
        self._complain(text, *args)

    def on_arrival(self, function: Callable[[], object]) -> None:
        """Have ``function`` called when the worker is about to serve, or now if it serves already."""
        if self._arrived:
            function()
        else:
            self._arrivals.append(function)

    def arrive(self) -> None:
        """Tell all who wait: called by a worker before it accepts its first connection."""
        self._arrived = True
        arrivals, self._arrivals = self._arrivals, []
        for function in arrivals:
            function()


HERE = Place()

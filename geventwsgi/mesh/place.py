"""This process's place among the workers of a master, and what waits for it to begin serving.

A worker fills it in after the fork. In other processes (a script with a ``WSGIServer``, a test) it stays empty, and
channels reach the greenlets of one process. The module imports no gevent, so that the master may import it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventwsgi.mesh.tickets import Tickets


class Newcomer(Protocol):
    """What begins with the worker."""

    def begin(self) -> None:
        """Begin; does not wait."""

    def wait(self) -> None:
        """Wait until it has begun."""


class Place:
    """This process's place among the workers of one master."""

    def __init__(self) -> None:
        #: The private directory in which the workers' sockets meet; None where there are no other workers.
        self.directory: str | None = None
        #: The numbers of the workers' messages; None where there are no other workers.
        self.tickets: Tickets | None = None
        self._complain: Callable[..., object] = logging.getLogger("geventwsgi.events").error
        self._arrived = False
        self._newcomers: WeakSet[Newcomer] = WeakSet()

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

    def on_arrival(self, newcomer: Newcomer) -> None:
        """Have something begin when the worker is about to serve. If it serves already, do nothing."""
        if not self._arrived:
            self._newcomers.add(newcomer)

    def arrive(self) -> None:
        """Let everything begin that waits. A worker calls this before it accepts its first connection."""
        self._arrived = True
        newcomers = list(self._newcomers)
        self._newcomers.clear()
        for newcomer in newcomers:
            newcomer.begin()
        for newcomer in newcomers:
            newcomer.wait()


HERE = Place()

"""This process's place among the workers of a master, and what waits for it to begin serving.

A worker fills it in after the fork. In other processes (a script with a ``WSGIServer``, a test) it stays empty, and
channels reach the greenlets of one process. The module imports no gevent, so that the master may import it.
"""

from __future__ import annotations

import logging
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventwsgi.mesh.claims import Claims
    from geventwsgi.mesh.passing import Passing
    from geventwsgi.mesh.tickets import Tickets
    from geventwsgi.mesh.whereabouts import Whereabouts

#: A worker's address, the name of its socket: its process id and a random name.
ADDRESS = re.compile(r"([0-9]{1,10})\.[0-9a-f]{8}")


class Newcomer(Protocol):
    """What begins with the worker."""

    def begin(self) -> None:
        """Begin; does not wait."""

    def wait(self) -> None:
        """Wait until it has begun."""


class Leaver(Protocol):
    """What has something that must not end with the worker."""

    def begin_to_leave(self) -> None:
        """Note that the worker ends; does not wait."""

    def hand_over(self) -> None:
        """Give to others what must not be lost; may wait a moment."""


class Place:
    """This process's place among the workers of one master."""

    def __init__(self) -> None:
        #: The private directory in which the workers' sockets meet; None where there are no other workers.
        self.directory: str | None = None
        #: The numbers of the workers' messages; None where there are no other workers.
        self.tickets: Tickets | None = None
        #: The names that one worker at a time may have; None where there are no other workers.
        self.claims: Claims | None = None
        #: Which worker holds which session, and this worker's place; None where there are no other workers.
        self.whereabouts: Whereabouts | None = None
        self.seat = 0
        #: Takes descriptors from other workers, and passes them some; None where no setting asks for it.
        self.passing: Passing | None = None
        self._complain: Callable[..., object] = logging.getLogger("geventwsgi.events").error
        #: The names of the greenlets that the worker is to wait for at its end.
        self.tasks: dict[Any, str] = {}
        #: Whether the worker serves.
        self.arrived = False
        self._newcomers: WeakSet[Newcomer] = WeakSet()
        self._leavers: list[Leaver] = []

    def settle(self, directory: str, tickets: Tickets, complain: Callable[..., object]) -> None:
        """Take a place: called by a worker before its application is loaded.

        :param complain: writes a line to its error log.
        """
        self.directory = directory
        self.tickets = tickets
        self._complain = complain

    def join(self, claims: Claims) -> None:
        """Note that this process is a worker, or the master of some."""
        self.claims = claims

    def is_used(self) -> bool:
        """Return whether any worker uses channels, and so has a socket at which others reach it."""
        with suppress(OSError):
            return self.directory is not None and any(map(ADDRESS.fullmatch, os.listdir(self.directory)))
        return False

    def sit(self, seat: int, whereabouts: Whereabouts) -> None:
        """Take a seat among the workers, which the worker's successor will take."""
        self.seat = seat
        self.whereabouts = whereabouts

    def complain(self, text: str, *args: object, error: BaseException | None = None) -> None:
        """Log a failure: to the server's error log if there is a server, else by ``logging``.

        :param error: its traceback is logged.
        """
        self._complain(text, *args, exc_info=error)

    def on_arrival(self, newcomer: Newcomer) -> None:
        """Have something begin when the worker is about to serve. If it serves already, do nothing."""
        if not self.arrived:
            self._newcomers.add(newcomer)

    def arrive(self) -> None:
        """Let everything begin that waits. A worker calls this before it accepts its first connection."""
        self.arrived = True
        newcomers = list(self._newcomers)
        self._newcomers.clear()
        for newcomer in newcomers:
            newcomer.begin()
        for newcomer in newcomers:
            newcomer.wait()

    def take_passings(self, passing: Passing) -> None:
        """Have descriptors passed between this worker and others."""
        self.passing = passing
        self.on_departure(passing)

    def on_departure(self, leaver: Leaver) -> None:
        """Have the methods of something called when the worker is about to end."""
        self._leavers.append(leaver)

    def forget_departure(self) -> None:
        """Call nothing at the end, in a forked process."""
        self._leavers.clear()

    def leave(self) -> None:
        """Call all that have to know that the worker begins to end. A worker calls this when it accepts no more."""
        for leaver in self._leavers:
            leaver.begin_to_leave()

    def depart(self) -> None:
        """Let everything hand over what others need. A worker calls this after its last request."""
        for leaver in self._leavers:
            leaver.hand_over()


HERE = Place()

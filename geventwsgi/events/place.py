"""Where this process stands: which master's worker it is, and what waits for it to begin serving.

A worker fills it in after the fork; elsewhere (a script with a ``WSGIServer``, a test) it stays empty, and channels
reach the greenlets of one process. It knows neither sockets nor gevent, so that the master may import it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Place:
    """This process's place among the workers of one master."""

    def __init__(self) -> None:
        #: The private directory in which the workers' sockets meet; None where there are no other workers.
        self.directory: str | None = None
        self._arrived = False
        self._arrivals: list[Callable[[], object]] = []

    def settle(self, directory: str) -> None:
        """Take a place: called by a worker before its application is loaded."""
        self.directory = directory

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

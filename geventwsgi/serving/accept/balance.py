"""Whether this worker takes the next connection, or leaves it to one that has less to do.

Workers that share a listening socket are all told of a connection, and the first to ask for it gets it: mostly the one
that is least busy at that moment, which says nothing of how many connections it holds. Here a worker that holds more
than another looks away from the socket for a moment. Only for a moment, and for less the more often that was in vain:
the other may be blocked, or about to end, and a connection must not wait for it.

Knows counts; knows neither who keeps them nor where.
"""

from __future__ import annotations

import time
from typing import Protocol

#: Seconds that a worker looks away at a time.
MOMENT = 0.002
#: Seconds in all before it takes a connection although another has less to do.
PATIENCE = 0.064
#: A worker leaves connections to another when its load exceeds the lowest by more than 1/2**SLACK of that.
SLACK = 5


class Counts(Protocol):
    """What the workers of one master know of each other; :class:`~geventwsgi.system.shared.Slot` is it."""

    def count(self, requests: int, connections: int) -> None:
        """Tell the others of this worker's requests in flight and open connections."""

    def accept(self, *, accepting: bool) -> None:
        """Tell the others whether this worker takes connections."""

    def least(self) -> int:
        """Return the fewest requests and connections together of a worker that takes connections; -1 if none does."""


class Load:
    """What a worker does at the moment; :class:`~.capacity.Capacity` is it."""

    #: Is told of each connection that comes or goes; set by :class:`Balance`.
    balance: Balance | None

    def in_flight(self) -> int:
        """Return how many requests are being served and do not wait for their client."""
        raise NotImplementedError

    def open(self) -> int:
        """Return how many connections are open."""
        raise NotImplementedError


class Balance:
    """One worker's part in it; shared by the worker's servers.

    :param load: counts the worker's own requests and connections.
    """

    def __init__(self, counts: Counts, load: Load) -> None:
        self._counts = counts
        self._load = load
        self._patience = PATIENCE
        #: When this worker began to look away from connections, and when it last did.
        self._since = self._last = float("-inf")
        load.balance = self

    def tell(self) -> None:
        """Tell the others of a connection that has come or gone."""
        self._counts.count(self._load.in_flight(), self._load.open())

    def join(self) -> None:
        """From now on take connections."""
        self.tell()
        self._counts.accept(accepting=True)

    def leave(self) -> None:
        """Take none for now: nobody need wait for this worker."""
        self._counts.accept(accepting=False)

    def defers(self) -> bool:
        """Return whether a connection that waits now had better be taken by another worker."""
        self.tell()
        least = self._counts.least()
        if least < 0 or self._load.in_flight() + self._load.open() <= least + (least >> SLACK):
            self._patience = PATIENCE
            return False
        now = time.monotonic()
        if now - self._last > 4 * MOMENT:
            self._since = now
        self._last = now
        if now - self._since < self._patience:
            return True
        self._since = now
        self._patience /= 2
        return False

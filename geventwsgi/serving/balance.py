"""Whether this worker takes the next connection, or leaves it to one that has less to do.

Workers that share a listening socket are all told of a connection, and the first to ask for it gets it: mostly the one
that is least busy at that moment, which says nothing of how many connections it holds. Here a worker that holds more
than another looks away from the socket for a moment. Only for a moment, and for less the more often that was in vain:
the other may be blocked, or about to end, and a connection must not wait for it.

Knows counts; knows neither who keeps them nor where.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from geventwsgi.serving.capacity import Capacity

#: Seconds that a worker looks away at a time.
MOMENT = 0.002
#: Seconds in all before it takes a connection although another has less to do.
PATIENCE = 0.064
#: So much of the least load (as a power of two) may be between two workers before one leaves connections to the other.
SLACK = 5


class Counts(Protocol):
    """What the workers of one master know of each other; :class:`~geventwsgi.system.shared.Slot` is it."""

    def count(self, requests: int, connections: int) -> None:
        """Tell the others of this worker's requests in flight and open connections."""

    def accept(self, *, accepting: bool) -> None:
        """Tell the others whether this worker takes connections."""

    def least(self) -> int:
        """Return the fewest requests and connections together of a worker that takes connections; -1 if none does."""


class Balance:
    """One worker's part in it; shared by the worker's servers.

    :param capacity: where the worker's own requests and connections are counted.
    """

    def __init__(self, counts: Counts, capacity: Capacity) -> None:
        self._counts = counts
        self._capacity = capacity
        self._patience = PATIENCE
        #: When this worker began to look away from connections, and when it last did.
        self._since = self._last = float("-inf")
        capacity.balance = self

    def tell(self) -> None:
        """Tell the others of a connection that has come or gone."""
        capacity = self._capacity
        self._counts.count(capacity.in_flight(), capacity.open())

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
        if least < 0 or self._capacity.in_flight() + self._capacity.open() <= least + (least >> SLACK):
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

"""Whether this worker accepts the next connection, or leaves it to a worker that has less to do.

All workers that share a listening socket are woken for a connection, and the first one to accept gets it. That is
mostly the one that is idle at that moment, however many connections it has. So a worker with more connections than
another ignores the socket for a moment. The moment becomes shorter each time that no other worker has accepted: the
other one may be blocked or about to end, and a connection must not wait for it.

Knows numbers of connections and requests; knows nothing of where they are stored.
"""

from __future__ import annotations

import time
from typing import Protocol

#: Seconds for which a worker ignores the socket at a time.
MOMENT = 0.002
#: Seconds after which it accepts a connection although another worker has less to do.
PATIENCE = 0.064
#: A worker leaves connections to another when its load exceeds the lowest by more than 1/2**SLACK of that.
SLACK = 5


class Counts(Protocol):
    """The numbers that the workers of one master publish; :class:`~geventwsgi.system.shared.Slot` implements it."""

    def count(self, requests: int, connections: int) -> None:
        """Publish the numbers of this worker's requests in flight and open connections."""

    def accept(self, *, accepting: bool) -> None:
        """Publish whether this worker accepts connections."""

    def least(self) -> int:
        """Return the lowest sum of requests and connections of the workers that accept; -1 if none accepts."""


class Load:
    """The load of one worker; :class:`~.capacity.Capacity` implements it."""

    #: Publishes each change of the number of connections; set by :class:`Balance`.
    balance: Balance | None

    def in_flight(self) -> int:
        """Return how many requests are being served and do not wait for their client."""
        raise NotImplementedError

    def open(self) -> int:
        """Return how many connections are open."""
        raise NotImplementedError


class Balance:
    """Balances one worker against the others; shared by the worker's servers.

    :param load: the worker's own numbers of requests and connections.
    """

    def __init__(self, counts: Counts, load: Load) -> None:
        self._counts = counts
        self._load = load
        self._patience = PATIENCE
        #: When this worker began to ignore connections, and when it did last.
        self._since = self._last = float("-inf")
        load.balance = self

    def tell(self) -> None:
        """Publish the worker's numbers."""
        self._counts.count(self._load.in_flight(), self._load.open())

    def join(self) -> None:
        """Accept connections from now on."""
        self.tell()
        self._counts.accept(accepting=True)

    def leave(self) -> None:
        """Accept none for now: no other worker has to defer to this one."""
        self._counts.accept(accepting=False)

    def defers(self) -> bool:
        """Return whether another worker should accept the connection that waits now."""
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

"""The limits of a worker: requests in flight, connections, connections of one address.

The servers of a worker share one object. It knows numbers, and the order in which connections became idle.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from geventwsgi import clock
from geventwsgi.serving.accept import balance
from geventwsgi.serving.loop import runners
from geventwsgi.serving.loop.places import Places

if TYPE_CHECKING:
    from collections.abc import Iterable

    from geventwsgi.config.sources import Config
    from geventwsgi.serving.request.live_exchange import LiveExchange

#: Descriptors left for files, logs and the application's own connections, when the limit of connections follows from
#: the limit of descriptors. Of few descriptors half are left.
RESERVED_DESCRIPTORS = 64
#: Seconds for which a head may be incomplete before its connection counts as hoarded.
HOARDED_AFTER = 1.0


class Guest(runners.Sleeper):
    """A connection, as the capacity knows it."""

    __slots__ = ("counted", "lingering", "remote_addr")

    #: Whether it counts among the open ones; set and reset by the capacity.
    counted: bool
    #: Its client's address; "" for a unix socket.
    remote_addr: str
    #: Whether the only thing left to do is to discard what its client sends.
    lingering: bool

    def in_flight(self) -> Iterable[tuple[Any, LiveExchange]]:
        """Return the requests that are being served, with their greenlets."""
        raise NotImplementedError

    def is_held(self) -> bool:
        """Return whether it has no end of its own, and its client comes back soon after one."""
        raise NotImplementedError

    def is_at_work(self) -> bool:
        """Return whether code that runs, or the rest of a message, keeps it from going on in another worker for now."""
        raise NotImplementedError

    def end_request(self, exchange: LiveExchange) -> None:
        """End a request that is being served: 503 if its response has not begun, else a cut. Called in the hub."""
        raise NotImplementedError

    def drain(self) -> None:
        """End the connection as soon as the requests that have come are answered."""
        raise NotImplementedError

    def kill(self) -> None:
        """End the connection now."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the socket, and count the connection out; a second call does nothing."""
        raise NotImplementedError

    def let_go(self) -> None:
        """Release the connection in a forked process: it belongs to the parent."""
        raise NotImplementedError


class Capacity(balance.Load):
    """The limits, and the numbers that they are compared with.

    :param requests: requests in flight (``worker_connections``); further ones wait in order.
    :param connections: open connections (``limit_connections``); 0 for as many as the limit of descriptors allows.
    :param per_address: open connections of one address (``limit_connections_per_address``); 0 for any number.
    :param queue: requests that may wait (``limit_request_queue``); 0 for any number.
    """

    def __init__(self, requests: int, connections: int = 0, per_address: int = 0, queue: int = 0) -> None:
        self.places = Places(requests, queue)
        self.connections = connections or room(descriptors())
        self.per_address = per_address
        self._open = 0
        #: How many connections were accepted so far; those that came from another worker are not counted.
        self.entered = 0
        #: Publishes the number of connections to other workers; set by :class:`~.balance.Balance`.
        self.balance: balance.Balance | None = None
        #: Connections on their way to other workers, whose descriptors this process still has.
        self._away = 0
        self._by_address: dict[str, int] = {}
        #: Connections that have been idle for a while, the longest idle one first.
        self.parked: dict[Guest, None] = {}
        #: Answered connections whose clients still send, the longest lingering one first.
        self.lingering: dict[Guest, None] = {}
        #: Connections with an incomplete head, with the time since when, the oldest first.
        self.half_sent: dict[Guest, float] = {}

    @classmethod
    def of(cls, config: Config) -> Capacity:
        """Return the capacity that the settings describe."""
        return cls(
            config.worker_connections,
            config.limit_connections,
            config.limit_connections_per_address,
            config.limit_request_queue,
        )

    def let_go(self) -> None:
        """Publish nothing more: in a forked process the numbers are the parent's."""
        self.balance = None

    def count_away(self, change: int) -> None:
        """Note that so many more connections are on their way to other workers; they count like those that are here."""
        self._away += change

    def in_flight(self) -> int:
        """See :class:`.Load`."""
        return self.places.in_flight()

    def admits(self, address: str) -> bool:
        """Return whether one more connection of ``address`` is within the limit; "" (a unix socket) always is.

        A lingering connection of that address is closed to make room.
        """
        if not (self.per_address and address) or self._by_address.get(address, 0) < self.per_address:
            return True
        for connection in self.lingering:
            if connection.remote_addr == address:
                connection.kill()
                return True
        return False

    def enter(self, connection: Guest) -> None:
        """Count a connection in."""
        self._open += 1
        self.entered += 1
        connection.counted = True
        if self.balance is not None:
            self.balance.tell()
        if self.per_address:
            address = connection.remote_addr
            self._by_address[address] = self._by_address.get(address, 0) + 1

    def adopted(self) -> None:
        """Note that the connection which has just entered was accepted, and counted, by another worker."""
        self.entered -= 1

    def leave(self, connection: Guest) -> None:
        """Count a connection out; a second call does nothing."""
        if not connection.counted:
            return
        connection.counted = False
        self._open -= 1
        if self.balance is not None:
            self.balance.tell()
        self.parked.pop(connection, None)
        self.half_sent.pop(connection, None)
        if self.lingering:
            self.lingering.pop(connection, None)
        if self.per_address:
            address = connection.remote_addr
            left = self._by_address.pop(address, 1) - 1
            if left:
                self._by_address[address] = left

    def let_linger(self, connection: Guest) -> None:
        """Note that a connection lingers, and may be closed to make room."""
        connection.lingering = True
        self.parked.pop(connection, None)
        self.lingering[connection] = None

    def open(self) -> int:
        """See :class:`.Load`."""
        return self._open

    @property
    def full(self) -> bool:
        """Whether one more connection would be too many."""
        return self._open + self._away >= self.connections

    def dispensable(self) -> Guest | None:
        """Return the connection to end if one must end; None if none may.

        A lingering one ends first, then the one that has been idle longest, then the oldest one with an incomplete
        head. A client whose request runs never loses its connection to a new one.
        """
        for connection in self.lingering:
            return connection
        for connection in self.parked:
            return connection
        for connection, since in self.half_sent.items():
            return connection if clock.monotonic() - since > HOARDED_AFTER else None
        return None

    def evict(self) -> None:
        """End the :meth:`dispensable` connection, if there is one."""
        connection = self.dispensable()
        if connection is not None:
            self.leave(connection)
            connection.kill()


def room(limit: int) -> int:
    """Return the number of connections that a limit of descriptors allows."""
    return max(limit - RESERVED_DESCRIPTORS, limit // 2)


def descriptors() -> int:
    """Return how many descriptors this process may have open."""
    try:
        limit = os.sysconf("SC_OPEN_MAX")
    except AttributeError:  # Windows
        return 2048
    return limit if limit > 0 else 1 << 20

"""What all connections of one server share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from gevent import sleep, spawn_raw
from gevent.event import Event

from geventwsgi import clock
from geventwsgi.fanout import fanout_of
from geventwsgi.forks import hold
from geventwsgi.serving.accept.pacing import pauses
from geventwsgi.serving.loop.memory import Trimmer

if TYPE_CHECKING:
    from geventwsgi.serving.accept.capacity import Capacity, Guest
    from geventwsgi.serving.accept.entrance import Entrance
    from geventwsgi.serving.accept.timeouts import Timeouts
    from geventwsgi.serving.loop.runners import Runners
    from geventwsgi.serving.request.lane import Policy
    from geventwsgi.serving.request.live_exchange import LiveExchange
    from geventwsgi.serving.wire.sending import Common

#: Seconds for connections to end after they were cut.
KILL_MARGIN = 1.0
#: The part of the time for a drain in which held connections end at their rate.
REST = 0.9


class ServerView:
    """The value of ``environ["geventwsgi.server"]``."""

    __slots__ = ("draining",)

    def __init__(self) -> None:
        #: Set when the server begins to stop, so that long streams can end.
        self.draining = Event()


class Sender(Protocol):
    """Sends connections to the workers that go on when this one ends."""

    def has_taker(self) -> bool:
        """Return whether there is such a worker."""

    def send_on(self, connection: Any) -> None:
        """Have a connection go on there, with what has come of its next request."""

    def send_between(self, connection: Any) -> None:
        """Have a connection go on there between two calls of its handler; it is started again here if it stays."""


class Service:
    """The parts of one server, put together.

    :param common: what its streams share.
    :param runners: call :meth:`~.connection.Connection.run` in a greenlet.
    :param keeps_greenlets: whether a connection has a greenlet while it is idle (a pool's, say).
    :param greenlet_per_request: whether each request gets a new greenlet.
    """

    __slots__ = (
        "capacity", "common", "connections", "draining", "empty", "entrance", "fanout",
        "greenlet_per_request", "keeps_greenlets", "moves", "policy", "runners", "served", "timeouts", "trimmer",
    )  # fmt: skip

    def __init__(
        self, common: Common, capacity: Capacity, runners: Runners, timeouts: Timeouts, entrance: Entrance,
        policy: Policy, *, keeps_greenlets: bool = False, greenlet_per_request: bool = False,
    ) -> None:  # fmt: skip
        self.common = common
        self.capacity = capacity
        self.runners = runners
        self.timeouts = timeouts
        self.entrance = entrance
        self.policy = policy
        self.keeps_greenlets = keeps_greenlets
        self.greenlet_per_request = greenlet_per_request
        self.trimmer = Trimmer(common.deadlines.loop)
        #: Calls held responses when they have something to send.
        self.fanout = fanout_of(common.hub)
        self.connections: set[Guest] = set()
        #: Set when the last connection closes; cleared by :meth:`drain`.
        self.empty = Event()
        #: Requests begun so far.
        self.served = 0
        #: Whether the server stops: then no connection is kept alive, unless it goes on in another worker.
        self.draining = False
        #: Sends connections to the workers that go on, once this one has begun to end; None: they stay.
        self.moves: Sender | None = None

    def in_flight(self) -> list[tuple[Any, LiveExchange]]:
        """Return the requests that are being served, with their greenlets."""
        return [request for connection in tuple(self.connections) for request in connection.in_flight()]

    def begin_to_leave(self, moves: Sender) -> None:
        """Send each connection to another worker after its request from now on."""
        if not self.keeps_greenlets:
            self.moves = moves

    def hurries(self) -> bool:
        """Return whether no client may take long over a request: the server stops, and no other worker goes on."""
        return self.draining and (self.moves is None or not self.moves.has_taker())

    def begin_drain(self) -> None:
        """Keep no connection alive here from now on."""
        self.draining = True

    def drain(self, timeout: float) -> bool:
        """End each connection as soon as its requests are answered; return whether all have ended in time.

        :param timeout: seconds to wait.
        """
        if not self.connections:
            return True
        self.empty.clear()
        held: list[Guest] = []
        for connection in tuple(self.connections):
            if self.timeouts.drain_gap and connection.is_held():
                held.append(connection)
            else:
                connection.drain()
        if held:
            spawn_raw(self._drain_in_turn, held, clock.monotonic() + REST * timeout)
        return bool(self.empty.wait(timeout))

    def _drain_in_turn(self, held: list[Guest], until: float) -> None:
        """End held connections one after the other, since their clients reconnect; runs in a greenlet of its own.

        :param until: when the rest ends all at once, so that their responses still have a proper end.
        """
        for connection, pause in zip(held, pauses(self.timeouts.drain_gap, until), strict=False):
            if pause:
                sleep(pause)
            if not self.connections:
                return
            if connection in self.connections:
                connection.drain()

    def cut(self) -> bool:
        """End the connections that are left; return whether all of them had been answered."""
        answered = all(connection.lingering for connection in self.connections)
        for connection in tuple(self.connections):
            connection.kill()
        self.empty.wait(KILL_MARGIN)
        for connection in tuple(self.connections):
            if connection.lingering:
                connection.close()
        return answered

    def let_go(self) -> None:
        """Release all connections in a forked process (:mod:`geventwsgi.forks`): they belong to the parent."""
        hold(self, *self.connections)
        for connection in self.connections:
            connection.let_go()
        self.connections = set()
        self.runners.let_go()
        self.capacity.let_go()

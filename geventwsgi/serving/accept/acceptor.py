"""The listening socket: accepts some connections in each turn of the loop, and none while the worker is full.

Knows the results of accept and the limits on connections. ``connection`` knows what follows.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from gevent import get_hub

from geventwsgi import clock
from geventwsgi.errors import ClientDisconnected
from geventwsgi.serving.accept.balance import MOMENT
from geventwsgi.serving.loop.escaped import report
from geventwsgi.serving.wire import sockets

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventwsgi.observe.log import Logger
    from geventwsgi.serving.accept.capacity import Capacity
    from geventwsgi.serving.accept.connection import Connection, Speaker
    from geventwsgi.serving.wire.sockets import Socket

#: Errors of accept that mean that the system has no descriptors or no memory left.
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
#: Seconds without accepting when there is no room.
PAUSE = 0.1
#: Seconds between two log lines about that.
QUIET = 10.0


class Acceptor:
    """Accepts the connections of one listening socket.

    :param pause: makes the loop ignore the socket for a number of seconds. The backlog keeps waiting.
    :param most: connections accepted in one turn of the loop.
    :param proxied: whether each connection comes from a proxy, and counts for the client that the proxy names.
    """

    #: Opens connections; set before the first :meth:`begin`.
    speaker: Speaker

    def __init__(
        self, listener: Any, capacity: Capacity, log: Logger, pause: Callable[[float], object], most: int,
        *, proxied: bool = False,
    ) -> None:  # fmt: skip
        self._loop = get_hub().loop
        self._listener = listener
        self.capacity = capacity
        self._log = log
        self._pause = pause
        self._most = most
        self._proxied = proxied
        self._failures = Seldom()
        self._unwatchable = Seldom()
        #: Connections begun in this turn.
        self._begun: list[Connection] = []

    def listen_at(self, listener: Any) -> None:
        """Accept from another socket from now on."""
        self._listener = listener

    def accept(self) -> None:
        """Serve the connections that wait, up to the limit of one turn. Called in the hub when there are any."""
        try:
            for _ in range(self._most):
                accepted = self.take()
                if accepted is None:
                    return
                self.begin(*accepted)
        except BaseException as error:  # noqa: BLE001 - it would stop the loop's watcher for good
            report(self._loop, error)
            self._pause(PAUSE)

    def begin(self, sock: Socket, address: Any) -> None:
        """Start to serve an accepted connection."""
        self.start(self.speaker.open(sock, address))

    def start(self, connection: Connection) -> None:
        """Start to serve a connection of this listener."""
        connection.start()
        if not self._begun:
            self._loop.run_callback(self._watch)
        self._begun.append(connection)

    def _watch(self) -> None:
        """Have the poller watch the clients of this turn, except those that have been answered and have left.

        Most clients send their request with the handshake, and many send only one. These cost the poller nothing.
        """
        begun, self._begun = self._begun, []
        for connection in begun:
            try:
                connection.stream.watch()
            except ClientDisconnected:  # a context manager costs each new connection more
                pass  # the connection ends as soon as it waits for its client
            except BaseException as error:  # noqa: BLE001 - the others are watched all the same
                report(self._loop, error)

    def take(self) -> tuple[Socket, Any] | None:
        """Accept one connection; None if none waits, or if the worker is full."""
        capacity, balance = self.capacity, self.capacity.balance
        if capacity.full and capacity.dispensable() is None:
            if balance is not None:
                balance.leave()
            self._pause(PAUSE)
            return None
        if balance is not None and balance.defers():
            self._pause(MOMENT)
            return None
        try:
            accepted = sockets.accept(self._listener)
        except OSError as error:
            self._failed(error)
            return None
        if accepted is None:
            return None
        address = accepted[1]
        if not (self._proxied or capacity.admits(address[0] if isinstance(address, tuple) else "")):
            accepted[0].close()
            self._log.debug("Refused a connection from %s: it has %s", address[0], capacity.per_address)
            return None
        if capacity.full:
            capacity.evict()
        return accepted

    def _failed(self, error: OSError) -> None:
        """Act on an error of accept: log it, and without descriptors or memory end a connection. Then pause."""
        exhausted = error.errno in EXHAUSTED
        if self._failures.due():
            cure = "it is tried again; look for a firewall or a policy of the system that forbids it"
            if exhausted:
                cure = "idle ones are closed meanwhile. Raise the limit (ulimit -n) or lower limit_connections"
            self._log.error("Cannot accept connections: %s; %s", error.strerror, cure)
        if exhausted:
            self.capacity.evict()
        self._pause(PAUSE)

    def unwatchable(self, error: Exception) -> None:
        """Log that the system cannot watch another connection. That connection is closed."""
        if self._unwatchable.due():
            self._log.error("Connections are closed: %s; raise fs.epoll.max_user_watches (sysctl)", error)


class Seldom:
    """Decides when a repeated log line is due: the first time, then every ``QUIET`` seconds."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = float("-inf")

    def due(self) -> bool:
        """Return whether to write the line now."""
        now = clock.monotonic()
        if now - self._last <= QUIET:
            return False
        self._last = now
        return True

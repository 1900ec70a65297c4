"""An accepted connection of any protocol: who its client is, how it waits, how it ends.

The stream has the bytes, the protocol the requests.
"""

from __future__ import annotations

from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Any

import gevent
from gevent import GreenletExit

from geventwsgi import clock
from geventwsgi.forks import hold
from geventwsgi.observe.occurrences import occurred
from geventwsgi.serving.accept import linger
from geventwsgi.serving.loop import holdings, runners
from geventwsgi.serving.wire.stream import Stream

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from geventwsgi.serving.accept.service import Service
    from geventwsgi.serving.wire.sockets import Socket
    from geventwsgi.system.shared import Seat


#: Seconds for which a connection that was in use a moment ago may still bring a request when the server stops. So a
#: client that sends a request every second is never cut off while its next one is on its way.
LAST_CALL = 1.0

holdings.spare(runners.Sleeper, Stream)  # they refer to the whole server


class Left(Enum):
    """What becomes of a connection after a protocol has served it: it ends, is idle, or has more to do.

    NOTHING: no byte of a request has come, although the connection was woken; over TLS, a part of a record may have.
    HELD: its response goes on without a greenlet.
    """

    ENDED, IDLE, MORE, NOTHING, HELD = range(5)


ENDED, IDLE, MORE, NOTHING, HELD = Left


class Relayed(tuple[str, int]):
    """The address of a client whose TLS another worker speaks."""

    __slots__ = ()


class Connection(linger.Leaver):
    """An accepted connection; a protocol's is a subclass, with :meth:`run` and :meth:`client_ended`."""

    __slots__ = (
        "answered",
        "cold",
        "home",
        "idle_limit",
        "introduced",
        "last",
        "moved",
        "remote_port",
        "trusted",
        "unread",
    )

    def begin(self, service: Service, sock: Socket, address: Any) -> None:
        """Take over ``sock``; the constructor, as a method, for :meth:`.Speaker.open`."""
        self.service, entrance = service, service.entrance
        if isinstance(address, tuple):
            self.remote_addr, self.trusted = entrance.peers[address[0]]
            self.remote_port = address[1]
        else:
            self.remote_addr, self.remote_port = "", 0
            self.trusted = entrance.trusts(None)
        if entrance.tls is None or type(address) is Relayed:
            self.stream = Stream(sock, service.common)
        else:
            self.stream = _tls_stream(service, sock, entrance.tls)
        self.stream.guard = self
        #: Seconds for which it may be idle: until its first request, then between two. Set by the protocol.
        self.idle_limit = service.timeouts.first_byte_timeout
        #: Whether it has been idle for so long that it keeps only its socket; until the end of its next request.
        self.cold = False
        #: Whether another worker has sent it here for the request that comes next.
        self.moved = False
        #: The worker that has accepted it; None: this one.
        self.home: Seat | None = None
        #: Whether its proxy has said who the client is; set by :mod:`prologue`.
        self.introduced = False
        self.counted = False
        #: Whether anything was sent that a reset could cut off. Set by the protocol and :mod:`prologue`.
        self.answered = False
        #: Whether its client was still sending when it was answered; set by :meth:`linger`.
        self.unread = False
        #: Whether its client has announced that it sends no more requests; set by the protocol.
        self.last = False
        #: Whether it was upgraded; set by :meth:`linger`.
        self.taken = False
        #: Whether only incoming bytes are discarded any more; set by :mod:`linger`.
        self.lingering = False
        self.greenlet = None
        service.connections.add(self)
        service.capacity.enter(self)

    def start(self) -> None:
        """Begin to serve."""
        self.service.runners.give(self)

    def _go_on(self, left: Left) -> None:
        """Go on with the connection. If that fails, for want of memory, close it here, since nobody else would."""
        self.greenlet = None
        try:
            if self.service.moves is not None and (left is IDLE or left is MORE) and self.goes_on():
                self.stream.parked_until = 0.0
                self.service.moves.send_on(self)
            elif left is IDLE:
                self._park()
            elif left is ENDED:
                self.end()
            elif left is NOTHING:
                self._park_on()
            elif left is MORE:
                self.stream.parked_until = 0.0
                self.service.runners.give(self)
        except BaseException:
            self._drop()
            raise

    def _drop(self) -> None:
        """Close the connection by a reset."""
        try:
            self.stream.abort()
        finally:
            self.close()

    def _patience(self) -> float:
        """Return for how many seconds the connection may be idle from now."""
        return LAST_CALL if self.service.draining else self.idle_limit

    # Idle

    def _park(self) -> None:
        """Wait for the client without a greenlet; not for long if the server stops."""
        service = self.service
        self.cold = False
        self.stream.park(self, LAST_CALL if service.draining else min(service.timeouts.warm, self.idle_limit))

    def _park_on(self) -> None:
        """Wait on as if nothing had come: it was only a part of a TLS record."""
        until = self.stream.parked_until
        if not until:
            self._park()
            return
        left = until - clock.monotonic()
        if not self.cold:
            left += max(0.0, self.idle_limit - self.service.timeouts.warm)
        self._cool(max(0.0, min(left, self._patience())))

    def wake(self, timed_out: bool) -> None:
        """See :class:`~geventwsgi.serving.loop.runners.Sleeper`."""
        service = self.service
        if self.cold:
            service.capacity.parked.pop(self, None)
        elif timed_out and self.idle_limit > service.timeouts.warm and not service.draining:
            self._cool(self.idle_limit - service.timeouts.warm)
            return
        if not timed_out:
            service.runners.give(self)
        elif self.stream.kept or self.stream.encrypted:  # its end may have to wait for room
            service.runners.give(linger.Farewell(self))
        else:
            occurred("timeouts", "keepalive" if self.answered else "first_byte_timeout")
            self.end()

    def _cool(self, seconds: float) -> None:
        """Wait on, with as little memory as possible."""
        self.cold = True
        self.forget()
        self.service.capacity.parked[self] = None
        self.stream.park(self, seconds)

    def forget(self) -> None:
        """Release what is kept for the next request."""
        self.service.trimmer.count()

    # In another worker

    def pack(self) -> dict[str, Any] | None:
        """Return what another worker needs to go on with the connection (values for JSON); None if it has to stay.

        An idle connection needs nothing, if nothing has come. A protocol's connection may have more to say.
        """
        stream = self.stream
        idle = self.greenlet is None and stream.parked and not (stream.hot or stream.gone or stream.ahead())
        return {} if idle and not self.lingering else None

    def is_at_work(self) -> bool:
        """See :class:`.Guest`."""
        return False

    def goes_on(self) -> bool:
        """Return whether another worker takes it after its request, since this one ends."""
        moves = self.service.moves
        return moves is not None and not self.stream.encrypted and moves.has_taker()

    def leave(self) -> None:
        """End here, since another worker goes on; in a greenlet, after :meth:`pack` and :meth:`.Stream.detach`."""
        self.close()

    def resume(self, facts: dict[str, Any]) -> None:
        """Go on with what :meth:`pack` has returned in another worker; in a greenlet.

        :raises Exception: the application here has no such thing, or it has failed. The connection is to be closed.
        """
        raise NotImplementedError

    # Counting and ending

    def stays(self) -> bool:
        """Return whether another worker has sent it here for its next request; True once."""
        moved, self.moved = self.moved, False
        return bool(moved)

    def client_ended(self) -> None:
        """See :class:`~geventwsgi.serving.wire.stream.Guard`; a protocol's own."""
        raise NotImplementedError

    def move_to(self, address: str, port: int) -> bool:
        """Take the client's address that a proxy has sent; return False if that one has too many connections."""
        books = self.service.capacity
        if not books.admits(address):
            return False
        books.leave(self)
        self.remote_addr, self.remote_port = address, port
        books.enter(self)
        return True

    @contextmanager
    def incomplete(self) -> Iterator[None]:
        """While the block runs, count as a connection whose head or handshake is incomplete."""
        half_sent = self.service.capacity.half_sent
        half_sent[self] = clock.monotonic()
        try:
            yield
        finally:
            half_sent.pop(self, None)

    def linger(self, taken: bool = False) -> None:
        """Have the connection linger at its end, since its client is still sending although it was answered.

        :param taken: whether the connection was upgraded; then it lingers for a shorter time.
        """
        self.unread = True
        self.taken = taken

    def is_held(self) -> bool:
        """See :class:`.Guest`."""
        return False

    def drain(self) -> None:
        """End the connection as soon as what the client has already sent is answered.

        A request in flight goes on. Where the server stops, and no other worker goes on, a head or a body that has
        stopped coming is not waited for long.
        """
        stream = self.stream
        if self.lingering:
            linger.hurry(self)
        elif self in self.service.capacity.half_sent:
            if self.service.hurries():
                stream.hurry(self.service.timeouts.drain_body)
        elif self.cold:
            stream.interrupt()
            stream.unpark()
        else:
            stream.hurry(LAST_CALL)

    def kill(self) -> None:
        """See :class:`.Guest`. The application's ``finally`` blocks and ``close()`` run."""
        if self.greenlet is None:
            self.close()
        else:
            gevent.get_hub().loop.run_callback(self._throw)

    def _throw(self) -> None:
        """End the greenlet, unless it serves another connection by now."""
        if self.greenlet is not None:
            self.greenlet.throw(GreenletExit)

    def let_go(self) -> None:
        """Release the connection in a forked process: it belongs to the parent."""
        hold(self.greenlet)
        self.stream.let_go()

    def end(self) -> None:
        """Close the connection so that everything that was sent arrives, whatever the client sends meanwhile."""
        stream = self.stream
        if stream.closed or stream.finished(self.unread, self.last):
            self.close()
        else:
            linger.begin(self)

    def close(self) -> None:
        """Close the socket and leave the server's books; a second call does nothing."""
        connections = self.service.connections
        if self in connections:
            connections.discard(self)
            self.service.capacity.leave(self)
            self.stream.close()
            self.forget()
            if not connections:
                self.service.empty.set()


def _tls_stream(service: Service, sock: Socket, context: ssl.SSLContext) -> Stream:
    from geventwsgi.serving.wire.tls_stream import TLSStream  # it imports ssl, which takes 4 ms

    return TLSStream(sock, service.common, context, suppress_ragged_eofs=service.entrance.suppress_ragged_eofs)


class Speaker:
    """Opens connections for a protocol."""

    __slots__ = ("service",)

    def __init__(self, service: Service) -> None:
        self.service = service

    def open(self, sock: Socket, address: Any) -> Connection:
        """Return a connection for an accepted socket, which must be non-blocking; it serves once it is started.

        :param address: what accept said: a tuple for TCP, anything else for a unix socket.
        """
        raise NotImplementedError

    def adopt(
        self, sock: Socket, address: Any, received: bytes, *, trusted: bool, answered: bool, moved: bool,
        home: Seat | None = None,
    ) -> Connection:  # fmt: skip
        """Return a connection that another process has accepted, after its prologue, and between two requests.

        :param address: its client's, as a proxy may have named it.
        :param received: what has been received of its next request.
        :param trusted: whether the peer's forwarder fields are believed.
        :param answered: whether a request of it has been answered.
        :param moved: whether its next request is served here, wherever it belongs.
        :param home: the worker that has accepted it; None: the one that it has now counts as such.
        """
        connection = self.open(sock, address)
        self.service.capacity.adopted()
        connection.introduced = True
        connection.moved = moved
        connection.home = home
        connection.trusted = trusted
        connection.stream.unread(received)
        if answered:
            connection.answered = True
            connection.idle_limit = self.service.timeouts.keepalive
        return connection

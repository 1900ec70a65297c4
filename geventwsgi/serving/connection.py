"""One socket's life: accept, TLS, protocol, serve, park, close.

Knows the order of these steps and who is at the other end. The bytes are the stream's business, the requests the
protocol's.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gevent
from gevent import GreenletExit
from greenlet import getcurrent

from geventwsgi import clock
from geventwsgi.errors import ClientDisconnected
from geventwsgi.forks import hold
from geventwsgi.serving import capacity, departure, holdings, http1, linger, marks, prologue, runners, thread_objects
from geventwsgi.serving.deadlines import NEVER
from geventwsgi.serving.http1 import ENDED, IDLE, MORE, NOTHING
from geventwsgi.serving.http1_exchange import Http1Exchange
from geventwsgi.serving.lane import Lane
from geventwsgi.serving.stream import DeadlineExpired, Stream

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from geventwsgi.http.head import RequestHead
    from geventwsgi.serving.http1 import Left
    from geventwsgi.serving.service import Service
    from geventwsgi.serving.sockets import Socket
    from geventwsgi.wsgi.repeated import Repeated


#: Seconds for which a connection that was in use a moment ago may still bring a request when the server stops: so many
#: that a client which uses it each second is never cut off while its next request is on its way.
LAST_CALL = 1.0

holdings.spare(runners.Sleeper, Stream, Lane, Http1Exchange)  # the environ leads to them, and they to the whole server


class Connection(capacity.Guest):
    """An accepted connection."""

    __slots__ = (
        "answered",
        "cold",
        "exchange",
        "idle_limit",
        "introduced",
        "lane",
        "last_data",
        "last_head",
        "lingering",
        "remote_port",
        "repeated",
        "service",
        "stream",
        "taken",
        "trusted",
        "unread",
    )

    def __init__(self, service: Service, sock: Socket, address: Any) -> None:
        """Take over ``sock``, which must be non-blocking.

        :param address: what accept said: a tuple for TCP, anything else for a unix socket.
        """
        self.service = service
        mine = self.service  # of a C type in the compiled core, which arguments have not
        if isinstance(address, tuple):
            self.remote_addr, self.trusted = mine.peers[address[0]]
            self.remote_port = address[1]
        else:
            self.remote_addr, self.remote_port = "", 0
            self.trusted = mine.trusts(None)
        if mine.tls is None:
            self.stream = Stream(sock, mine.common)
        else:
            self.stream = _tls_stream(mine, sock, mine.tls)
        self.stream.guard = self
        #: The last request's head, and its bytes if they came alone: the next request mostly repeats them, in part or
        #: whole. Set by :mod:`http1`; forgotten when the connection gets cold.
        self.last_head: RequestHead | None = None
        self.last_data = b""
        #: The request that is being served. Set by :mod:`http1`; None between two requests.
        self.exchange: Http1Exchange | None = None
        #: What the environs of its requests have in common; set by :mod:`http1`.
        self.repeated: Repeated | None = None
        #: Where its requests run; set by :mod:`http1`, with the first of them. Forgotten as well.
        self.lane: Lane | None = None
        #: How long it may be idle, in seconds: until its first request, then between two. Set by :mod:`http1`.
        self.idle_limit = mine.timeouts.first_byte
        #: Whether it has been idle for so long that it keeps nothing but its socket; until the end of its next request.
        self.cold = False
        #: Whether its proxy has said who the client is; set by :mod:`prologue`.
        self.introduced = False
        self.counted = False
        #: Whether it was answered, so that a reset could cut the response off. Set by :mod:`http1` and :mod:`prologue`.
        self.answered = False
        #: Whether its client was still sending when it was answered; set by :meth:`linger`.
        self.unread = False
        #: Whether an application has taken it over; set by the exchange.
        self.taken = False
        #: Whether nothing is left to do but to throw away what its client sends; set by :mod:`linger`.
        self.lingering = False
        self.greenlet = None
        mine.connections.add(self)
        mine.capacity.enter(self)

    def start(self) -> None:
        """Begin to serve."""
        self.service.runners.give(self)

    def run(self) -> None:
        """Serve one request, if one has come; called again when the next is there.

        All else is in functions of its own: this one's frame is kept in memory for each request that waits.
        """
        if self.stream.closed:
            self.greenlet = None
            return  # killed before this greenlet had its turn
        if self.greenlet is None:
            self.greenlet = getcurrent()
        try:
            if self.service.has_prologue:
                prologue.begin(self)
            if self.service.keeps_greenlets:
                left = self._serve_to_the_end()
            else:
                # What http1.serve does, without its frame.
                found = http1.receive(self)
                left = http1.answer(self, found) if isinstance(found, Http1Exchange) else found
            if left is ENDED:
                self.stream.finish()
        except BaseException:  # noqa: BLE001 - which it is, is asked there
            self._broke()
        else:
            self._go_on(left)

    def _broke(self) -> None:
        """Act on the exception that is being handled; raise it on if it is meant for the greenlet."""
        error = sys.exc_info()[1]
        service = self.service
        cut = self.exchange is not None or not self.answered
        try:
            http1.release(self)
            if isinstance(error, (ClientDisconnected, DeadlineExpired)):
                service.log.debug("Connection from %s ended: %s", self.remote_addr, error)
            elif isinstance(error, Exception):
                service.log.exception(  # noqa: LOG004 - one is being handled
                    "A connection from %s failed; please report this", self.remote_addr
                )
                cut = True
            elif error is not None:
                raise error
            if cut:  # else what was answered before was whole, and is to arrive
                self.stream.abort()
        finally:
            error = None  # its traceback leads back to here
            self._go_on(ENDED)

    def _go_on(self, left: Left) -> None:
        """Do what becomes of the connection."""
        self.greenlet = None
        if left is IDLE:
            self._park()
        elif left is ENDED:
            self.end()
        elif left is NOTHING:
            self._park_on()
        else:
            self.stream.parked_until = 0.0
            self.service.runners.give(self)

    def _serve_to_the_end(self) -> Left:
        """Serve requests in this greenlet, which keeps its place in a pool while the connection is idle.

        :returns: ENDED, or MORE for another greenlet to go on, since a request has left something in this one.
        """
        look = marks.Look(self.greenlet)
        left, served, references = MORE, False, self._references()
        while left is not ENDED:
            if left is not NOTHING:
                until = clock.monotonic() + self._patience()
            if left is not MORE and not self.stream.wait(max(0.0, until - clock.monotonic())):
                break
            self.greenlet.gr_context = None  # the last request's variables are not the next one's
            thread_objects.forget(self.greenlet)
            if served and (self.service.greenlet_per_request or not look.is_of(self.greenlet)):
                return MORE
            left = http1.serve(self)
            holdings.drop_context(self.greenlet)
            served = left is not NOTHING
            if served and left is not ENDED and self._references() != references:
                return MORE  # at once: whoever holds this greenlet may throw into it
            if left is IDLE and (self.stream.hot or self.stream.ahead()):  # since the loop has had a turn meanwhile
                left = MORE
        return ENDED

    def _references(self) -> list[int]:
        return marks.settled_references(self.greenlet)

    def _patience(self) -> float:
        """Return for how many seconds the connection may be idle from now."""
        return LAST_CALL if self.service.draining else self.idle_limit

    # Idle

    def _park(self) -> None:
        """Wait for the client without a greenlet; as the server stops, not for long."""
        service = self.service
        self.cold = False
        self.stream.park(self, LAST_CALL if service.draining else min(service.timeouts.warm, self.idle_limit))

    def _park_on(self) -> None:
        """Wait on as if nothing had come: what has was no more than a part of a record."""
        until = self.stream.parked_until
        if not until:
            self._park()
            return
        left = until - clock.monotonic()
        if not self.cold:
            left += max(0.0, self.idle_limit - self.service.timeouts.warm)
        self._cool(max(0.0, min(left, self._patience())))

    def wake(self, timed_out: bool) -> None:
        """See :class:`~geventwsgi.serving.runners.Sleeper`."""
        service = self.service
        if self.cold:
            service.capacity.parked.pop(self, None)
        elif timed_out and self.idle_limit > service.timeouts.warm and not service.draining:
            self._cool(self.idle_limit - service.timeouts.warm)
            return
        if not timed_out:
            service.runners.give(self)
        elif self.stream.kept or self.stream.encrypted:  # which may have to wait for room
            service.runners.give(linger.Farewell(self))
        else:
            self.end()

    def _cool(self, seconds: float) -> None:
        """Wait on, but with as little as a connection can have."""
        self.cold = True
        self.forget()
        self.service.capacity.parked[self] = None
        self.stream.park(self, seconds)

    def forget(self) -> None:
        """Let go of what is kept for the next request."""
        self.service.trimmer.count()
        self.last_head = None
        self.last_data = b""
        self.repeated = None
        lane, self.lane = self.lane, None
        if lane is not None:
            lane.close()

    # Counting and ending

    def client_ended(self) -> None:
        """See :class:`~geventwsgi.serving.stream.Guard`."""
        if self.lane is not None:
            departure.notice(self.lane)

    def move_to(self, address: str, port: int) -> bool:
        """Speak of another client from now on, the one that a proxy names; return False if that one has too many."""
        books = self.service.capacity
        if not books.admits(address):
            return False
        books.leave(self)
        self.remote_addr, self.remote_port = address, port
        books.enter(self)
        return True

    @contextmanager
    def incomplete(self) -> Iterator[None]:
        """While the block runs, count as a connection that keeps a head or a handshake incomplete."""
        half_sent = self.service.capacity.half_sent
        half_sent[self] = clock.monotonic()
        try:
            yield
        finally:
            half_sent.pop(self, None)

    def linger(self) -> None:
        """Have the connection end only after its client has: it is still sending, although it was answered."""
        self.unread = True

    def drain(self) -> None:
        """End the connection as soon as what the client has already sent is answered.

        A request in flight goes on, but neither a head nor a body that has stopped coming is waited for long.
        """
        stream = self.stream
        if self.lingering:
            linger.hurry(self)
        elif self.exchange is not None:
            self.exchange.drain()
        elif self in self.service.capacity.half_sent:
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
        """End the greenlet, unless it is done with this connection by now and serves another."""
        if self.greenlet is not None:
            self.greenlet.throw(GreenletExit)

    def let_go(self) -> None:
        """Be nobody's in a process that was forked: the connection is its parent's."""
        hold(self.greenlet)
        self.stream.let_go()
        if self.lane is not None and self.lane.clock is not None:
            self.lane.clock.deadline = NEVER

    def end(self) -> None:
        """Close the connection so that all arrives that was sent, whatever the client sends meanwhile."""
        stream = self.stream
        if not stream.closed:
            settled = stream.finished()
            if self.unread or not settled:
                linger.begin(self)
                return
        self.close()

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
    from geventwsgi.serving.tls_stream import TLSStream  # noqa: PLC0415 - with ssl, which takes 4 ms

    return TLSStream(sock, service.common, context, ragged_eof_ends=service.ragged_eof_ends)

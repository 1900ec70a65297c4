"""One socket's life: accept, TLS, protocol, serve, park, close.

Knows the order of these steps and who is at the other end. The bytes are the stream's business, the requests the
protocol's.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gevent
from greenlet import getcurrent

from geventwsgi.errors import ClientDisconnected
from geventwsgi.serving import http1
from geventwsgi.serving.stream import DeadlineExpired, Stream
from geventwsgi.serving.tls_stream import TLSStream

if TYPE_CHECKING:
    from _socket import socket as RawSocket
    from collections.abc import Iterator

    from geventwsgi.http.head import Fields
    from geventwsgi.serving.http1_exchange import Http1Exchange
    from geventwsgi.serving.service import Service


#: Seconds for which a connection that we close still takes in what the client is sending; and while the server stops.
LINGER, LINGER_DRAINING = 2.0, 0.2


class Connection:
    """An accepted connection."""

    __slots__ = (
        "_idle_limit",
        "default_scheme",
        "exchange",
        "greenlet",
        "last_fields",
        "patience",
        "remote_addr",
        "remote_port",
        "service",
        "slot",
        "stream",
        "trusted",
    )

    def __init__(self, service: Service, sock: RawSocket, address: Any) -> None:
        """Take over ``sock``, which must be non-blocking.

        :param address: what accept said: a tuple for TCP, anything else for a unix socket.
        """
        self.service = service
        if isinstance(address, tuple):
            self.remote_addr, self.remote_port = address[0], str(address[1])
            self.trusted = service.trusts(address[0])
        else:
            self.remote_addr = self.remote_port = ""
            self.trusted = service.trusts(None)
        if service.tls is None:
            self.default_scheme = "http"
            self.stream = Stream(sock, service.deadlines, service.timeouts.write)
        else:
            self.default_scheme = "https"
            self.stream = TLSStream(
                sock,
                service.deadlines,
                service.tls,
                write_timeout=service.timeouts.write,
                ragged_eof_ends=service.ragged_eof_ends,
            )
        #: The fields of the last request, remembered to parse and translate them once; dropped when parked.
        self.last_fields: Fields | None = None
        #: The request that is being served. Set by :mod:`http1`; None between two requests.
        self.exchange: Http1Exchange | None = None
        #: How long it may be idle, in seconds: until its first request, then between two. Set by :meth:`has_served`.
        self._idle_limit = service.timeouts.first_byte
        #: How long of that it keeps its greenlet.
        self.patience = self._patience()
        #: Its requests' place among those in flight.
        self.slot = service.capacity.slot()
        #: The greenlet inside :meth:`run`; None before and while parked.
        self.greenlet: Any = None
        service.connections.add(self)
        service.capacity.enter(self)

    def start(self) -> None:
        """Give the connection a greenlet."""
        self.service.spawn(self.run)

    def _patience(self) -> float:
        park = self.service.timeouts.park
        return self._idle_limit if park is None else min(park, self._idle_limit)

    def has_served(self) -> None:
        """From now on the time between two requests counts, not that before the first."""
        if self._idle_limit != self.service.timeouts.keepalive:
            self._idle_limit = self.service.timeouts.keepalive
            self.patience = self._patience()

    def run(self) -> None:
        """Serve until the connection ends or goes idle; the body of its greenlet."""
        if self.stream.closed:
            return  # killed before this greenlet had its first turn
        self.greenlet = getcurrent()
        parked = False
        try:
            parked = self._serve()
        except (ClientDisconnected, DeadlineExpired) as error:
            self.service.log.debug("Connection from %s ended: %s", self.remote_addr, error)
            self.stream.abort()
        except Exception:
            self.service.log.exception("A connection from %s failed; please report this", self.remote_addr)
            self.stream.abort()
        finally:
            self.greenlet = None
            if not parked:
                self.close()

    def _serve(self) -> bool:
        stream = self.stream
        if isinstance(stream, TLSStream) and not stream.established:
            with self.incomplete():
                try:
                    stream.handshake(self.service.timeouts.tls_handshake)
                except DeadlineExpired:
                    raise ClientDisconnected("TLS handshake too slow") from None
        if not http1.serve(self) or self.patience == self._idle_limit:
            return False
        self.last_fields = None
        self.service.capacity.parked[self] = None
        stream.park(self._wake, self._idle_limit - self.patience)
        return True

    @contextmanager
    def incomplete(self) -> Iterator[None]:
        """While the block runs, count as a connection that keeps a head or a handshake incomplete."""
        half_sent = self.service.capacity.half_sent
        half_sent[self] = time.monotonic()
        try:
            yield
        finally:
            half_sent.pop(self, None)

    def _wake(self, timed_out: bool) -> None:
        del self.service.capacity.parked[self]
        if timed_out:
            self.close()
        else:
            self.start()

    def linger(self) -> None:
        """Give the client a moment to read what was sent, although it is still sending."""
        self.stream.linger(LINGER_DRAINING if self.service.draining else LINGER)

    def drain(self) -> None:
        """End the connection as soon as what the client has already sent is answered.

        A request in flight goes on, but does not wait long for the rest of a body that has stopped coming.
        """
        stream = self.stream
        if self.exchange is not None:
            if not self.exchange.taken:
                stream.hurry(self.service.timeouts.drain_body)
        elif self in self.service.capacity.half_sent:
            stream.interrupt()
        elif stream.parked:
            stream.interrupt()
            stream.unpark()
        else:
            stream.hurry(http1.LAST_CALL)

    def kill(self) -> None:
        """End the connection now; the application's ``finally`` blocks and ``close()`` run."""
        if self.greenlet is not None:
            gevent.kill(self.greenlet)
        else:
            self.close()

    def close(self) -> None:
        """Close the socket and leave the server's books; a second call does nothing."""
        connections = self.service.connections
        if self in connections:
            connections.remove(self)
            self.service.capacity.leave(self)
            self.stream.close()
            if not connections:
                self.service.empty.set()

"""One socket's life: accept, TLS, protocol, serve, park, close.

Knows the order of these steps and who is at the other end. The bytes are the stream's business, the requests the
protocol's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geventwsgi.errors import ClientDisconnected
from geventwsgi.serving import http1
from geventwsgi.serving.stream import DeadlineExpired, Stream
from geventwsgi.serving.tls_stream import TLSStream

if TYPE_CHECKING:
    from _socket import socket as RawSocket

    from geventwsgi.http.head import Fields
    from geventwsgi.serving.service import Service


class Connection:
    """An accepted connection."""

    __slots__ = (
        "default_scheme", "fresh", "greenlet", "idle", "last_fields", "remote_addr", "remote_port", "service", "stream",
        "trusted",
    )  # fmt: skip

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
            self.stream = Stream(sock, service.deadlines)
        else:
            self.default_scheme = "https"
            self.stream = TLSStream(sock, service.deadlines, service.tls, ragged_eof_ends=service.ragged_eof_ends)
        #: The fields of the last request, remembered to parse and translate them once; dropped when parked.
        self.last_fields: Fields | None = None
        #: Whether no byte of a request has come yet. Set by :mod:`http1` around its wait for one.
        self.idle = True
        #: Whether no request was served yet.
        self.fresh = True
        #: The greenlet inside :meth:`run`; None while parked.
        self.greenlet: Any = None
        service.connections.add(self)

    def start(self) -> None:
        """Give the connection a greenlet."""
        self.greenlet = self.service.spawn(self.run)

    def run(self) -> None:
        """Serve until the connection ends or goes idle; the body of its greenlet."""
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
        if self.fresh and isinstance(stream, TLSStream):
            try:
                stream.handshake(self.service.timeouts.tls_handshake)
            except DeadlineExpired:
                raise ClientDisconnected("TLS handshake too slow") from None
        if not http1.serve(self):
            return False
        self.last_fields = None
        timeouts = self.service.timeouts
        stream.park(self._wake, timeouts.first_byte if self.fresh else timeouts.keepalive)
        return True

    def _wake(self, timed_out: bool) -> None:
        if timed_out:
            self.close()
        else:
            self.start()

    def drain(self) -> None:
        """End the connection as soon as what the client has already sent is answered."""
        self.stream.interrupt()
        if self.stream.parked:
            self.stream.unpark()

    def kill(self) -> None:
        """End the connection now; the application's ``finally`` blocks and ``close()`` run."""
        if self.greenlet is not None:
            self.greenlet.kill(block=False)
        else:
            self.close()

    def close(self) -> None:
        """Close the socket and leave the server's books; a second call does nothing."""
        connections = self.service.connections
        if self in connections:
            connections.remove(self)
            self.stream.close()
            if not connections:
                self.service.empty.set()

"""The connection in an application's own hands: ``environ["geventwsgi.socket"]``.

A socket as far as applications and WebSocket libraries use one, made of the stream: bytes that came together with the
request are not lost, a send is never partial and never mixed with another greenlet's, and TLS makes no difference.

Of WebSockets it knows one frame: the close that says, at a drain, that the server restarts.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import gevent
from gevent import monkey

from geventwsgi.errors import ClientDisconnected
from geventwsgi.serving.sockets import borrowed
from geventwsgi.serving.stream import DeadlineExpired, Stream
from geventwsgi.serving.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

#: A close frame of a server with the status 1012, "Service Restart" (RFC 6455 section 5.5.1; IANA's registry of codes).
SERVICE_RESTART = b"\x88\x02\x03\xf4"
#: Seconds that a client has to answer it.
CLOSE_WAIT = 5.0
#: epoll's flag for "there is something to receive", epoll(7).
EPOLLIN = 0x1


class ClientSocket:
    """The client's connection.

    Its first use takes it over: the server then sends nothing of its own, and closes it when the application returns.

    :param websocket: whether the request asked for a WebSocket, so that what is sent after the handshake are frames,
        each by one call.
    """

    def __init__(self, stream: Stream, take_over: Callable[[], object], *, websocket: bool = False) -> None:
        self._stream = stream
        self._take_over = take_over
        self._websocket = websocket
        self._timeout: float | None = None
        self._turns = Turns()
        #: Whether anything was sent: the handshake, with a WebSocket.
        self._spoken = False
        #: Whether the server drains: what is sent then is followed by a close frame, and that by nothing.
        self._draining = False
        self._silenced = False
        #: Why nothing more can be sent; "" while something can.
        self._broken = ""
        self._readiness: _Readiness | None = None

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return 1 to ``size`` bytes, ``b""`` at the end of the stream.

        :raises TimeoutError: nothing came within :meth:`settimeout`.
        :raises ClientDisconnected: the connection was reset, or has been closed meanwhile.
        """
        if flags:
            raise ValueError("flags are not supported on a client's socket")
        self._take_over()
        try:
            return self._stream.recv(size, self._timeout)
        except DeadlineExpired:
            raise TimeoutError("timed out") from None
        finally:
            if self._readiness is not None:
                self._readiness.show(ahead=self._stream.ahead())

    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        """Receive into ``buffer``; return the number of bytes, 0 at the end. Raises as :meth:`recv`."""
        view = memoryview(buffer).cast("B")
        data = self.recv(nbytes or len(view), flags)
        view[: len(data)] = data
        return len(data)

    def sendall(self, data: Buffer, flags: int = 0) -> None:
        """Send all of ``data``, in one piece: what other greenlets send comes before or after it.

        :raises ClientDisconnected: the client has gone.
        """
        del flags
        self._take_over()
        with self._turns:
            if not self._silenced:
                self._send(bytes(data))
                self._spoken = True
                if self._draining:
                    self._say_goodbye()

    def _send(self, data: bytes) -> None:
        if self._broken:
            raise ClientDisconnected(self._broken)
        try:
            self._stream.send(data)
        except BaseException:  # a timeout or a kill in the midst of it, too
            self._broken = "the connection is broken: a message was cut while it was sent"
            raise

    def send(self, data: Buffer, flags: int = 0) -> int:
        """Send all of ``data`` and return its length: unlike a kernel's socket, never a part of it."""
        self.sendall(data, flags)
        return memoryview(data).nbytes

    def drain(self) -> None:
        """Tell a WebSocket's client that the server restarts. Whoever reads sees the client close, then the end."""
        if self._websocket and not self._draining:
            self._draining = True
            if self._spoken:
                gevent.spawn(self._close_for_drain)

    def _close_for_drain(self) -> None:
        with self._turns:
            try:
                self._say_goodbye()
            except ClientDisconnected:
                self._stream.interrupt()

    def _say_goodbye(self) -> None:
        if not self._silenced:
            self._silenced = True
            self._send(SERVICE_RESTART)
            gevent.spawn_later(CLOSE_WAIT, self._stream.interrupt)

    def settimeout(self, timeout: float | None) -> None:
        """Set how long :meth:`recv` waits, in seconds; None for ever."""
        self._timeout = timeout

    def gettimeout(self) -> float | None:
        """Return what :meth:`settimeout` set."""
        return self._timeout

    def fileno(self) -> int:
        """Return a descriptor to wait on until there is something to receive.

        Where bytes have been received ahead, or are encrypted, it is not the socket's own: that would not tell of them.
        """
        if self._readiness is None:
            hidden = self._stream.ahead() or self._stream.encrypted
            if not (hidden and hasattr(os, "eventfd")):
                return self._stream.fileno()
            self._readiness = _Readiness(self._stream.fileno())
        self._readiness.show(ahead=self._stream.ahead())
        return self._readiness.fileno()

    def getpeername(self) -> Any:
        """Return the client's address."""
        with borrowed(self._stream.fileno()) as sock:
            return sock.getpeername()

    def getsockname(self) -> Any:
        """Return the address that the client connected to."""
        with borrowed(self._stream.fileno()) as sock:
            return sock.getsockname()

    def setsockopt(self, *arguments: Any) -> None:
        """Set an option of the socket, as ``socket.setsockopt``."""
        with borrowed(self._stream.fileno()) as sock:
            sock.setsockopt(*arguments)

    def getsockopt(self, *arguments: Any) -> Any:
        """Return an option of the socket, as ``socket.getsockopt``."""
        with borrowed(self._stream.fileno()) as sock:
            return sock.getsockopt(*arguments)

    def shutdown(self, how: int) -> None:
        """Shut down one or both sides, as ``socket.shutdown``."""
        self._take_over()
        with borrowed(self._stream.fileno()) as sock:
            sock.shutdown(how)

    def close(self) -> None:
        """End the connection when the application returns."""
        self._take_over()


class _Readiness:
    """A descriptor that is readable when the socket is, or when bytes of it have been received ahead."""

    #: One for the process, readable for ever.
    _always: int | None = None

    def __init__(self, fileno: int) -> None:
        # gevent's patches hide it, since waiting in it would block the loop; nobody does.
        self._epoll = monkey.get_original("select", "epoll")()
        self._epoll.register(fileno, EPOLLIN)
        self._ahead = False

    @classmethod
    def _ready(cls) -> int:
        if cls._always is None:
            cls._always = os.eventfd(1)  # type: ignore[attr-defined,unused-ignore]  # Linux has it
        return cls._always

    def fileno(self) -> int:
        """Return the descriptor."""
        return int(self._epoll.fileno())

    def show(self, *, ahead: bool) -> None:
        """Say whether bytes have been received ahead."""
        if ahead != self._ahead:
            self._ahead = ahead
            if ahead:
                self._epoll.register(self._ready(), EPOLLIN)
            else:
                self._epoll.unregister(self._ready())

"""A connection that an application takes over: ``environ["geventwsgi.socket"]``.

It is used like a socket by applications and WebSocket libraries, and works on the stream: bytes that came with the
request are not lost, a send is never partial and never mixed with another greenlet's, and TLS makes no difference.

It ends with its request. Greenlets of the application that wait in it are woken then, and later calls return at once.

Of WebSockets it knows one frame, the close frame that it sends at a drain, and when pings are due (:mod:`pings`).
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from socket import SHUT_RD, SHUT_RDWR
from typing import TYPE_CHECKING, Any

import gevent

from geventwsgi import clock
from geventwsgi.errors import ClientDisconnected, ResponseError
from geventwsgi.serving.loop.deadlines import NEVER
from geventwsgi.serving.loop.turns import Turns
from geventwsgi.serving.request.pings import Pings
from geventwsgi.serving.wire.descriptor import Descriptor
from geventwsgi.serving.wire.sockets import borrowed

if TYPE_CHECKING:
    from _socket import socket as RawSocket
    from collections.abc import Callable, Iterator

    from typing_extensions import Buffer

    from geventwsgi.serving.loop.deadlines import Deadlines
    from geventwsgi.serving.wire.stream import Stream

#: A close frame of a server with the status 1012, "Service Restart" (RFC 6455 section 5.5.1; IANA's registry of codes).
SERVICE_RESTART = b"\x88\x02\x03\xf4"
#: Seconds in which a client has to answer it.
CLOSE_WAIT = 5.0
#: Seconds that a greenlet may work on received bytes before other greenlets run.
SHARE = 0.0003
#: Bytes that one :meth:`ClientSocket.recv` returns at most, however many are asked for.
LARGEST = 1 << 20


class ClientSocket:
    """The client's connection.

    Its first use takes it over: the server then sends nothing of its own, and closes it when the application returns.
    If a response has begun that is no 101 and no answer to CONNECT, every use but :meth:`close` raises
    :class:`~geventwsgi.errors.ResponseError`.

    :param take_over: called by each use until one succeeds.
    :param websocket: whether the request has asked for a WebSocket. Then each send after the handshake is a frame.
    :param lost: called once, when the client has gone or is given up.
    :param deadlines: has the deadline of :meth:`keep_alive`.
    """

    def __init__(
        self,
        stream: Stream,
        take_over: Callable[[], object],
        *,
        websocket: bool = False,
        lost: Callable[[], object] | None = None,
        deadlines: Deadlines | None = None,
    ) -> None:
        self._stream = stream
        #: Made when :meth:`fileno` is first called.
        self._descriptor: Descriptor | None = None
        self._take_over = take_over
        self._lost = lost or _nothing
        self._deadlines = deadlines
        self._pings: Pings | None = None
        self._ping = b""
        #: How many times bytes have been received.
        self.received = 0
        #: How many bytes the client had not acknowledged at the last :meth:`takes`.
        self._owed = 0
        self._websocket = websocket
        self._timeout: float | None = None
        #: Locks for receiving and sending. A library takes one itself for several calls that belong together.
        self.receiving = Turns()
        self.sending = Turns()
        #: When the greenlet that receives came back from its last wait, and when its call ends; see :meth:`hurry`.
        self._since = clock.monotonic()
        self._latest = NEVER
        #: Whether anything was sent; of a WebSocket, the handshake.
        self._spoken = False
        #: Whether the server drains: then the next send is followed by a close frame; and whether that was sent.
        self._draining = False
        self._silenced = False
        #: The greenlet that ends the connection if the client does not answer the close frame.
        self._farewell: Any = None
        self._taken = False
        #: Whether everything has been sent; see :meth:`conclude`.
        self.concluded = False
        #: Whether the application has closed this socket; whether at least the receiving side.
        self._closed = False
        self._deaf = False
        #: Whether the request has ended or the client has gone; and why nothing more can be sent.
        self._over = False
        self._reason = "the application has closed the connection"

    # Receiving

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return 1 to ``size`` bytes; ``b""`` at the end of the stream, or after the end of the request.

        If several greenlets receive, they get their turns in order.

        :raises ValueError: the size is negative.
        :raises TimeoutError: nothing came within :meth:`settimeout`.
        :raises BlockingIOError: nothing has come, and the timeout is 0.
        :raises ClientDisconnected: the connection was reset, or the request has ended meanwhile.
        """
        if flags:
            raise ValueError("flags are not supported on a client's socket")
        if size < 0:
            raise ValueError(f"a size of {size}: pass the largest number of bytes to receive")
        if not self._begin() or not size:
            return b""
        until = None if self._timeout is None else clock.monotonic() + self._timeout
        if not self.receiving.take(self._timeout):
            raise self._late()
        self._latest = NEVER
        try:
            return self._receive(min(size, LARGEST), until)
        finally:
            self.receiving.give()
            if self._descriptor is not None:
                self._descriptor.show_ahead()

    def _receive(self, size: int, until: float | None) -> bytes:
        stream = self._stream
        self.breathe()
        # If there is time to wait, the kernel is not asked for bytes before it has reported some.
        told = until is not None or stream.hot or stream.ahead()
        while not self._at_end():
            try:
                data = stream.recv_now(size) if told else None
            except ClientDisconnected:
                if stream.closed:
                    break
                raise
            if self._at_end():  # the request may have ended in recv_now
                break
            if data is not None:
                self.received += 1
                return data
            latest = self._latest if until is None else min(until, self._latest)
            remaining = None if latest == NEVER else max(0.0, latest - clock.monotonic())
            if remaining == 0 or not stream.wait(remaining):
                raise self._late()
            told = True
            self._since = clock.monotonic()
        return b""

    def _at_end(self) -> bool:
        """Return whether nothing more is received, whatever the client still sends."""
        return self._over or self._deaf or self._stream.closed

    def _late(self) -> OSError:
        if self._timeout == 0:
            return BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return TimeoutError("timed out")

    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        """Receive into ``buffer``; return the number of bytes, 0 at the end. Raises as :meth:`recv`.

        :raises ValueError: ``nbytes`` is negative, or more than there is room for.
        :raises TypeError: the buffer is no writable, contiguous one.
        """
        view = memoryview(buffer).cast("B")
        if view.readonly:
            raise TypeError("a read-only buffer: pass one that can be written, as a bytearray")
        if nbytes > len(view):
            raise ValueError(f"{nbytes} bytes into a buffer of {len(view)}: pass no more than it has room for")
        data = self.recv(nbytes or len(view), flags)
        view[: len(data)] = data
        return len(data)

    def breathe(self) -> None:
        """Let other greenlets run if this one has worked on received bytes for SHARE seconds.

        Otherwise a client that sends without end would occupy the worker.
        """
        if clock.monotonic() - self._since > SHARE:
            self._stream.yield_turn()
            self._since = clock.monotonic()

    def hurry(self, seconds: float) -> None:
        """Shorten a :meth:`recv` that is under way to ``seconds`` from now."""
        self._latest = clock.monotonic() + seconds
        if not self._over:
            self._stream.hurry(seconds)

    # Sending

    def sendall(self, data: Buffer, flags: int = 0) -> None:
        """Send all of ``data``, in one piece: what other greenlets send comes before or after it.

        A client that takes nothing for ``write_timeout``, or to which a message was cut, is dropped. Then :meth:`recv`
        returns the end.

        :raises ClientDisconnected: the client has gone, or the request has ended.
        """
        del flags
        message = data if type(data) is bytes else bytes(memoryview(data))
        self._begin()
        self.sending.take()
        try:
            if self._ended():
                raise ClientDisconnected(self._reason)
            if not self._silenced:
                self._send(message)
                self._spoken = True
                if self._draining:
                    self._say_goodbye()
        finally:
            self.sending.give()

    def _send(self, data: bytes) -> None:
        self._stream.take_turns()  # before any byte of the message is sent
        try:
            self._stream.send(data)
        except ClientDisconnected as error:
            if self._over:
                raise ClientDisconnected(self._reason) from None
            self.drop(str(error))
            raise
        except BaseException:  # a timeout or a kill while it was sent
            self.drop("the connection is broken: a message was cut while it was sent")
            raise

    def send(self, data: Buffer, flags: int = 0) -> int:
        """Send all of ``data``, never a part of it; return its length."""
        self.sendall(data, flags)
        return memoryview(data).nbytes

    # As the kernel's

    def settimeout(self, timeout: float | None) -> None:
        """Set how long :meth:`recv` waits, in seconds; None for ever.

        :raises ValueError: it is negative.
        """
        if timeout is not None and not 0 <= timeout < float("inf"):
            raise ValueError(f"a timeout of {timeout} s: pass a number of seconds, or None")
        self._timeout = timeout

    def gettimeout(self) -> float | None:
        """Return what :meth:`settimeout` set."""
        return self._timeout

    def fileno(self) -> int:
        """Return a descriptor to wait on until there is something to receive; -1 after the end.

        It is the socket's own, except for a WebSocket, with TLS, and if bytes have been received ahead.
        """
        if self._ended():
            return -1
        if self._descriptor is None:
            self._descriptor = Descriptor(self._stream, websocket=self._websocket)
        return self._descriptor.fileno()

    def getpeername(self) -> Any:
        """Return the client's address."""
        with self._kernels() as sock:
            return sock.getpeername()

    def getsockname(self) -> Any:
        """Return the address that the client connected to."""
        with self._kernels() as sock:
            return sock.getsockname()

    def setsockopt(self, *arguments: Any) -> None:
        """Set an option of the socket, as ``socket.setsockopt``."""
        with self._kernels() as sock:
            sock.setsockopt(*arguments)

    def getsockopt(self, *arguments: Any) -> Any:
        """Return an option of the socket, as ``socket.getsockopt``."""
        with self._kernels() as sock:
            return sock.getsockopt(*arguments)

    @contextmanager
    def _kernels(self) -> Iterator[RawSocket]:
        """Lend the kernel's socket; after the end there is none."""
        if self._ended():
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        with borrowed(self._stream.fileno()) as sock:
            yield sock

    # Ending

    def shutdown(self, how: int) -> None:
        """Shut down one or both sides, as ``socket.shutdown``."""
        self._begin()
        with self._kernels() as sock:
            sock.shutdown(how)
        if how in (SHUT_RD, SHUT_RDWR):
            self._deafen()

    def close(self) -> None:
        """Receive and send nothing more; the connection ends when the application returns.

        A response that has begun goes on.
        """
        with suppress(ResponseError):
            if self._begin():
                self._closed = True
                self._deafen()

    def conclude(self) -> None:
        """Let everything that was sent arrive even if the application fails: the client knows that this is the end."""
        self.concluded = True

    def _deafen(self) -> None:
        self._deaf = True
        self._stream.rouse()

    def _begin(self) -> bool:
        """Take the connection over; return False if it has ended."""
        if self._over or self._stream.closed:
            return False
        if not self._taken:
            self._take_over()
            self._taken = True
        return True

    def drain(self) -> None:
        """Send a WebSocket's client the close frame of a restart. Receivers see the client's close, then the end."""
        if self._websocket and not self._draining:
            self._draining = True
            if self._spoken and self._send_aside(SERVICE_RESTART):
                self._part()
            elif self._spoken:
                gevent.spawn(self._close_for_drain)

    def _close_for_drain(self) -> None:
        with self.sending, suppress(ClientDisconnected):
            self._say_goodbye()

    def _say_goodbye(self) -> None:
        if not (self._silenced or self._over):
            self._silenced = True
            self._send(SERVICE_RESTART)
            self._part()

    def _part(self) -> None:
        """Send nothing more, and wait for the client's close frame."""
        self._silenced = True
        self._farewell = gevent.spawn_later(CLOSE_WAIT, self._give_up)

    def _give_up(self) -> None:
        """Take a client that does not answer the close frame for gone. What was sent may still arrive."""
        if not self._over:
            self._forget("the client has not answered the close frame")
            self._stream.rouse()

    def keep_alive(self, interval: float, timeout: float, ping: bytes) -> None:
        """Send ``ping`` every ``interval`` seconds, until the end or the next call; 0 for never.

        A client from which nothing comes for ``timeout`` seconds after that, although a greenlet receives, is dropped.
        """
        former, self._pings = self._pings, None
        if former is not None:
            former.stop()
        if interval and self._deadlines is not None and not self._over:
            self._ping = ping
            self._pings = Pings(self._deadlines, self, interval, timeout)

    def ping(self) -> bool:
        """See :class:`.Pinged`."""
        return self._send_aside(self._ping)

    def _send_aside(self, frame: bytes) -> bool:
        """Send a control frame without waiting, between two messages; return whether that could be done."""
        if self.sending.taken or self._silenced or self._over:
            return False
        sent = self._stream.send_aside(frame)
        if 0 < sent < len(frame):
            self.drop("the connection is broken: a control frame was cut while it was sent")
        return sent > 0

    def awaited(self) -> bool:
        """See :class:`.Pinged`."""
        return self._stream.awaited and not self._stream.readable()

    def takes(self) -> bool:
        """See :class:`.Pinged`."""
        before, self._owed = self._owed, self._stream.owed()
        return self.sending.taken or 0 < self._owed < before

    def drop(self, reason: str) -> None:
        """End the connection before the application does: the client has gone, or counts as gone."""
        if not self._over:
            lost = self._lost
            self._forget(reason)
            self._stream.rouse()
            lost()
            self._stream.abort()

    def end(self) -> None:
        """Become inert, since the request has ended. Greenlets that wait here are woken. Called by its greenlet.

        The connection itself goes on if the application has not taken it over.
        """
        if not self._over:
            self._forget("the request has ended")
            if self._taken:
                self._stream.dismiss()

    def _forget(self, reason: str) -> None:
        """Drop references that form a cycle, and stop what would act later."""
        self._over = True
        self._reason = reason
        self._take_over = self._lost = _nothing
        if self._descriptor is not None:
            self._descriptor.end()
        self.keep_alive(0, 0, b"")
        farewell, self._farewell = self._farewell, None
        if farewell is not None and farewell is not gevent.getcurrent():
            farewell.kill(block=False)

    @property
    def used(self) -> bool:
        """Whether the application has taken the connection over."""
        return self._taken

    @property
    def lent(self) -> bool:
        """Whether the application has got the connection's own descriptor, which it may go on using."""
        return self._descriptor is not None and self._descriptor.lent

    def _ended(self) -> bool:
        return self._over or self._closed or self._stream.closed


def _nothing() -> None:
    """Do nothing."""

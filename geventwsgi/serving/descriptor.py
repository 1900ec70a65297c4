"""The descriptor that an application may wait on for a connection in its hands, as its libraries do with a socket's.

Knows what has been received ahead, of which the kernel cannot tell; and that whoever waits on a descriptor which is
closed is never woken.
"""

from __future__ import annotations

import os
from contextlib import suppress
from socket import SHUT_RD, SHUT_RDWR
from typing import TYPE_CHECKING

from gevent import monkey

from geventwsgi.serving.sockets import borrowed

if TYPE_CHECKING:
    from geventwsgi.serving.stream import Stream

#: epoll's flag for "there is something to receive", epoll(7).
EPOLLIN = 0x1


class Descriptor:
    """The descriptor of one stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        #: Whether the application may wait on it, or on a duplicate of its own.
        self._given = False
        self._readiness: _Readiness | None = None

    def fileno(self) -> int:
        """Return it: the socket's own, but where bytes have been received ahead, or are encrypted."""
        stream = self._stream
        self._given = True
        if self._readiness is None:
            hidden = stream.ahead() or stream.encrypted
            if not (hidden and hasattr(os, "eventfd")):
                return stream.fileno()
            stream.leave_unread()
            self._readiness = _Readiness(stream.fileno())
        self.show_ahead()
        return self._readiness.fileno()

    def show_ahead(self) -> None:
        """Be readable, or not, by what has been received ahead; called after each receive."""
        if self._readiness is not None:
            self._readiness.show(ahead=self._stream.ahead())

    def end(self, how: int = SHUT_RD) -> None:
        """Wake whoever waits on it: there is nothing more to receive."""
        if self._given and not self._stream.closed:
            with suppress(OSError), borrowed(self._stream.fileno()) as sock:
                sock.shutdown(how)
            if self._readiness is not None:
                self._readiness.show(ahead=True)

    def close(self) -> None:
        """Be closed with the stream, right after this. In a greenlet: the loop turns once, for who waits on it.

        A duplicate would keep the connection open, so that both sides of it are shut down.
        """
        try:
            if self._given and not self._stream.closed:
                self.end(SHUT_RDWR)
                self._given = False
                self._stream.yield_turn()
        finally:
            readiness, self._readiness = self._readiness, None
            if readiness is not None:
                readiness.close()


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

    def close(self) -> None:
        """Let go of it."""
        self._epoll.close()

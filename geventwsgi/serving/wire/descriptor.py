"""The descriptor of a connection that an application has taken over, for libraries that wait on descriptors.

The kernel does not report bytes that were received ahead. And a greenlet that waits on a descriptor is never woken if
that is closed.
"""

from __future__ import annotations

import os
from contextlib import suppress
from socket import SHUT_RDWR
from typing import TYPE_CHECKING, Any

from gevent import get_hub, monkey

from geventwsgi.forks import keep
from geventwsgi.serving.wire.sending import ONE_ITERATION
from geventwsgi.serving.wire.sockets import Socket, borrowed

if TYPE_CHECKING:
    from geventwsgi.serving.wire.stream import Stream

#: epoll's flag for "there is something to receive", epoll(7).
EPOLLIN = 0x1


class Descriptor:
    """The descriptor of one stream.

    :param websocket: whether the connection is a WebSocket. Then the descriptor is always a stand-in: it reports the
        end at once, and a duplicate of it does not keep the connection open.
    """

    def __init__(self, stream: Stream, *, websocket: bool) -> None:
        self._stream = stream
        self._websocket = websocket
        #: Whether the application has got the socket's own descriptor, which it may use without the server's knowledge.
        self.lent = False
        self._readiness: _Readiness | None = None

    def fileno(self) -> int:
        """Return it: the socket's own, or a stand-in that is also readable when bytes were received ahead."""
        stream = self._stream
        if self._readiness is not None:
            self.show_ahead()
            return self._readiness.fileno()
        if not (hasattr(os, "eventfd") and (self._websocket or stream.ahead() or stream.encrypted)):
            self._lend()
            return stream.fileno()
        stream.leave_unread()
        self._readiness = _Readiness(stream.fileno())
        return self.fileno()

    def _lend(self) -> None:
        if not self.lent:
            self.lent = True
            fd = self._stream.fileno()
            with borrowed(fd) as sock:
                family = sock.family
            old, self._stream._sock = self._stream._sock, _LentSocket(fd, family)  # noqa: SLF001 - of the same socket
            old.detach()

    def show_ahead(self) -> None:
        """Make the stand-in readable if there are bytes that were received ahead; called after each receive."""
        if self._readiness is not None:
            self._readiness.show(ahead=self._stream.ahead())

    def end(self) -> None:
        """Wake greenlets that wait on the stand-in, then close it."""
        readiness, self._readiness = self._readiness, None
        if readiness is not None:
            readiness.show(ahead=True)
            _after_one_iteration(readiness.close)


class _LentSocket(Socket):
    """A socket whose descriptor the application knows. It is shut down before it is closed, to wake all that wait.

    Both sides are shut down, since a duplicate would keep the connection open.
    """

    __slots__ = ()

    def close(self) -> None:
        """See :meth:`Socket.close`."""
        fd = self.detach()
        if fd >= 0:
            with suppress(OSError), borrowed(fd) as sock:
                sock.shutdown(SHUT_RDWR)
            _after_one_iteration(os.close, fd)


class _Readiness:
    """A descriptor that is readable when the socket is, or when bytes of it have been received ahead."""

    #: One for the process, readable for ever.
    _always: int | None = None

    def __init__(self, fileno: int) -> None:
        # gevent's patches hide it, since to wait in it would block the loop. Here nobody waits in it.
        self._epoll = monkey.get_original("select", "epoll")()
        self._epoll.register(fileno, EPOLLIN)
        self._ahead = False
        keep(self)  # a process that is forked shares the set

    def let_go(self) -> None:
        """See :class:`~geventwsgi.forks.Possession`."""
        self._epoll.close()
        self._epoll = monkey.get_original("select", "epoll")()
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
        """Close it."""
        self._epoll.close()


def _after_one_iteration(function: Any, *arguments: Any) -> None:
    """Call a function after the loop has reported present events: of a closed descriptor it reports none."""
    timer = get_hub().loop.timer(ONE_ITERATION)
    timer.start(_call, timer, function, *arguments)


def _call(timer: Any, function: Any, *arguments: Any) -> None:
    timer.close()
    function(*arguments)

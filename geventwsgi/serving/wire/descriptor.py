"""The descriptor that an application may wait on for a connection in its hands, as its libraries do with a socket's.

Knows what has been received ahead, of which the kernel cannot tell; and that whoever waits on a descriptor which is
closed is never woken.
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

    :param websocket: whether it is waited on for messages alone. Then it is one of ours, which tells of the end at once
        and does not keep the connection open, whoever has a duplicate.
    """

    def __init__(self, stream: Stream, *, websocket: bool) -> None:
        self._stream = stream
        self._websocket = websocket
        #: Whether the application knows the socket's own, which it may use behind our back.
        self.lent = False
        self._readiness: _Readiness | None = None

    def fileno(self) -> int:
        """Return it: the socket's own, or where that would not do, one that is readable when there is something."""
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
            old, self._stream._sock = self._stream._sock, _LentSocket(fd, family)  # noqa: SLF001 - the same socket
            old.detach()

    def show_ahead(self) -> None:
        """Be readable, or not, by what has been received ahead; called after each receive."""
        if self._readiness is not None:
            self._readiness.show(ahead=self._stream.ahead())

    def end(self) -> None:
        """Wake whoever waits on a descriptor of ours, and be of no more use."""
        readiness, self._readiness = self._readiness, None
        if readiness is not None:
            readiness.show(ahead=True)
            _after_one_iteration(readiness.close)


class _LentSocket(Socket):
    """A socket whose descriptor others know: they are told of its end before it is closed.

    A duplicate would keep the connection open, so that both sides of it are shut down.
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
        # gevent's patches hide it, since waiting in it would block the loop; nobody does.
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
        """Let go of it."""
        self._epoll.close()


def _after_one_iteration(function: Any, *arguments: Any) -> None:
    """Call a function when the loop has told of what is so now: it tells nobody of a descriptor that is closed."""
    timer = get_hub().loop.timer(ONE_ITERATION)
    timer.start(_call, timer, function, *arguments)


def _call(timer: Any, function: Any, *arguments: Any) -> None:
    timer.close()
    function(*arguments)

"""What is left to send when the kernel takes no more: the loop goes on with it when there is room.

Knows descriptors, bytes and positions; who waits for room, and for how long, is :mod:`sending`'s business.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from geventwsgi.errors import ClientDisconnected
from geventwsgi.forks import close

if TYPE_CHECKING:
    from geventwsgi.serving.wire.sockets import Socket

#: Bytes of a file handed to the kernel at once, after which others get their turn. With the last of them goes a rest
#: that is not worth a turn of its own.
SENDFILE_STEP = 2 << 20
SENDFILE_REST = 1 << 19


class Rest:
    """What is left to send of something."""

    __slots__ = ()

    def send(self, sock: Socket) -> bool:
        """Hand the kernel what it takes at once, a step at most; return whether anything is left.

        :raises ClientDisconnected: the client has left, or nothing right can follow.
        """
        raise NotImplementedError


class FileRange(Rest):
    """What is left to send of a regular file."""

    __slots__ = ("_count", "_offset", "_own", "fileno")

    def __init__(self, fileno: int, offset: int, count: int) -> None:
        self.fileno = fileno
        self._offset = offset
        self._count = count
        #: A duplicate of the application's descriptor, -1 without one; see :meth:`keep`.
        self._own = -1

    def keep(self) -> None:
        """Hold the file by a descriptor of our own, since something is about to be waited for.

        Whatever the application does meanwhile, no other file gets this number. Where there is no descriptor left, the
        application's has to do.
        """
        with suppress(OSError):
            self._own = self.fileno = os.dup(self.fileno)

    def let_go(self) -> None:
        """Close what :meth:`keep` has made."""
        own, self._own = self._own, -1
        if own >= 0:
            close(own)

    def send(self, sock: Socket) -> bool:
        """See :meth:`Rest.send`."""
        if not self._count:
            return False
        step = SENDFILE_STEP if self._count > SENDFILE_STEP + SENDFILE_REST else self._count
        taken = sock.send_file(self.fileno, self._offset, step)
        if taken is None:
            return True
        sent = taken  # a number, in C as well
        if not sent:
            raise ClientDisconnected("the file became shorter while it was sent")
        self._offset += sent
        self._count -= sent
        return self._count > 0


class Taker(Protocol):
    """Who has offered bytes (:meth:`.Sending.offer`)."""

    def settled(self, error: ClientDisconnected | None) -> None:
        """Go on: all has been taken, or nothing more will be. Called in the hub."""


class Offerer(Protocol):
    """A socket, as an offer knows it."""

    def end_offer(self, *, stalled: bool) -> ClientDisconnected | None:
        """Wait for room no more; return what stands against sending anything."""


class Offer(Rest):
    """What is left of bytes that were offered. In the place of a greenlet that waits for room, it has its methods.

    The bytes themselves are not copied: many clients may have them in part.
    """

    __slots__ = ("_at", "_data", "_offerer", "_taker")

    def __init__(self, offerer: Offerer, taker: Taker, data: bytes, at: int) -> None:
        self._offerer = offerer
        self._taker = taker
        self._data = data
        self._at = at

    def send(self, sock: Socket) -> bool:
        """See :meth:`Rest.send`."""
        self._at += sock.send(memoryview(self._data)[self._at :])
        return self._at < len(self._data)

    def switch(self, stalled: bool) -> None:
        """Tell the taker that there is room, or that the client has taken nothing for too long."""
        self._taker.settled(self._offerer.end_offer(stalled=stalled))

    def throw(self, error: ClientDisconnected) -> None:
        """Tell the taker that nothing more can be sent."""
        self._offerer.end_offer(stalled=False)
        self._taker.settled(error)

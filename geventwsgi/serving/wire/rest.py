"""Bytes that the kernel has not taken yet. The loop sends them when the kernel has room.

:mod:`sending` decides who waits for room, and for how long.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from geventwsgi.errors import ClientDisconnected
from geventwsgi.forks import close

if TYPE_CHECKING:
    from geventwsgi.serving.wire.sockets import Socket

#: Bytes of a file that are passed to the kernel at once, before other connections get a turn. A rest of at most
#: SENDFILE_REST bytes is sent with the step before it.
SENDFILE_STEP = 2 << 20
SENDFILE_REST = 1 << 19


class Rest:
    """Bytes that are still to be sent."""

    __slots__ = ()

    def send(self, sock: Socket) -> bool:
        """Pass to the kernel what it takes at once, one step at most; return whether anything is left.

        :raises ClientDisconnected: the client has left, or the rest cannot be sent.
        """
        raise NotImplementedError


class FileRange(Rest):
    """The rest of a part of a regular file."""

    __slots__ = ("_count", "_offset", "_own", "fileno")

    def __init__(self, fileno: int, offset: int, count: int) -> None:
        self.fileno = fileno
        self._offset = offset
        self._count = count
        #: A duplicate of the application's descriptor, -1 without one; see :meth:`keep`.
        self._own = -1

    def keep(self) -> None:
        """Duplicate the descriptor, before something is waited for.

        The application may close its own meanwhile, and the system may give that number to another file. If no
        descriptor is free, the application's is used.
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
        sent = taken  # a C number in the compiled core
        if not sent:
            raise ClientDisconnected("the file became shorter while it was sent")
        self._offset += sent
        self._count -= sent
        return self._count > 0


class Taker(Protocol):
    """The object that has offered bytes (:meth:`.Sending.offer`)."""

    def settled(self, error: ClientDisconnected | None) -> None:
        """Go on: all bytes have been sent (``error`` is None), or no more can be. Called in the hub."""


class Offerer(Protocol):
    """The socket of an offer."""

    def end_offer(self, *, stalled: bool) -> ClientDisconnected | None:
        """Stop waiting for room; return the error that prevents sending, if there is one."""


class Offer(Rest):
    """The rest of bytes that were offered. It has a greenlet's methods, since the stream wakes it like a greenlet.

    The bytes are not copied: many clients may share them.
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
        """Call the taker: all bytes have been sent, or the client has not read for too long (``stalled``)."""
        self._taker.settled(self._offerer.end_offer(stalled=stalled))

    def throw(self, error: ClientDisconnected) -> None:
        """Call the taker: no more can be sent."""
        self._offerer.end_offer(stalled=False)
        self._taker.settled(error)

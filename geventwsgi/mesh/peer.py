"""Another worker, and the bytes that wait to be sent to it. Their number is bounded, whatever that worker does."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gevent import get_hub, spawn_raw
from gevent.event import Event
from greenlet import getcurrent

if TYPE_CHECKING:
    from collections.abc import Callable

#: Bytes: while more than these wait to be sent to one worker, publishers wait for it.
PENDING = 1 << 20
#: Bytes: if more than these would wait, a message to that worker is dropped. Publishers in gevent's hub cannot wait.
TOO_MUCH = 4 << 20
#: Seconds for which publishers wait for a worker that takes nothing.
PATIENCE = 1.0
#: The most bytes of small frames that are sent at once.
BUNDLE = 1 << 18


class Peer:
    """Another worker.

    :param sock: a socket connected to it, which is only sent to.
    :param on_lost: called with this object when the worker can no longer be reached.
    """

    def __init__(self, sock: Any, on_lost: Callable[[Peer], object]) -> None:
        self.sock = sock
        self._on_lost = on_lost
        self._pending: list[bytes] = []
        self._size = 0
        #: Set while fewer than :data:`PENDING` bytes wait.
        self._room = Event()
        self._room.set()
        #: Whether publishers have waited without success. Messages to it are dropped until it receives again.
        self._stuck = False
        self._writing = False
        self._closed = False
        spawn_raw(self._wait_for_end)

    @property
    def has_room(self) -> bool:
        """Whether publishers need not wait for it."""
        return self._stuck or self._closed or self._room.is_set()

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be sent, or ever will be."""
        return self._closed or not self._size

    def make_room(self) -> None:
        """Wait until it has room, as long as it takes anything. In gevent's hub, do nothing."""
        if getcurrent() is get_hub():
            return
        while not self.has_room:
            size = self._size
            if not self._room.wait(PATIENCE) and self._size >= size:
                self._stuck = True

    def send(self, data: bytes, *, needed: bool = False) -> None:
        """Send a frame, now or after the frames that wait. It is dropped if the worker is stuck, unless it is needed.

        :param needed: whether the connection would be of no use without this frame. If too many such frames wait, the
            connection ends.
        """
        if self._size > TOO_MUCH:
            self._stuck = True
        if self._closed or (self._stuck and not needed):
            return
        if self._size > 2 * TOO_MUCH:
            self._lose()
            return
        if not self._writing:
            # It leaves at once: a publisher that then computes must not delay it.
            data = data[self._write_now(data) :]
            if not data:
                return
            self._writing = True
            spawn_raw(self._write)
        self._pending.append(data)
        self._size += len(data)
        if self._size > PENDING:
            self._room.clear()

    def _write_now(self, data: bytes) -> int:
        try:
            return os.write(self.sock.fileno(), data)
        except BlockingIOError:
            return 0
        except OSError:
            self._lose()
            return len(data)

    def _write(self) -> None:
        try:
            while self._pending and not self._closed:
                data = memoryview(self._next())
                while data:
                    sent = self.sock.send(data)
                    data = data[sent:]
                    self._size -= sent
                    if self._size <= PENDING:
                        self._stuck = False
                        self._room.set()
        except Exception:  # noqa: BLE001 - a part of a frame may have been sent, after which nothing can follow
            self._lose()
        self._writing = False

    def _next(self) -> bytes:
        """Take the bytes to send next: several small frames, or one large one."""
        size = count = 0
        while count < len(self._pending) and size + len(self._pending[count]) <= BUNDLE:
            size += len(self._pending[count])
            count += 1
        data = b"".join(self._pending[:count]) if count else self._pending[0]
        del self._pending[: max(1, count)]
        return data

    def _wait_for_end(self) -> None:
        """Note that the worker has closed its side; a greenlet's body."""
        with suppress(OSError):
            while self.sock.recv(4096):  # it sends nothing over this connection
                pass
        self._lose()

    def _lose(self) -> None:
        self.close()
        self._on_lost(self)

    def close(self) -> None:
        """Close the connection."""
        if not self._closed:
            self._closed = True
            self._room.set()
            self._pending.clear()
            self.sock.close()

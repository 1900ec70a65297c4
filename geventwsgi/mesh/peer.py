"""One other worker, and what is on its way to it: bounded, whatever the other does.

Knows a socket and bytes.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gevent import get_hub, spawn_raw
from gevent.event import Event
from greenlet import getcurrent

if TYPE_CHECKING:
    from collections.abc import Callable

#: Bytes on their way to one worker from which on publishers wait for it, and those from which on who cannot wait, in
#: gevent's hub, does without.
PENDING, TOO_MUCH = 1 << 20, 4 << 20
#: Seconds for which publishers wait while it takes nothing.
PATIENCE = 1.0
#: Bytes of small frames that are sent at once.
BUNDLE = 1 << 18


class Peer:
    """Another worker.

    :param sock: connected to it; only sent to.
    :param on_lost: called with this object when the worker can no longer be reached.
    """

    def __init__(self, sock: Any, on_lost: Callable[[Peer], object]) -> None:
        self.sock = sock
        self._on_lost = on_lost
        self._pending: list[bytes] = []
        self._size = 0
        #: Set while there is less than :data:`PENDING` on its way.
        self._room = Event()
        self._room.set()
        #: Whether it was waited for in vain: it misses messages until it takes some again.
        self._stuck = False
        self._writing = False
        self._closed = False
        spawn_raw(self._wait_for_end)

    @property
    def has_room(self) -> bool:
        """Whether there is no need to wait for it."""
        return self._stuck or self._closed or self._room.is_set()

    def make_room(self) -> None:
        """Wait until it has taken what is on its way, for as long as it takes anything; not in gevent's hub."""
        if getcurrent() is get_hub():
            return
        while not self.has_room:
            size = self._size
            if not self._room.wait(PATIENCE) and self._size >= size:
                self._stuck = True

    def send(self, data: bytes) -> None:
        """Have a frame sent, in order and together with what else is to be sent; a stuck worker misses it."""
        if self._size > TOO_MUCH:
            self._stuck = True
        if self._stuck or self._closed:
            return
        if not self._writing:
            # It leaves at once, so that whoever publishes and then computes holds up nobody.
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
        except Exception:  # noqa: BLE001 - whatever it is, part of a frame may have left: nothing can follow it
            self._lose()
        self._writing = False

    def _next(self) -> bytes:
        """Take what is to be sent next: small frames together, a large one as it is."""
        size = count = 0
        while count < len(self._pending) and size + len(self._pending[count]) <= BUNDLE:
            size += len(self._pending[count])
            count += 1
        data = b"".join(self._pending[:count]) if count else self._pending[0]
        del self._pending[: max(1, count)]
        return data

    def _wait_for_end(self) -> None:
        """Take note that the worker has closed its side; a greenlet's body."""
        with suppress(OSError):
            while self.sock.recv(4096):  # it says nothing here
                pass
        self._lose()

    def _lose(self) -> None:
        self.close()
        self._on_lost(self)

    def close(self) -> None:
        """Give up the connection."""
        if not self._closed:
            self._closed = True
            self._room.set()
            self._pending.clear()
            self.sock.close()

"""What the loop tells of clients' sockets: which have bytes, which take some again, whose client has gone.

Knows descriptors and events; what an event means is the stream's business.

Where there is epoll, all connections of a server stand in one set of our own, edge-triggered, and the loop watches that
set. Nothing is started or stopped as a connection goes from reading to running to idle, bytes that nobody wants yet
cannot spin the loop, and a client's departure is told even behind bytes that nobody has read. One watcher of the loop
for each connection, which is what remains elsewhere, has none of these virtues and takes three times the memory.
"""

from __future__ import annotations

import os
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from gevent import monkey

if TYPE_CHECKING:
    from geventwsgi.serving.stream import Stream

#: Events, as epoll numbers them: bytes have come; more can be sent; the client has closed its side; all is over.
READABLE, WRITABLE, ENDED, LOST = 0x1, 0x4, 0x2000, 0x10 | 0x8
GONE = ENDED | LOST
_EDGE_TRIGGERED = 1 << 31
#: Connections told of at once; the rest follow in the loop's next iteration.
BATCH = 256
_READ, _WRITE = 1, 2


class Poller(Protocol):
    """Tells streams of their events, by :meth:`.Stream.happened`; one object serves one loop."""

    def register(self, stream: Stream) -> None:
        """Tell ``stream`` of its events from now on, first of those that are true already."""

    def unregister(self, stream: Stream) -> None:
        """Tell it no more; before its socket is closed."""

    def watch(self, stream: Stream, events: int) -> None:
        """Make sure that the next of ``events`` is told."""

    def close(self) -> None:
        """Let go of everything."""


class EpollPoller:
    """One edge-triggered epoll set, itself watched by the loop."""

    def __init__(self, loop: Any) -> None:
        self._epoll = _epoll()
        #: By descriptor, which the system keeps small.
        self._streams: list[Stream | None] = []
        self._open = 0
        self._watcher = loop.io(self._epoll.fileno(), _READ, ref=False)
        self._watcher.start(self._on_ready)
        _in_use.add(self)

    def register(self, stream: Stream) -> None:
        """See :meth:`Poller.register`."""
        fd = stream.fileno()
        if not self._open:
            self._watcher.ref = True  # the loop goes on for as long as there is a client
        self._open += 1
        while fd >= len(self._streams):
            self._streams.append(None)
        self._streams[fd] = stream
        self._epoll.register(fd, READABLE | WRITABLE | GONE | _EDGE_TRIGGERED)

    def unregister(self, stream: Stream) -> None:
        """See :meth:`Poller.unregister`. Closing alone would not do: the application may have a duplicate."""
        fd = stream.fileno()
        if fd < len(self._streams) and self._streams[fd] is stream:
            self._streams[fd] = None
            self._epoll.unregister(fd)
            self._open -= 1
            if not self._open:
                self._watcher.ref = False

    def watch(self, stream: Stream, events: int) -> None:
        """See :meth:`Poller.watch`; here all are told in any case."""

    def close(self) -> None:
        """See :meth:`Poller.close`."""
        self._streams.clear()
        self._watcher.close()
        self._epoll.close()

    def _on_ready(self) -> None:
        tell(self._epoll, self._streams)


def tell(epoll: Any, streams: list[Stream | None]) -> None:
    """Tell the streams, which stand at their descriptors' places, of what has happened to them."""
    # All first, since what one event sets going may close another's connection and open one with its descriptor.
    told = [(streams[fd], events) for fd, events in epoll.poll(0, BATCH)]
    for stream, events in told:
        if stream is not None:
            stream.happened(events)


with suppress(ImportError):  # not built, or not wanted
    from geventwsgi.serving._native import tell  # type: ignore[no-redef]


class WatcherPoller:
    """A watcher of the loop for each stream. They are level-triggered: one that is of no use now is stopped."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._readers: dict[Stream, Any] = {}
        self._writers: dict[Stream, Any] = {}

    def register(self, stream: Stream) -> None:
        """See :meth:`Poller.register`."""
        watcher = self._readers[stream] = self._loop.io(stream.fileno(), _READ)
        watcher.start(self._on_readable, stream)

    def unregister(self, stream: Stream) -> None:
        """See :meth:`Poller.unregister`."""
        for watchers in (self._readers, self._writers):
            watcher = watchers.pop(stream, None)
            if watcher is not None:
                watcher.close()

    def watch(self, stream: Stream, events: int) -> None:
        """See :meth:`Poller.watch`."""
        if events & READABLE:
            stream.watched = True
            self._readers[stream].start(self._on_readable, stream)
        if events & WRITABLE:
            watcher = self._writers.get(stream)
            if watcher is None:
                watcher = self._writers[stream] = self._loop.io(stream.fileno(), _WRITE)
            watcher.start(self._on_writable, stream)

    def close(self) -> None:
        """See :meth:`Poller.close`."""
        for stream in tuple(self._readers):
            self.unregister(stream)

    def _on_readable(self, stream: Stream) -> None:
        events = READABLE
        if not stream.awaited:
            self._readers[stream].stop()
            stream.watched = False
            if stream.at_end():
                events |= ENDED
        stream.happened(events)

    def _on_writable(self, stream: Stream) -> None:
        self._writers[stream].stop()
        stream.happened(WRITABLE)


def poller(loop: Any) -> Poller:
    """Return the best poller that this system has for ``loop``."""
    return WatcherPoller(loop) if _epoll is None else EpollPoller(loop)


def _close_in_child() -> None:
    """Let a process that the application forks take no events from its parent: they share the set."""
    for one in tuple(_in_use):
        one.close()


try:
    _epoll = monkey.get_original("select", "epoll")  # which gevent takes out of the module that it patches
except AttributeError:
    _epoll = None
_in_use: weakref.WeakSet[EpollPoller] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
